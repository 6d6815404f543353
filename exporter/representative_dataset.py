"""The representative dataset: which training images, and in what form the converter sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import load_pixels, make_preprocessor
from runtime.input_spec import InputSpec
from trainer.data.run_folder import RunFolder

from .errors import ExportError
from .representative_dataset_checks import lint
from .representative_features import calibration_vectors


@dataclass(frozen=True)
class Calibration:
    """What the quantizer sees.

    Attributes:
        pixels: uint8, shape (n, height, width, channels), from `calibration_pixels`; of a model that takes features
            float64, shape (n, features), from `calibration_vectors`.
        figures: for `report.json`: samples, seed, split, and what the lint measured.
        warnings: what people should know of the images, a line each.
    """

    pixels: npt.NDArray[Any]
    figures: Mapping[str, Any]
    warnings: tuple[str, ...]


def prepare_calibration(run: RunFolder, count: int, seed: int) -> Calibration:
    """Choose calibration images, check them, and decode them.

    Raises:
        ExportError: there are none, they are one image repeated, or a folder that was given holds test images.
    """
    chosen = choose_images(run, count, seed)
    spec = run.contract.input
    if spec.kind == "features":
        readings = calibration_vectors(run, spec, chosen)
        figures = {"samples": len(chosen), "seed": seed, "split": "train", **readings.figures}
        return Calibration(readings.vectors, figures, readings.warnings)
    found = lint(run, chosen)
    figures = {"samples": len(found.kept), "seed": seed, "split": "train", **found.figures}
    return Calibration(calibration_pixels(run, found.kept), figures, found.warnings)


def choose_images(run: RunFolder, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of `count` training images, the classes as even as they can be; all of them where there are fewer.

    An image of several labels stands for each of them.

    Raises:
        ExportError: the training split is empty.
    """
    train = run.splits["train"]
    if not len(train):
        raise ExportError(f"{run.folder}: the training split is empty: nothing to calibrate with")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(train)
    # The first image of every class, then the second of every class, and so on; -1 is an image of no known class.
    place = np.full(len(shuffled), len(shuffled))
    for members in _classes(run, shuffled):
        place[members] = np.minimum(place[members], np.arange(members.sum()))
    return shuffled[np.argsort(place, kind="stable")][:count]


def _classes(run: RunFolder, indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.bool_]]:
    """Which of the images are of each class, those of none first."""
    targets = run.targets[indices]
    if targets.ndim == 2:
        yield ~targets.any(axis=1)
        yield from (targets == 1).T
        return
    for target in range(-1, len(run.contract.labels)):
        yield targets == target


def calibration_pixels(run: RunFolder, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The chosen images as the contract says, uint8, shape (n, height, width, channels), spanning 0 to 255.

    The converter takes the input's scale and zero point from the least and the greatest pixel that it sees.
    Only if these are 0 and 255 do they come out as 1/std and the mean, so that a device can feed raw pixels.
    Where no image has them, the first one's darkest and brightest pixel are set to 0 and 255: one or two
    values in all, which leaves the ranges of the layers behind as they are.
    """
    spec = run.contract.image_input
    pixels = np.stack([load_pixels(run.source.sample(int(i)), spec) for i in indices])
    if pixels.min() > 0:
        pixels[0].flat[pixels[0].argmin()] = 0
    if pixels.max() < 255:
        pixels[0].flat[pixels[0].argmax()] = 255
    return pixels


def representative_dataset(pixels: npt.NDArray[Any], spec: InputSpec) -> Iterator[list[npt.NDArray[np.float32]]]:
    """The images or vectors one by one, scaled as on the device, in the form that TFLiteConverter wants."""
    prepare = make_preprocessor(spec)
    for image in pixels:
        yield [prepare.scale(image[np.newaxis])]
