"""The devices that a bundle can be made for: their Python, their C library, and where their packages come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from runtime.diagnostics import wheel_advice
from runtime.errors import UsageError
from runtime.recognition import suggestion

#: The versions of Python that our package supports.
PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13))
_REGISTRY = "wheels from pip's package index"


class SystemPackage(NamedTuple):
    """A Python package that the device gets from its distribution, because no wheel exists for it.

    Attributes:
        version: the version in the distribution's release.
        package: the distribution's package.
    """

    version: str
    package: str


class DeviceTarget(NamedTuple):
    """A kind of device.

    Attributes:
        name: what a command calls it.
        system: its operating system, in words.
        machine: `platform.machine()` of its Python.
        python: the version of its Python, such as (3, 11).
        glibc: the version of its C library, such as (2, 36).
        systemd: the version of its systemd.
        interpreter: the TensorFlow Lite interpreter that our package brings there.
        from_system: packages of the distribution, by their names on the package index.
        sees_system: whether its environment sees the system's packages, such as picamera2.
        has_any_python: whether `python` is a default, and each of `PYTHONS` can be chosen.
    """

    name: str
    system: str
    machine: str
    python: tuple[int, int]
    glibc: tuple[int, int]
    systemd: int = 252
    from_system: Mapping[str, SystemPackage] = {}
    sees_system: bool = True
    has_any_python: bool = False

    @property
    def interpreter(self) -> str:
        """The interpreter that our package's own dependencies bring there."""
        return "tflite-runtime" if self.python < (3, 12) else "ai-edge-litert"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the newest first (PEP 600)."""
        newest, oldest = self.glibc[1], 5 if self.machine == "x86_64" else 17
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, oldest - 1, -1)]
        old = ("2014", "2010", "1") if self.machine == "x86_64" else ("2014",)
        return (*tags, *(f"manylinux{name}_{self.machine}" for name in old), f"linux_{self.machine}")

    @property
    def markers(self) -> dict[str, str]:
        """The environment markers of its Python (PEP 508)."""
        version = ".".join(map(str, self.python))
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": "linux",
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        sources = {name: f"{found.package} {found.version} of the system" for name, found in self.from_system.items()}
        return {
            "name": self.name,
            "system": self.system,
            "machine": self.machine,
            "python": ".".join(map(str, self.python)),
            "glibc": ".".join(map(str, self.glibc)),
            "interpreter": self.interpreter,
            "sources": {"*": _REGISTRY, **sources},
        }


#: Debian bookworm's; no package index has wheels of them for 32-bit ARM.
_OF_BOOKWORM = {
    "numpy": SystemPackage("1.24.2", "python3-numpy"),
    "pillow": SystemPackage("9.4.0", "python3-pil"),
}
DEVICE_TARGETS = {
    target.name: target
    for target in (
        DeviceTarget("rpi-bookworm-arm64", "Raspberry Pi OS bookworm, 64-bit", "aarch64", (3, 11), (2, 36)),
        DeviceTarget(
            "rpi-bookworm-armhf",
            "Raspberry Pi OS bookworm, 32-bit",
            "armv7l",
            (3, 11),
            (2, 36),
            from_system=_OF_BOOKWORM,
        ),
        DeviceTarget("rpi-trixie-arm64", "Raspberry Pi OS trixie, 64-bit", "aarch64", (3, 13), (2, 41), systemd=257),
        # numpy's wheels ask for this glibc; Python 3.12 has the interpreter that is fast with int8 on this processor.
        DeviceTarget(
            "linux-x86_64",
            "Linux on x86-64",
            "x86_64",
            (3, 12),
            (2, 28),
            sees_system=False,
            has_any_python=True,
        ),
    )
}
_REFUSED = {
    "rpi-trixie-armhf": wheel_advice((3, 13), "armv7l", "linux", (2, 41)),
    "rpi-bullseye-arm64": "Debian 11 has Python 3.9, and Pocketlens needs 3.10: upgrade it to bookworm",
    "rpi-bullseye-armhf": "Debian 11 has Python 3.9, and Pocketlens needs 3.10: upgrade it to bookworm",
}


def device_target(name: str, python: tuple[int, int] | None = None) -> DeviceTarget:
    """The target of a name.

    Args:
        name: one of `DEVICE_TARGETS`.
        python: another Python than the target's own.

    Raises:
        UsageError: no bundle can be made for such a target, or not with that Python; the message says why.
    """
    if name in _REFUSED:
        raise UsageError(f"{name}: {_REFUSED[name]}")
    if name not in DEVICE_TARGETS:
        known = ", ".join(DEVICE_TARGETS)
        raise UsageError(f"`target` is {name!r}, expected one of {known}{suggestion(name, DEVICE_TARGETS)}")
    target = DEVICE_TARGETS[name]
    if python is None or python == target.python:
        return target
    if not target.has_any_python:
        has = ".".join(map(str, target.python))
        raise UsageError(f"{target.system} has Python {has}; leave out `python`")
    return target._replace(python=python)
