"""A model that was trained elsewhere, beside folders of images, in the place of a run folder.

Its contract is assembled from what the user says of its preprocessing. The images for the representative dataset stand
where a run of the trainer has its training split.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime import Contract, ContractError, ImageError, ImageInput, Provenance, load_pixels
from runtime.external.adopt import ExternalOptions
from runtime.external.labels import read_labels
from runtime.external.scaling import check_pixel_units, describe_scaling
from runtime.files import read_regular_file, shown
from runtime.image_formats import SUFFIXES
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.images import read_header
from runtime.input_spec import COLOURS, EXIF
from runtime.progress import progress
from runtime.recognition import suggestion
from trainer.data.duplicates import BLANK, pixels_digest
from trainer.data.folder_layout import files_below, is_image, split_of
from trainer.data.run_folder import RunFolder
from trainer.data.sources import FileSource
from trainer.keras_inspection.input_scaling import InputScaling, find_input_scaling

from .errors import ExportError
from .keras_loading import load_classifier

_log = logging.getLogger(__name__)

#: The target of an image whose class is not known.
_NO_CLASS = -1


@dataclass(frozen=True)
class ImageFolders:
    """The folders of images of an external model.

    Attributes:
        calibration: images like those of the training, for the representative dataset; subfolders are optional.
        test: images that the model was not trained on, with one subfolder a label.
        validation: further such images, arranged in the same way; optional.
    """

    calibration: Path
    test: Path
    validation: Path | None = None


@dataclass(frozen=True)
class _LabelledImage:
    """An image of a folder.

    Attributes:
        pixels: a digest of its pixels at the size of the input, from `pixels_digest`.
        is_turned: whether its EXIF orientation says that the stored pixels are not upright.
    """

    path: Path
    target: int
    sha256: str
    pixels: bytes
    is_turned: bool


def assemble_contract(model: Any, name: str, options: ExternalOptions) -> Contract:
    """The contract of a Keras model, from its shapes and from what the user says of the rest.

    Args:
        model: from `keras_loading.load_classifier`.
        name: of its file, for messages and the provenance.
        options: `labels`, `mean` and `std` are required; mean and std follow from scaling layers at the model's input,
            if it has any. The others have the defaults of `ImageInput`; the colour follows from the number of channels.

    Raises:
        ContractError: options are missing, out of range, or do not fit the model.
    """
    _, height, width, channels = model.input_shape
    scaling = find_input_scaling(model)
    if scaling is not None:
        default_mean, default_std = scaling.mean_and_std
        if options.mean is None and options.std is None:
            numbers = f"mean {default_mean:g} and std {default_std:g}"
            _log.info("%s scales its input itself (%s): %s follow from that", name, scaling.layers, numbers)
        options = options._replace(
            mean=default_mean if options.mean is None else options.mean,
            std=default_std if options.std is None else options.std,
        )
    missing = [f"`{field}`" for field in ("labels", "mean", "std") if getattr(options, field) is None]
    if missing:
        raise ContractError(
            f"{name}: {' and '.join(missing)} missing, or `contract`: the model takes (pixel - mean) / std; give "
            "`mean=0` `std=255` for 0 to 1, `mean=127.5` `std=127.5` for -1 to 1, `mean=0` `std=1` for plain pixels"
        )
    labels = read_labels(options.labels or ())
    outputs = model.output_shape[1]
    task = options.task or ("binary" if outputs == 1 and len(labels) == 2 else "multiclass")
    if outputs != (1 if task == "binary" else len(labels)):
        raise ContractError(f"{name}: {outputs} outputs and {len(labels)} labels; name each output once, in order")
    given = {
        field: value
        for field in ("resize", "filter", "orientation", "background")
        if (value := getattr(options, field)) is not None
    }
    colour = options.colour or ("grey" if channels == 1 else "rgb")
    if COLOURS.get(colour, channels) != channels:
        raise ContractError(f"{name}: takes {channels} channels, `colour={colour}` gives {COLOURS[colour]}")
    mean, std = _spread(options.mean, channels), _spread(options.std, channels)
    spec = ImageInput(height, width, colour, mean=mean, std=std, **given)
    _check_scaling(scaling, spec, name)
    return Contract(labels, spec, task, Provenance(dataset=Path(name).stem))


def _check_scaling(scaling: InputScaling | None, spec: ImageInput, name: str) -> None:
    """Refuse a mean and std in other units, or beside layers in the model that scale pixels as well."""
    try:
        check_pixel_units(spec)
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error
    if scaling is None or scaling.fits(spec.mean, spec.std):
        return
    takes = "plain pixels" if scaling.takes_pixels else "values of about 0 to 1"
    right = "`mean={:g}` `std={:g}`".format(*scaling.mean_and_std)
    raise ContractError(
        f"{name}: scales its input itself ({scaling.layers}) and takes {takes}: {right}, not "
        f"{describe_scaling(spec)}, which would scale it twice; leave both out"
    )


def _spread(value: Any, channels: int) -> tuple[float, ...]:
    """A mean or std with one number a channel; a single number holds for every channel."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values * channels if len(values) == 1 else values


def external_run(model: Path, folders: ImageFolders, contract: ExternalOptions | Contract) -> RunFolder:
    """An external model as a run.

    Args:
        model: a `.keras` file or a SavedModel folder.
        folders: the images.
        contract: of the model, or the parts to assemble one from.

    Raises:
        ExportError: the model cannot be loaded or is no image classifier, or a folder has no images or classes.
        ContractError: the contract is incomplete or does not fit the model.
    """
    was_said = isinstance(contract, ExternalOptions) and contract.orientation is not None
    if isinstance(contract, ExternalOptions):
        contract = assemble_contract(load_classifier(model), shown(model), contract)
    elif contract.input.kind == "image":
        _check_scaling(find_input_scaling(load_classifier(model)), contract.image_input, shown(model))
    if contract.input.kind != "image":
        raise ContractError(
            f"{shown(model)}: takes {contract.input.describe()}, which cannot be measured by folders of images; train "
            "this network with `pocketlens train`, and export the run"
        )
    if contract.task == "multilabel":
        raise ContractError(f"{shown(model)}: the task multilabel cannot be measured by folders of classes")
    images: dict[str, list[_LabelledImage]] = {split: [] for split in ("train", "validation", "test")}
    notes: list[str] = []
    for split, parameter in (("train", "calibration"), ("validation", "validation"), ("test", "test")):
        if (folder := getattr(folders, parameter)) is not None:
            images[split], left_out = _read_images(parameter, folder, contract, needs_classes=split != "train")
            notes += _left_out_note(parameter, len(images[split]), left_out)
    _refuse_shared(images["validation"], images["test"])
    ends = np.cumsum([len(split) for split in images.values()])
    splits = {name: np.arange(end - len(images[name]), end) for name, end in zip(images, ends, strict=True)}
    every = [image for split in images.values() for image in split]
    targets = np.array([image.target for image in every], np.int64)
    notes += [] if was_said else _orientation_notes(images, contract.image_input)
    return RunFolder(model, contract, _file_source(every), targets, splits, model, tuple(notes))


def _orientation_notes(images: Mapping[str, Sequence[_LabelledImage]], spec: ImageInput) -> Iterator[str]:
    """A note if images are turned by their EXIF tag, which the loader of the training may have ignored."""
    turned = {name: sum(image.is_turned for image in split) for name, split in images.items()}
    if spec.orientation != EXIF or not any(turned.values()):
        return
    counts = [
        f"{count} of {len(images[name])} {'calibration' if name == 'train' else name}"
        for name, count in turned.items()
        if count
    ]
    yield (
        f"{' and '.join(counts)} images carry an EXIF orientation and were turned by it; if the network was trained by "
        "a loader that ignores it, as Keras's do, export it again with the orientation set to ignore, or else to exif"
    )


def _refuse_shared(validation: Sequence[_LabelledImage], test: Sequence[_LabelledImage]) -> None:
    tested = {image.pixels for image in test} - {BLANK}
    shared = sum(image.pixels in tested for image in validation)
    if shared:
        raise ExportError(
            f"`validation`: {shared} of {len(validation)} images are test images too (equal once resized), so that "
            "the figures would flatter; take them out of one of the folders"
        )


def _file_source(images: Sequence[_LabelledImage]) -> FileSource:
    root = Path(os.path.commonpath([image.path.parent for image in images]))
    paths = [image.path.relative_to(root).as_posix() for image in images]
    return FileSource(root, paths, [image.sha256 for image in images])


def _read_images(
    parameter: str, folder: Path, contract: Contract, *, needs_classes: bool
) -> tuple[list[_LabelledImage], list[str]]:
    """All images of a folder except hidden ones, and a line for each that cannot be read, as `train` has them.

    Each is decoded once, so that a damaged one is found now.

    Args:
        parameter: the field of `ImageFolders`, for messages.
        needs_classes: require that each image lies in a subfolder with the name of a label.

    Raises:
        ExportError: no image of the folder, or of a class in it, can be read; or an image lies elsewhere.
    """
    found = [path for path in files_below(folder) if is_image(path)] if folder.is_dir() else []
    if not found:
        raise ExportError(f"`{parameter}` {shown(folder)}: no images ({', '.join(SUFFIXES)}) there")
    targets = {label: target for target, label in enumerate(contract.labels)}
    images, left_out, unusable = [], [], dict[int, str]()
    with progress(len(found), f"reading the {parameter} images") as bar:
        for path in found:
            label = path.relative_to(folder).parts[0] if path.parent != folder else ""
            if needs_classes and label not in targets:
                raise ExportError(_describe_stray(parameter, path, folder, label, contract.labels))
            target = targets.get(label, _NO_CLASS)
            try:
                images.append(_read_image(path, target, contract))
            except ImageError as error:
                left_out.append(str(error))
                unusable.setdefault(target, str(error))
            bar.update(1)
    for target in unusable.keys() - {image.target for image in images}:
        subject = f"class {contract.labels[target]!r} has" if target != _NO_CLASS else "there is"
        raise ExportError(f"`{parameter}` {shown(folder)}: {subject} no usable image; the first: {unusable[target]}")
    return images, left_out


def _describe_stray(parameter: str, path: Path, folder: Path, label: str, labels: Sequence[str]) -> str:
    below = (
        f"; name {shown(folder / label)} if its subfolders are the classes"
        if split_of(label)
        else suggestion(label, labels)
    )
    return (
        f"`{parameter}`: {shown(path)} is in no folder of a label's name; expected one subfolder a class: "
        f"{', '.join(labels[:5])}{', ...' * (len(labels) > 5)}{below}"
    )


def _left_out_note(parameter: str, count: int, left_out: Sequence[str]) -> Iterator[str]:
    """A note with the first files that cannot be read; all of them are logged."""
    for line in left_out:
        _log.info("left out: %s", line)
    if left_out:
        more = f"; {len(left_out) - 1} more" if len(left_out) > 1 else ""
        yield (
            f"{parameter}: {len(left_out)} of {count + len(left_out)} images cannot be read and are left out: "
            f"{left_out[0]}{more}"
        )


def _read_image(path: Path, target: int, contract: Contract) -> _LabelledImage:
    """An image of a folder.

    Raises:
        ImageError: it cannot be read.
    """
    content, name = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
    try:
        pixels = load_pixels(content, contract.image_input)
        is_turned = read_header(content).orientation != 1
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).partition(': ')[2]}") from error
    return _LabelledImage(path.resolve(), target, hashlib.sha256(content).hexdigest(), pixels_digest(pixels), is_turned)
