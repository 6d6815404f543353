"""What is wrong with calibration images, told before they ruin a model without a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import load_pixels
from runtime.progress import progress
from trainer.data.duplicates import MAX_COMPARED, Fingerprints
from trainer.data.run_folder import RunFolder

from .errors import ExportError

#: Below it the ranges of layers are found by chance.
FEW = 100
#: A natural set has some; above this share somebody copied, or took frames of one scene.
_MANY_NEAR = 0.1
#: Of training's standard deviation: how far the mean may lie off, and the factor that the deviation may differ by.
_FAR_MEAN = 0.25
_FAR_STD = 1.25
_BATCH = 64


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
    fingerprints = Fingerprints()
    with progress(len(chosen) + len(test), "checking the calibration images") as bar:
        everything = np.append(chosen, test)
        for start in range(0, len(everything), _BATCH):
            batch = [_read(run, index) for index in everything[start : start + _BATCH].tolist()]
            fingerprints.add(np.stack(batch))
            bar.update(len(batch))
    tested = set(fingerprints.digests[len(chosen) :])
    shared = np.array([digest in tested for digest in fingerprints.digests[: len(chosen)]])
    if shared.any() and run.is_external:
        raise ExportError(
            f"calibration: {shared.sum()} of {len(chosen)} images are test images too, so that the figures would "
            "flatter; take them out of one of the folders"
        )
    kept, prints = chosen[~shared], fingerprints.select(np.flatnonzero(~np.append(shared, np.zeros(len(test), bool))))
    distinct = len(set(prints.digests[: len(kept)]))
    if distinct < 2:
        raise ExportError(
            f"calibration: {len(kept)} images, {distinct} distinct; one image shows the quantizer no "
            "range: give at least 100 different ones, see --calibration-samples"
        )
    near, near_test = _count_near(run, np.append(kept, test), prints, len(kept))
    figures = _figures(run, kept, len(kept) - distinct, near)
    figures |= {"overlap": int(shared.sum()), "near_overlap": near_test}
    return Lint(kept, figures, tuple(_warnings(run, figures, len(kept))))


def _read(run: RunFolder, index: int) -> npt.NDArray[np.uint8]:
    """An image as the model sees it."""
    return load_pixels(run.source.sample(index), run.contract.image_input)


def _count_near(run: RunFolder, indices: npt.NDArray[np.int64], prints: Fingerprints, count: int) -> tuple[int, int]:
    """How many of the first `count` images look like an earlier one of them, and how many like one of the others."""
    read = lru_cache(maxsize=256)(lambda place: _read(run, int(indices[place])))
    pairs, _ = prints.near_pairs(read, first_below=count, most=MAX_COMPARED)
    own = {pair.second for pair in pairs if pair.second < count}
    return len(own), len({pair.first for pair in pairs if pair.second >= count})


def _figures(run: RunFolder, kept: npt.NDArray[np.int64], duplicates: int, near: int) -> dict[str, Any]:
    pixels = np.stack([_read(run, index) for index in kept.tolist()])
    targets = run.targets[kept]
    seen = np.flatnonzero(targets.any(axis=0)) if targets.ndim == 2 else np.unique(targets[targets >= 0])
    return {
        "classes": len(seen) or None,
        "duplicates": duplicates,
        "near_duplicates": near,
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
