"""A model that Pocketlens did not train: the person's file, folders of images, and preprocessing said once.

It becomes what a run is to the rest of the exporter: contract, images, splits. Where the trainer's run has a training
split, this has the calibration images.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime import Contract, ContractError, ImageError, ImageInput, Provenance, load_pixels
from runtime.contract import COLOURS
from runtime.external.adopt import ExternalOptions
from runtime.external.labels import read_labels
from runtime.files import is_hidden, read_regular_file, shown
from runtime.images import MAX_FILE_BYTES, SUFFIXES
from runtime.progress import progress
from trainer.data.run_folder import RUN_MARKER, SPLITS_VERSION, RunFolder, read_run
from trainer.data.sources import FileSource

from .errors import ExportError
from .keras_loading import read_model

_NO_CLASS = -1


@dataclass(frozen=True)
class Folders:
    """Where the images of a model of one's own lie.

    Attributes:
        calibration: images like those of the training, in folders by class or not.
        test: images that the model has never seen, one subfolder a class, named as the labels.
        validation: further ones, arranged in the same way; not needed.
    """

    calibration: Path
    test: Path
    validation: Path | None = None


@dataclass(frozen=True)
class _Picture:
    path: Path
    target: int
    sha256: str


def assemble_contract(model: Any, name: str, options: ExternalOptions) -> Contract:
    """The contract of a Keras model: its shapes, and what a person says of the rest.

    Args:
        model: from `loading.read_model`.
        name: of its file, for messages and provenance.
        options: labels, mean and std are needed; the rest has `ImageInput`'s defaults, with colour by channels.

    Raises:
        ContractError: options are missing, out of range, or do not fit the model.
    """
    _, height, width, channels = model.input_shape
    missing = [f"--{field}" for field in ("labels", "mean", "std") if getattr(options, field) is None]
    if missing:
        raise ContractError(
            f"{name}: {' and '.join(missing)} missing, or --contract: the model is fed (pixel - mean) / std; that is "
            "--mean 0 --std 255 for 0 to 1, --mean 127.5 --std 127.5 for -1 to 1, --mean 0 --std 1 for plain pixels"
        )
    labels = read_labels(options.labels or ())
    outputs = model.output_shape[1]
    task = options.task or ("binary" if outputs == 1 and len(labels) == 2 else "multiclass")
    if outputs != (1 if task == "binary" else len(labels)):
        raise ContractError(f"{name}: {outputs} outputs and {len(labels)} labels; name each output once, in order")
    given = {
        field: value for field in ("resize", "filter", "background") if (value := getattr(options, field)) is not None
    }
    colour = options.colour or ("grey" if channels == 1 else "rgb")
    if COLOURS.get(colour, channels) != channels:
        raise ContractError(f"{name}: takes {channels} channels, --colour {colour} gives {COLOURS[colour]}")
    mean, std = _spread(options.mean, channels), _spread(options.std, channels)
    spec = ImageInput(height, width, colour, mean=mean, std=std, **given)
    return Contract(labels, spec, task, Provenance(dataset=Path(name).stem))


def _spread(value: Any, channels: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values * channels if len(values) == 1 else values


@contextmanager
def gather(
    model: Path, folders: Folders, contract: ExternalOptions | Contract, given: Sequence[str] = ("MODEL",)
) -> Iterator[RunFolder]:
    """A model of one's own as a run, for as long as the block lasts.

    Args:
        model: a `.keras` file or a SavedModel folder.
        folders: the images.
        contract: of the model, or what is needed to assemble one.
        given: the words of `pocketlens export` that name all this, for the report.

    Raises:
        ExportError: the model cannot be loaded or is no image classifier, or a folder has no images or classes.
        ContractError: the contract does not fit, or is not said in full.
    """
    if isinstance(contract, ExternalOptions):
        contract = assemble_contract(read_model(model), shown(model), contract)
    if contract.input.kind != "image":
        raise ContractError(
            f"{shown(model)}: takes {contract.input.describe()}, which cannot be measured by folders of images; export "
            "the run of `pocketlens train`, whose --model-file trains a network of your own"
        )
    if contract.task == "multilabel":
        raise ContractError(f"{shown(model)}: the task multilabel cannot be measured by folders of classes")
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
        folder = Path(name)
        splits = {
            "train": _read(folders.calibration, contract, "calibration", needs_classes=False),
            "validation": _read(folders.validation, contract, "val") if folders.validation else [],
            "test": _read(folders.test, contract, "test"),
        }
        (folder / RUN_MARKER).write_text(contract.to_json(), encoding="utf-8")
        (folder / "splits.json").write_text(json.dumps(_describe(splits)), encoding="utf-8")
        yield replace(read_run(folder, needs_model=False), model=model, external_arguments=tuple(given))


def _describe(splits: Mapping[str, list[_Picture]]) -> dict[str, Any]:
    pictures = [picture for split in splits.values() for picture in split]
    root = Path(os.path.commonpath([picture.path.parent for picture in pictures]))
    paths = [picture.path.relative_to(root).as_posix() for picture in pictures]
    source = FileSource(root, paths, [picture.sha256 for picture in pictures])
    starts = np.cumsum([0, *map(len, splits.values())]).tolist()
    return {
        "version": SPLITS_VERSION,
        "images": source.write(root),
        "targets": [picture.target for picture in pictures],
        **{name: list(range(a, b)) for name, a, b in zip(splits, starts, starts[1:], strict=False)},
    }


def _read(folder: Path, contract: Contract, what: str, *, needs_classes: bool = True) -> list[_Picture]:
    """All images of a folder but for hidden ones, each decoded once to know that it can be."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    found = [path for path in found if not is_hidden(path.relative_to(folder))]
    if not found:
        raise ExportError(f"--{what} {shown(folder)}: no images ({', '.join(SUFFIXES)}) there")
    targets = {label: target for target, label in enumerate(contract.labels)}
    pictures = []
    with progress(len(found), f"reading the {what} images") as bar:
        for path in found:
            label = path.relative_to(folder).parts[0] if path.parent != folder else ""
            if needs_classes and label not in targets:
                raise ExportError(
                    f"--{what}: {shown(path)} is in no folder of a label's name; expected one subfolder a class: "
                    f"{', '.join(contract.labels[:5])}{', ...' * (len(contract.labels) > 5)}"
                )
            pictures.append(_Picture(path.resolve(), targets.get(label, _NO_CLASS), _digest(path, contract)))
            bar.update(1)
    return pictures


def _digest(path: Path, contract: Contract) -> str:
    content, name = read_regular_file(path, MAX_FILE_BYTES, ImageError)
    try:
        load_pixels(content, contract.image_input)
    except ImageError as error:
        raise ExportError(f"{name}: {str(error).partition(': ')[2]}; take it out of the folder") from error
    return hashlib.sha256(content).hexdigest()
