"""A package index of a folder, for bundles that are made and installed without a network.

Its wheels hold no code: one adds a line to the environment's path, so that what a bundle installs finds the packages
that the tests run with. pip itself is the one that Python's `ensurepip` brings.
"""

from __future__ import annotations

import ensurepip
import io
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.bundle.bundle import Bundle, make_bundle
from exporter.bundle.targets import DeviceTarget, device_target
from exporter.bundle.wheel_format import wheel_content
from exporter.bundle.wheels import Wheel

PYTHON = sys.version_info[:2]
#: Name, version and tag of the wheels; a bundle for any target finds what it needs.
STUBS = (
    ("click", "8.1.0", "py3-none-any"),
    ("numpy", "1.26.4", "py3-none-any"),
    ("numpy", "2.1.0", "py3-none-any"),
    ("pillow", "11.0.0", "py3-none-any"),
    ("linuxpy", "0.25.0", "py3-none-any"),
    ("paho_mqtt", "2.1.0", "py3-none-any"),
    ("tflite_runtime", "2.14.0", "cp311-cp311-manylinux_2_34_aarch64"),
    ("tflite_runtime", "2.14.0", "cp311-cp311-manylinux_2_34_armv7l"),
    ("tflite_runtime", "2.14.0", "cp310-cp310-manylinux2014_x86_64"),
    ("tflite_runtime", "2.14.0", "cp311-cp311-manylinux2014_x86_64"),
    ("ai_edge_litert", "2.1.1", "cp312-cp312-manylinux_2_27_x86_64"),
    ("ai_edge_litert", "2.1.1", "cp313-cp313-manylinux_2_27_x86_64"),
    ("ai_edge_litert", "2.1.1", "cp313-cp313-manylinux_2_27_aarch64"),
)
needs_this_machine = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="the bundle is installed on this machine: x86-64"
)


def stub_wheel(name: str, version: str, tag: str, requires: str = "") -> tuple[str, bytes]:
    """The file name and the bytes of a wheel of the index.

    Args:
        requires: further lines of its metadata.
    """
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n{requires}"
    files = {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if name == "click":
        folders = dict.fromkeys((sysconfig.get_path("purelib"), str(Path(np.__file__).parents[1])))
        files["packages-of-the-tests.pth"] = "".join(f"{folder}\n" for folder in folders).encode()
    return f"{name}-{version}-{tag}.whl", wheel_content(files)


def write_index(folder: Path) -> Path:
    """A folder of all wheels, which pip takes from `PIP_FIND_LINKS`."""
    folder.mkdir(exist_ok=True)
    for stub in STUBS:
        name, content = stub_wheel(*stub)
        (folder / name).write_bytes(content)
    for path in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"):
        shutil.copy(path, folder)
    return folder


def use_index(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let pip know this index and no other."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("PIP_FIND_LINKS", str(folder))


def this_machine() -> DeviceTarget:
    """The target that this machine is."""
    return device_target("linux-x86_64", PYTHON)


def unpacked(bundle: Bundle, folder: Path) -> Path:
    """The folder of an archive that was unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(bundle.path.read_bytes())) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # older Pythons have none
        archive.extractall(folder)
    return folder / str(bundle.facts["name"])


def run_installer(folder: Path, prefix: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installer of an unpacked bundle with the Python of the tests."""
    command = [*_installer(folder, prefix), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def start_installer(folder: Path, prefix: Path) -> subprocess.Popen[bytes]:
    """As `run_installer`, in a process group of its own, which can be killed."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(_installer(folder, prefix), stdout=quiet, stderr=quiet, start_new_session=True)


def _installer(folder: Path, prefix: Path) -> list[str]:
    return ["sh", str(folder / "install.sh"), "--prefix", str(prefix), "--python", _real_python()]


def _real_python() -> str:
    """An environment made by an environment's Python sees that one's packages by no means."""
    return str(Path(sys.base_prefix, "bin", f"python{PYTHON[0]}.{PYTHON[1]}"))


def small_bundle(model: bytes, folder: Path, wheels: list[Wheel], **options: Any) -> Bundle:
    """The bundle `door` of a model for this machine, of wheels that were found before; `options` of `make_bundle`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "int8.tflite").write_bytes(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.bundle.bundle.own_wheel", lambda _path: None)
        patch.setattr("exporter.bundle.bundle.find_wheels", lambda *_arguments: wheels)
        return make_bundle(folder, this_machine(), folder / "door.tar.gz", **options)
