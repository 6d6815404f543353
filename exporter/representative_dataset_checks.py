"""What is wrong with calibration images, told before they ruin a model without a word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import load_pixels
from runtime.progress import progress
from trainer.data.run_folder import RunFolder

from .errors import ExportError

#: Below it the ranges of layers are found by chance.
FEW = 100
#: Bits of 64 in which the hashes of near duplicates differ at most, and grey levels in which their thumbnails do.
_NEAR_BITS = 4
_NEAR_LEVELS = 3.0
_THUMBNAIL = (9, 8)
#: A natural set has some; above this share somebody copied, or took frames of one scene.
_MANY_NEAR = 0.1
#: Of training's standard deviation: how far the mean may lie off, and the factor that the deviation may differ by.
_FAR_MEAN = 0.25
_FAR_STD = 1.25
_NAMED = 5


@dataclass(frozen=True)
class Lint:
    """What was found.

    Attributes:
        kept: indices of the images to calibrate with.
        figures: for `report.json`.
        warnings: a line each.
    """

    kept: npt.NDArray[np.int64]
    figures: dict[str, Any]
    warnings: tuple[str, ...]


class _Looks(NamedTuple):
    """How images look: digests of their pixels; 64-bit difference hashes (n,); grey thumbnails (n, 8, 9)."""

    digests: list[bytes]
    hashes: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.float32]


def lint(run: RunFolder, chosen: npt.NDArray[np.int64]) -> Lint:
    """Look at calibration images beside each other, the training pixels and the test split.

    All are compared as the model sees them, so that the same picture saved twice is one. A training image that is
    in the test split too is left out; in a folder that a person chose it is an error.

    Args:
        chosen: indices of the images, at least one.

    Raises:
        ExportError: all images are one, or a given folder shares images with the test split.
    """
    test = run.splits["test"]
    with progress(len(chosen) + len(test), "checking the calibration images") as bar:
        ours, theirs = _look(run, chosen, bar), _look(run, test, bar)
    tested = set(theirs.digests)
    shared = np.array([digest in tested for digest in ours.digests])
    if shared.any() and run.is_external:
        raise ExportError(
            f"calibration: {shared.sum()} of {len(chosen)} images are test images too, so that the figures would "
            "flatter; take them out of one of the folders"
        )
    kept, looks = chosen[~shared], _take(ours, ~shared)
    if len(set(looks.digests)) < 2:
        raise ExportError(
            f"calibration: {len(kept)} images, {len(set(looks.digests))} distinct; one image shows the quantizer no "
            "range: give at least 100 different ones, see --calibration-samples"
        )
    figures = _figures(run, kept, looks) | {"overlap": int(shared.sum()), "near_overlap": _near(looks, theirs)}
    return Lint(kept, figures, tuple(_warnings(run, figures, len(kept))))


def _look(run: RunFolder, indices: npt.NDArray[np.int64], bar: Any) -> _Looks:
    digests, thumbnails = [], np.empty((len(indices), _THUMBNAIL[1], _THUMBNAIL[0]), np.float32)
    for row, index in enumerate(indices):
        pixels = load_pixels(run.source.sample(int(index)), run.contract.image_input)
        digests.append(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest())
        grey = Image.fromarray(np.rint(pixels.mean(axis=2)).astype(np.uint8))
        thumbnails[row] = np.asarray(grey.resize(_THUMBNAIL, Image.Resampling.BOX))
        bar.update(1)
    return _Looks(digests, difference_hashes(thumbnails), thumbnails)


def difference_hashes(thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """64 bits for each thumbnail of shape (8, 9): whether each pixel is brighter than the one to its left.

    Source: the difference hash as N. Krawetz described it, 2013.
    """
    bits = (np.diff(thumbnails, axis=2) > 0).reshape(len(thumbnails), 64)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def _take(looks: _Looks, chosen: npt.NDArray[np.bool_]) -> _Looks:
    digests = [digest for digest, is_chosen in zip(looks.digests, chosen, strict=True) if is_chosen]
    return _Looks(digests, looks.hashes[chosen], looks.thumbnails[chosen])


def _near(looks: _Looks, others: _Looks | None = None) -> int:
    """Images that look like one of the others, or like an earlier one of their own; equal ones do not count."""
    count = 0
    for row, (digest, value) in enumerate(zip(looks.digests, looks.hashes, strict=True)):
        among = others or _Looks(looks.digests[:row], looks.hashes[:row], looks.thumbnails[:row])
        differing = np.unpackbits((among.hashes ^ value).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        close = np.flatnonzero(differing <= _NEAR_BITS)
        levels = np.abs(among.thumbnails[close] - looks.thumbnails[row]).mean(axis=(1, 2))
        count += any(among.digests[i] != digest for i in close[levels <= _NEAR_LEVELS].tolist())
    return count


def _figures(run: RunFolder, kept: npt.NDArray[np.int64], looks: _Looks) -> dict[str, Any]:
    pixels = np.stack([load_pixels(run.source.sample(int(i)), run.contract.image_input) for i in kept])
    targets = run.targets[kept]
    seen = np.flatnonzero(targets.any(axis=0)) if targets.ndim == 2 else np.unique(targets[targets >= 0])
    return {
        "classes": len(seen) or None,
        "duplicates": len(kept) - len(set(looks.digests)),
        "near_duplicates": _near(looks),
        "pixels": {
            "min": int(pixels.min()),
            "max": int(pixels.max()),
            "mean": round(float(pixels.mean(dtype=np.float64)), 2),
            "std": round(float(pixels.std(dtype=np.float64)), 2),
        },
    }


def _warnings(run: RunFolder, figures: dict[str, Any], count: int) -> Iterator[str]:
    classes = len(run.contract.labels)
    if count < FEW:
        yield f"calibration: {count} images; below {FEW} the ranges of layers are found by chance, give more"
    if figures["classes"] is not None and figures["classes"] < classes:
        yield f"calibration: only {figures['classes']} of {classes} classes have an image"
    if figures["duplicates"]:
        yield f"calibration: {figures['duplicates']} of {count} images are copies of another"
    if figures["near_duplicates"] > _MANY_NEAR * count:
        yield f"calibration: {figures['near_duplicates']} of {count} images look almost like another"
    if figures["overlap"]:
        yield f"calibration: {figures['overlap']} training images are in the test split too, and were left out"
    if figures["near_overlap"] > _MANY_NEAR * count:
        yield f"calibration: {figures['near_overlap']} of {count} images look almost like a test image"
    yield from _range_warnings(run, figures["pixels"])


def _range_warnings(run: RunFolder, pixels: dict[str, float]) -> Iterator[str]:
    if run.is_external:  # what it was trained on is not known: only that a pixel can be 0 to 255
        if pixels["max"] - pixels["min"] < 128:
            yield f"calibration: the pixels are {pixels['min']} to {pixels['max']}, less than half of what there can be"
        return
    # The trainer took mean and std from the training pixels.
    mean, std = run.contract.image_input.mean[0], run.contract.image_input.std[0]
    off = abs(pixels["mean"] - mean) > _FAR_MEAN * std
    if off or not std / _FAR_STD <= max(pixels["std"], 1e-6) <= std * _FAR_STD:
        yield (
            f"calibration: pixels of mean {pixels['mean']} and deviation {pixels['std']}, "
            f"training's are {mean:g} and {std:g}; these are other pictures"
        )
