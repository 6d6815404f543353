"""Our own package as a wheel, from what runs here: no package index need have it.

An installed package is packed again from its files; a checkout, as `pip install -e` uses it, is built.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from runtime.child_process import PACKAGE_ROOT
from runtime.files import read_regular_file, shown

from .wheel_format import normalized, wheel_content
from .wheels import BundleError, Wheel

PACKAGE = "pocketlens"
_MAX_WHEEL_BYTES = 64 * 2**20
_TIMEOUT_S = 300
#: What pip adds to a `dist-info` folder, and what a wheel has anew.
_OF_THE_INSTALLATION = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
#: What a checkout's wheel is built from.
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", f"{PACKAGE}.py", "runtime", "trainer", "exporter")
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
_FILE = re.compile(rf"{PACKAGE}-([^-]+)-py3-none-any\.whl")


def own_wheel(path: Path | None = None) -> Wheel:
    """The wheel of our package.

    Args:
        path: a wheel that was built before; by default it is made from what runs here.

    Raises:
        BundleError: the file is no wheel of ours, or the package that runs here is incomplete or cannot be built.
    """
    if path is not None:
        return _given(path)
    if (PACKAGE_ROOT / "pyproject.toml").is_file():
        return _built(PACKAGE_ROOT)
    return _packed()


def _given(path: Path) -> Wheel:
    content, name = read_regular_file(path, _MAX_WHEEL_BYTES, BundleError)
    found = _FILE.fullmatch(path.name)
    if found is None:
        raise BundleError(f"{name}: expected a wheel of {PACKAGE}, such as {PACKAGE}-1.0-py3-none-any.whl")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is None and f"{PACKAGE}-{found[1]}.dist-info/METADATA" in archive.namelist():
                return Wheel(PACKAGE, found[1], path.name, content)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError):
        pass
    raise BundleError(f"{name}: damaged, or no wheel; build it again")


def _packed() -> Wheel:
    """The wheel of the package that is installed beside this module."""
    for found in importlib.metadata.distributions(path=[str(PACKAGE_ROOT)]):
        if normalized(found.metadata["Name"]) == PACKAGE:
            break
    else:
        raise BundleError(f"{shown(PACKAGE_ROOT)}: nothing says what belongs to {PACKAGE}; name a wheel by `wheel`")
    files = {}
    for entry in found.files or ():
        name = entry.as_posix()
        # Scripts lie outside, and an installer makes them from the entry points.
        if name.startswith("..") or "__pycache__" in entry.parts or entry.name in _OF_THE_INSTALLATION:
            continue
        try:
            files[name] = Path(str(entry.locate())).read_bytes()
        except OSError as error:
            raise BundleError(
                f"{shown(PACKAGE_ROOT / name)}: {error.strerror}; install {PACKAGE} again, or name a wheel by `wheel`"
            ) from error
    return _wheel(found.version, files)


def _built(checkout: Path) -> Wheel:
    """The wheel of a checkout, built from a copy: a build leaves folders behind, and packs what lies in them."""
    with tempfile.TemporaryDirectory(prefix="pocketlens-wheel-") as name:
        folder = Path(name)
        for source in (checkout / name for name in _SOURCES):
            if source.is_dir():
                shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                shutil.copy(source, folder)
        command = [sys.executable, "-c", _BUILD, str(folder / "dist")]
        (folder / "dist").mkdir()
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BundleError(f"{shown(checkout)}: no wheel after {_TIMEOUT_S} s; name one by `wheel`") from error
        built = next((folder / "dist").glob("*.whl"), None)
        if done.returncode or built is None:
            said = next(
                (line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given"
            )
            cure = "pip install 'setuptools>=77', or name a wheel by `wheel`"
            raise BundleError(f"{shown(checkout)}: no wheel can be built from it ({shown(said)}); {cure}")
        with zipfile.ZipFile(built) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith(("/", "/RECORD"))}
        found = _FILE.fullmatch(built.name)
        assert found is not None
        return _wheel(found[1], files)


def _wheel(version: str, files: dict[str, bytes]) -> Wheel:
    return Wheel(PACKAGE, version, f"{PACKAGE}-{version}-py3-none-any.whl", wheel_content(files))
