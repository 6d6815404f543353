"""The model of a bundle: which file of a folder it is, and whether a device can use it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from runtime.errors import UsageError
from runtime.external.adopt import ExternalOptions, adopting
from runtime.files import shown
from runtime.interpreter import LIBRARIES
from runtime.model_file import ModelFile, is_sealed, read_model
from runtime.recognition import recognize, why_no_model
from runtime.selftest.format import MAX_BYTES, MEMBER
from runtime.tflite._operator_versions import unknown_to
from runtime.tflite.model import operators

from .wheels import BundleError

_USUAL = "int8.tflite"
_REJECTED = ".rejected.tflite"


class BundledModel(NamedTuple):
    """A model that was read and accepted.

    Attributes:
        file: the verified file.
        is_ours: whether it carries a contract; of another model's labels only a file is in the bundle.
        has_selftest: whether it carries golden inputs and outputs.
    """

    file: ModelFile
    is_ours: bool
    has_selftest: bool


def bundled_model(place: Path, library: str, name: str = "", labels: Path | None = None) -> BundledModel:
    """The model of a folder that `export` wrote, or a `.tflite` file.

    Args:
        place: the folder or the file.
        library: the interpreter of the device, as its package is called.
        name: the name of a file in the folder; by default int8.tflite, or the only one.
        labels: a file of labels, for a model that Pocketlens did not make.

    Raises:
        BundleError: the folder holds no published model, or not that one; or the device's interpreter lacks one of
            its operators.
        ModelFileError, ContractError: the file is damaged, or is not a classifier that Pocketlens accepts.
    """
    path = _path(place, name)
    adopt = adopting(ExternalOptions(labels=None if labels is None else str(labels)))
    file = read_model(path, adopt)
    ours = is_sealed(file.content)
    if ours and labels is not None:
        raise UsageError(f"{shown(path)} carries its labels; leave out `labels`")
    _check_operators(file, library)
    has_selftest = ours and file.member(MEMBER, MAX_BYTES) is not None
    return BundledModel(file, ours, has_selftest)


def _check_operators(file: ModelFile, library: str) -> None:
    module = next(module for module, package in LIBRARIES.items() if package == library)
    for use, highest in unknown_to(module, operators(file.content, file.name)):
        knows = f"knows it up to version {highest}" if highest else "does not know it"
        raise BundleError(
            f"{file.name}: needs {use}, and the target's {library} {knows}; export it for that interpreter"
        )


def _path(place: Path, name: str) -> Path:
    if not place.is_dir():
        if name:
            raise UsageError(f"{shown(place)} is no folder; leave out `model`")
        path = place
    else:
        path = place / name if name else _best(place)
        if not path.is_file():
            have = ", ".join(_published(place)) or "no model"
            raise BundleError(f"{shown(path)}: no such file; the folder holds {have}")
    if path.name.endswith(_REJECTED):
        raise BundleError(f"{shown(path)}: it failed a gate of its export; see report.html there, and export it again")
    return path


def _published(place: Path) -> list[str]:
    return sorted(path.name for path in place.glob("*.tflite") if not path.name.endswith(_REJECTED))


def _best(place: Path) -> Path:
    found = _published(place)
    if _USUAL in found:
        return place / _USUAL
    if len(found) == 1:
        return place / found[0]
    if found:
        raise BundleError(f"{shown(place)}: no {_USUAL}; choose one by `model`: {', '.join(found)}")
    if any(place.glob(f"*{_REJECTED}")):
        raise BundleError(
            f"{shown(place)}: its gates failed, so no model is published; see report.html there, and export it again"
        )
    why = why_no_model(place) if recognize(place).kind in ("run", "savedmodel") else "a folder without a .tflite file"
    raise BundleError(f"{shown(place)}: {why}")
