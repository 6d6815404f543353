"""A program of the bundle: says in one line why it cannot be installed on this device. It changes nothing.

    python3 check_device.py bundle.json PREFIX

It needs the standard library of any Python from 3.7 on, so that an old one is named and is no syntax error.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import struct
import sys
from typing import Any

#: 32-bit processors that lack what the wheels are built for: Raspberry Pi 1 and Zero.
_OLD_ARM = ("armv6l", "armv5tel")
#: What compiled modules, links and a file system's blocks add to the files of the wheels.
_SPACE_FACTOR = 1.3


def _machine() -> str:
    """The machine that this Python is built for: a 32-bit one can run on a 64-bit kernel."""
    found = platform.machine()
    return "armv7l" if struct.calcsize("P") == 4 and found in ("aarch64", "armv8l") else found


def _problem(needs: dict[str, Any], prefix: str) -> str:
    """What is wrong, with the cure; "" if nothing is."""
    version = ".".join(map(str, sys.version_info[:2]))
    if version != needs["python"]:
        return (
            f"{sys.executable} is Python {version}, and this bundle is for {needs['python']}: name another by "
            "--python, or make a bundle for this system"
        )
    machine, wanted = _machine(), needs["machine"]
    if machine in _OLD_ARM and wanted == "armv7l":
        return f"this processor ({machine}) is too old for the interpreter: a Raspberry Pi 2 or newer is needed"
    if machine != wanted:
        return f"this Python is for {machine}, and this bundle is for {wanted}: make a bundle for this system"
    return _glibc_problem(needs["glibc"]) or _packages_problem(needs["from_system"]) or _space_problem(needs, prefix)


def _glibc_problem(needed: str) -> str:
    """As `_problem`, for the C library."""
    try:
        version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")[2]
        found = tuple(int(part) for part in version.split(".")[:2])
    except (ValueError, OSError):
        return "this system has no glibc, and the wheels of this bundle need it"
    if found < tuple(int(part) for part in needed.split(".")):
        return f"this system has glibc {version}, and this bundle needs {needed}: upgrade the system"
    return ""


def _packages_problem(from_system: dict[str, str]) -> str:
    """As `_problem`, for the packages of the distribution.

    Args:
        from_system: the modules and the packages that hold them.
    """
    missing = []
    for module, package in sorted(from_system.items()):
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(package)
    names = " ".join(missing)
    return f"missing, and no wheel exists for this system: {names}; give: sudo apt install {names}" if missing else ""


def _space_problem(needs: dict[str, Any], prefix: str) -> str:
    """As `_problem`, for the room at the prefix and the right to write there."""
    place = os.path.abspath(prefix)  # noqa: PTH100 - a prefix that does not exist yet
    while not os.path.isdir(place):  # noqa: PTH112
        place = os.path.dirname(place)  # noqa: PTH120
    if not os.access(place, os.W_OK):
        return f"{place}: it may not be written: give another --prefix, or run this with sudo"
    needed, free = int(needs["installed_bytes"] * _SPACE_FACTOR), shutil.disk_usage(place).free
    if free >= needed:
        return ""
    return (
        f"{place}: {free // 10**6} MB are free, and the installation needs {needed // 10**6 + 1} MB: make room there, "
        "or give another --prefix"
    )


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        found = _problem(json.load(file)["needs"], sys.argv[2])
    if found:
        sys.exit(f"error: {found}")
