"""Compares images of an export with each other: equal ones of different classes, calibration with test images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from runtime import load_pixels
from runtime.files import shown
from runtime.images import Pixels
from trainer.data.duplicates import BLANK, Fingerprints
from trainer.data.run_folder import RunFolder
from trainer.data.samples import label_text
from trainer.data.sources import FileSource, Indices, Source

#: Calibration images are compared with so many test images, unless there are fewer than the second number of either.
_COMPARED, _FEW_IMAGES = 200, 30
#: The roughness from which images look like noise, and the share of it that pictures stay below.
_NOISE, _SMOOTHER = 0.8, 0.6
#: The largest distance of two means, in standard deviations, and the largest ratio of two standard deviations.
_FAR_MEAN = 0.25
_FAR_STD = 1.25


def label_warnings(run: RunFolder, chosen: Indices, prints: Fingerprints, test: Fingerprints) -> Iterator[str]:
    """Warnings about the test images that are copies of another, and about equal images of different classes."""
    tested = run.splits["test"]
    copies = test.count_copies()
    if copies:
        yield f"test: {copies} of {len(tested)} images are copies of another; each counts as if it were one more image"
    every = np.concatenate([chosen, tested])
    known = run.targets[every] >= 0
    digests = [*prints.digests, *test.digests]
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, digest, has_class in zip(
        every.tolist(), digests, known.reshape(len(every), -1).all(axis=1), strict=True
    ):
        if has_class and digest != BLANK:
            groups[digest].append(index)
    labels = run.contract.labels
    mixed = [sorted(group) for group in groups.values() if len({label_text(run.targets[i], labels) for i in group}) > 1]
    if mixed:
        first, other = mixed[0][0], next(i for i in mixed[0] if np.any(run.targets[i] != run.targets[mixed[0][0]]))
        names = (f"{_name(run.source, i)} ({shown(label_text(run.targets[i], labels))})" for i in (first, other))
        in_test = len({*tested.tolist()} & {index for group in mixed for index in group})
        yield (
            f"{sum(map(len, mixed))} images, {in_test} of them test images, are equal to one of another class: "
            f"{' and '.join(names)}; correct or remove them, since a wrong label teaches and measures wrong answers"
        )


def _name(source: Source, index: int) -> str:
    return shown(source.paths[index]) if isinstance(source, FileSource) else f"#{index}"


def other_images_warnings(run: RunFolder, pixels: Pixels) -> Iterator[str]:
    """Warnings if a user's calibration images are other pictures than the test images, or are noise."""
    tested = run.splits["test"]
    if not run.is_external or len(pixels) < _FEW_IMAGES or len(tested) < _FEW_IMAGES:
        return
    # Spread over the split, which has one class after the other.
    some = tested[np.linspace(0, len(tested) - 1, min(len(tested), _COMPARED)).astype(int)]
    spec = run.contract.image_input
    test = np.stack([*run.source.map(some.tolist(), lambda sample: load_pixels(sample, spec))])
    ours, theirs = _roughness(pixels), _roughness(test)
    if ours > _NOISE and theirs < _SMOOTHER * ours:
        yield (
            "calibration: neighbouring pixels differ as much as in noise, and in the test images they do not; these "
            "are no such pictures, and the ranges of layers come out wrong: give images like those of the training"
        )
        return
    mean, std = float(test.mean(dtype=np.float64)), float(test.std(dtype=np.float64))
    if are_other_pixels(float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64)), mean, std):
        yield (
            f"calibration: pixels of mean {pixels.mean(dtype=np.float64):.2f} and deviation "
            f"{pixels.std(dtype=np.float64):.2f}, those of the test images have {mean:.2f} and {std:.2f}; these are "
            "other pictures: give images like those of the training"
        )


def _roughness(pixels: Pixels) -> float:
    """The mean difference of neighbouring pixels, in standard deviations of an image: 1.1 in noise, 0 in flat areas."""
    values = pixels.astype(np.float32)
    differences = [float(np.abs(np.diff(values, axis=axis)).mean()) for axis in (1, 2) if values.shape[axis] > 1]
    return float(np.mean(differences)) / max(float(values.std(axis=(1, 2)).mean()), 1.0) if differences else 0.0


def are_other_pixels(mean: float, std: float, expected_mean: float, expected_std: float) -> bool:
    """Whether the pixels with a mean and deviation are unlike those with the expected ones."""
    is_far = abs(mean - expected_mean) > _FAR_MEAN * expected_std
    return is_far or not expected_std / _FAR_STD <= max(std, 1e-6) <= expected_std * _FAR_STD
