"""A bundle: model, wheels and installer for one kind of device, in one archive.

Nothing is written until everything is there; the archive is then written beside its place and renamed.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runtime.errors import PocketlensError, UsageError
from runtime.files import shown, write_whole
from runtime.model_file import sha256
from runtime.service_unit import check_service_name

from .archive import MANIFEST, archive_content, manifest
from .model import BundledModel, bundled_model
from .own_wheel import own_wheel
from .targets import DeviceTarget
from .wheels import INSTALLER, BundleError, Wheel, find_wheels

_log = logging.getLogger(__name__)

SUFFIX = ".tar.gz"
#: What a device needs stays below this size, installed; the environment's links and our model are not counted.
SITE_PACKAGES_LIMIT = 110_000_000
_FORMAT, _VERSION = "pocketlens-bundle", 1
_INSTALL, _CHECK, _ROOT = "install.sh", "check_device.py", "root.json"
#: The modules of packages that a distribution brings.
_MODULES = {"numpy": "numpy", "pillow": "PIL"}


class Bundle(NamedTuple):
    """A bundle that was made.

    Attributes:
        path: the archive.
        facts: what `bundle.json` says, without the files.
        bytes: the size of the archive.
        sha256: of the archive, in hex.
    """

    path: Path
    facts: dict[str, Any]
    bytes: int
    sha256: str


def bundle_name(out: Path) -> str:
    """The name of a bundle whose archive is called so; raises UsageError if the archive's name gives none."""
    if not out.name.endswith(SUFFIX):
        raise UsageError(f"`out` is {shown(out)}, expected a name that ends in {SUFFIX}, such as door{SUFFIX}")
    return check_service_name(out.name.removesuffix(SUFFIX))


def make_bundle(
    place: Path,
    target: DeviceTarget,
    out: Path,
    *,
    name: str = "",
    model: str = "",
    labels: Path | None = None,
    extras: Sequence[str] = (),
    unit: str = "",
    root: Path | None = None,
    wheel: Path | None = None,
    constraint: Path | None = None,
    force: bool = False,
) -> Bundle:
    """Write a bundle.

    Args:
        place: a folder that `export` wrote, or a `.tflite` file.
        target: the kind of device.
        out: the archive to write.
        name: what the installation is called; by default the archive's name without its end.
        model: the name of a file in the folder; by default int8.tflite, or the only one.
        labels: a file of labels, for a model that Pocketlens did not make.
        extras: extras of our package, such as `"mqtt"`.
        unit: the text of a unit that runs the model as a service.
        root: the root.json of a repository of `pocketlens repo`, which the device trusts at first; it brings the extra
            `update`.
        wheel: a wheel of our package; by default it is made from what runs here.
        constraint: a file of versions for pip; by default the newest versions.
        force: replace an existing archive.

    Raises:
        UsageError: an argument is not possible.
        BundleError: the archive exists, the model is not published, or a wheel cannot be had.
        UpdateError: `root` is no root.json that its own keys have signed.
        ModelFileError, ContractError: the model is damaged, or is not accepted.
        OSError: the archive cannot be written.
    """
    name = check_service_name(name) if name else bundle_name(out)
    if out.is_dir() or (out.exists() and not force):
        cure = "name another `out`" if out.is_dir() else "name another `out`, or give `force`"
        raise BundleError(f"{shown(out)}: exists already; {cure}")
    chosen = bundled_model(place, target.interpreter, model, labels)
    trusted = _trusted(root) if root else b""
    wheels = find_wheels(own_wheel(wheel), target, sorted({*extras, *(("update",) if root else ())}), constraint)
    facts = _facts(name, target, chosen, wheels, bool(unit))
    files = _files(name, target, chosen, wheels, unit) | ({_ROOT: trusted} if trusted else {})
    content = archive_content(name, {**files, MANIFEST: manifest(facts, files)})
    try:
        write_whole(out, content)
    except OSError as error:
        if error.filename or isinstance(error, PocketlensError):
            raise
        raise OSError(error.errno, error.strerror, shown(out)) from error
    if facts["needs"]["installed_bytes"] > SITE_PACKAGES_LIMIT:
        _log.warning(
            "warning: the packages need %d MB on the device, more than the %d MB that a slim one has",
            facts["needs"]["installed_bytes"] / 1e6,
            SITE_PACKAGES_LIMIT / 1e6,
        )
    return Bundle(out, facts, len(content), sha256(content))


def _facts(
    name: str, target: DeviceTarget, model: BundledModel, wheels: Sequence[Wheel], has_service: bool
) -> dict[str, Any]:
    installed = [wheel for wheel in wheels if wheel.name != INSTALLER]
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": name,
        "target": target.as_dict(),
        "service": _unit_name(name) if has_service else None,
        "model": {
            "name": Path(model.file.name).name,
            "sha256": model.file.sha256,
            "labels": len(model.file.contract.labels),
            "selftest": model.has_selftest,
        },
        "needs": {
            "python": target.markers["python_version"],
            "machine": target.machine,
            "glibc": ".".join(map(str, max(wheel.glibc for wheel in wheels))),
            "from_system": {_MODULES[key]: found.package for key, found in target.from_system.items()},
            "installed_bytes": sum(wheel.installed_bytes for wheel in installed),
        },
        "wheels": [
            {
                "name": wheel.name,
                "version": wheel.version,
                "source": wheel.source or None,
                "installed_bytes": wheel.installed_bytes,
            }
            for wheel in wheels
        ],
    }


def _files(
    name: str, target: DeviceTarget, model: BundledModel, wheels: Sequence[Wheel], unit: str
) -> dict[str, bytes]:
    requirements = "".join(f"{wheel.requirement}\n" for wheel in wheels if wheel.name != INSTALLER)
    return {
        "model.tflite": model.file.content,
        "labels.txt": "".join(f"{label}\n" for label in model.file.contract.labels).encode(),
        "requirements.txt": requirements.encode(),
        _INSTALL: _installer(name, target, model.has_selftest, bool(unit)),
        _CHECK: Path(__file__).with_name(_CHECK).read_bytes(),
        **({_unit_name(name): unit.encode()} if unit else {}),
        **{f"{INSTALLER if wheel.name == INSTALLER else 'wheels'}/{wheel.file}": wheel.content for wheel in wheels},
    }


def _trusted(root: Path) -> bytes:
    from runtime.update.client import read_root  # here: it needs tuf, which few bundles do

    return read_root(root)


def _unit_name(name: str) -> str:
    return f"pocketlens-{name}.service"


def _installer(name: str, target: DeviceTarget, has_selftest: bool, has_service: bool) -> bytes:
    """The installer, with the values of this bundle as words of the shell."""
    text = Path(__file__).with_name(_INSTALL).read_text(encoding="utf-8")
    values = {
        "@NAME@": name,
        "@TARGET@": target.name,
        "@PYTHON@": target.markers["python_version"],
        "@SEES_SYSTEM@": "yes" if target.sees_system else "",
        "@HAS_SELFTEST@": "yes" if has_selftest else "",
        "@UNIT@": _unit_name(name) if has_service else "",
    }
    for mark, value in values.items():
        text = text.replace(mark, shlex.quote(value))
    return text.encode()
