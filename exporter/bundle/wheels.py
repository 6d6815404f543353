"""Finds the wheels that a device needs: pip resolves for its platform, and every file is pinned by its hash."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runtime import PocketlensError
from runtime.errors import shortened
from runtime.files import shown
from runtime.model_file import sha256
from runtime.progress import progress

from .targets import DeviceTarget
from .wheel_format import normalized, wheel_content

_PIP = Path(__file__).with_name("foreign_pip.py")
#: What installs the wheels on the device, which may have no pip; it is not installed there itself.
INSTALLER = "pip"
_TIMEOUT_S = 1200
#: pip tries five times by default, and each waits longer.
_RETRIES = 2
_TAG = re.compile(r"manylinux_(\d+)_(\d+)_|manylinux(2014|2010|1)_")
_OLD_TAGS = {"2014": (2, 17), "2010": (2, 12), "1": (2, 5)}


class BundleError(PocketlensError, RuntimeError):
    """A bundle cannot be made: a wheel, our package or the model is missing, or cannot be used."""


class Wheel(NamedTuple):
    """A wheel that goes into a bundle.

    Attributes:
        name: the package's name, normalized (PEP 503).
        version: its version.
        file: the name of the file.
        content: its bytes.
        source: the address that it came from; "" for this machine.
    """

    name: str
    version: str
    file: str
    content: bytes
    source: str = ""

    @property
    def sha256(self) -> str:
        """Of the file, in hex."""
        return sha256(self.content)

    @property
    def installed_bytes(self) -> int:
        """The size of its files once it is installed, without what Python compiles."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            return sum(member.file_size for member in archive.infolist())

    @property
    def glibc(self) -> tuple[int, int]:
        """The oldest C library that it runs on; (0, 0) if it needs none."""
        platforms = self.file.removesuffix(".whl").rpartition("-")[2]
        found = [
            (int(major), int(minor)) if major else _OLD_TAGS[old] for major, minor, old in _TAG.findall(f"{platforms}_")
        ]
        return min(found, default=(0, 0))

    @property
    def requirement(self) -> str:
        """The line of a requirements file that accepts this file only."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def find_wheels(
    own: Wheel, target: DeviceTarget, extras: Sequence[str] = (), constraint: Path | None = None
) -> list[Wheel]:
    """Our wheel, all that it needs on a target, and pip's, in the order of their names.

    Args:
        own: our package.
        extras: extras of our package.
        constraint: a file of versions, as pip's `constraint` option takes it; by default the newest versions.

    Raises:
        BundleError: there is no pip here, a wheel does not exist for the target, or no index answers.
        OSError: the temporary folder is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise BundleError(f"pip is not installed beside {sys.executable}; give: {sys.executable} -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="pocketlens-bundle-") as name, progress(2, "wheels") as bar:
        folder = Path(name)
        (folder / own.file).write_bytes(own.content)
        chosen = f"[{','.join(sorted(extras))}]" if extras else ""
        wanted = f"{own.name}{chosen} @ {(folder / own.file).as_uri()}"
        found = _resolve(folder, wanted, target, constraint)
        bar.update(1)
        fetched = [item for item in found if item.name not in (own.name, *target.from_system)]
        wheels = [own, *_download(folder, fetched, target)]
        bar.update(1)
    return sorted(wheels)


class _Found(NamedTuple):
    """A file that pip chose."""

    name: str
    version: str
    url: str
    sha256: str


def _resolve(folder: Path, wanted: str, target: DeviceTarget, constraint: Path | None) -> list[_Found]:
    # The distribution's packages are stand-ins without code, so that pip checks their versions and fetches none.
    stand_ins = folder / "system"
    stand_ins.mkdir()
    pins = []
    for name, package in target.from_system.items():
        file, content = _stand_in(name, package.version)
        (stand_ins / file).write_bytes(content)
        pins.append(f"{name} @ {(stand_ins / file).as_uri()}\n")
    (folder / "wanted.txt").write_text("".join((*pins, f"{wanted}\n", f"{INSTALLER}\n")), encoding="utf-8")
    report = folder / "report.json"
    command = ["install", "--dry-run", "--ignore-installed", "--report", report, "--target", folder / "target"]
    command += ["--requirement", folder / "wanted.txt"]
    _pip(target, *command, *(("--constraint", constraint.absolute()) if constraint else ()))
    try:
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        return [_found(item) for item in items]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"pip's report cannot be read ({error}); give: pip install -U pip") from error


def _found(item: dict[str, Any]) -> _Found:
    archive = item["download_info"]["archive_info"]
    digest = archive["hashes"]["sha256"] if "hashes" in archive else archive["hash"].removeprefix("sha256=")
    metadata = item["metadata"]
    return _Found(normalized(metadata["name"]), metadata["version"], item["download_info"]["url"], digest)


def _stand_in(name: str, version: str) -> tuple[str, bytes]:
    """The file name and the bytes of a wheel without code."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: pocketlens\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return f"{name}-{version}-py3-none-any.whl", wheel_content(files)


def _download(folder: Path, found: Sequence[_Found], target: DeviceTarget) -> Iterator[Wheel]:
    wheels = folder / "wheels"
    lines = [f"{item.name} @ {item.url} --hash=sha256:{item.sha256}\n" for item in found]
    (folder / "pinned.txt").write_text("".join(lines), encoding="utf-8")
    command = ("download", "--no-deps", "--require-hashes", "--dest", wheels, "--requirement", folder / "pinned.txt")
    _pip(target, *command)
    files = {sha256(path.read_bytes()): path for path in wheels.iterdir()}
    for item in found:
        path = files[item.sha256]
        source = "" if item.url.startswith("file:") else item.url
        yield Wheel(item.name, item.version, path.name, path.read_bytes(), source)


def _pip(target: DeviceTarget, *arguments: object) -> None:
    """Run pip for a target; BundleError with its reason if it fails."""
    options = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", target.markers["python_version"]]
    for platform in target.platforms:
        options += ["--platform", platform]
    verb, *rest = map(str, arguments)
    common = ["--disable-pip-version-check", "--no-input", "--retries", str(_RETRIES)]
    command = [sys.executable, str(_PIP), json.dumps(target.markers), verb, *common, *options, *rest]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"pip: no end after {_TIMEOUT_S} s; is the package index reachable?") from error
    if done.returncode and os.strerror(errno.ENOSPC) in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())
    if done.returncode:
        raise BundleError(_reason(f"{done.stderr}\n{done.stdout}", target))


def _reason(said: str, target: DeviceTarget) -> str:
    """One line about why pip failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    missing = re.search(r"No matching distribution found for ([^;\n]+)", said)
    wanted = shown(missing[1].strip()) if missing else ""
    if missing and "Retrying (" in said:
        cure = "connect this machine, or name a folder of wheels in $PIP_FIND_LINKS"
        return f"{wanted}: the package index does not answer; {cure}"
    if missing:
        python = target.markers["python_version"]
        return (
            f"{wanted}: no wheel for {target.name} (Python {python}, {target.machine}, glibc "
            f"{target.glibc[0]}.{target.glibc[1]}) on the package index; is its version right?"
        )
    conflicts = [line for line in lines if re.search(r" depends on |The user requested ", line)]
    if conflicts:
        return f"no versions fit together for {target.name}: {shown(shortened('; '.join(conflicts), 400, 200))}"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    text = (errors or lines or ["it gave no reason"])[0]
    return f"pip: {shown(shortened(text, 400, 200))}"
