"""The representative dataset: the training samples that the quantizer takes its ranges from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import make_preprocessor
from runtime.features import Vector, load_vector
from runtime.input_spec import FeaturesInput, InputSpec
from trainer.data.duplicates import Fingerprints
from trainer.data.run_folder import RunFolder
from trainer.data.sources import Indices

from .errors import ExportError
from .representative_dataset_checks import (
    CLIP_DEVIATIONS,
    check_chosen_vectors,
    check_images,
    fingerprint_images,
)


@dataclass(frozen=True)
class RepresentativeDataset:
    """The samples for the quantizer.

    Attributes:
        samples: uint8, shape (n, height, width, channels), with 0 and 255 among the values; for a model that takes
            features float64, shape (n, features).
        figures: figures for `report.json`: samples, seed, split, and the results of the checks.
        warnings: warnings about the samples, a line each.
    """

    samples: npt.NDArray[Any]
    figures: Mapping[str, Any]
    warnings: tuple[str, ...]


def prepare_representative_dataset(
    run: RunFolder, count: int, seed: int, test: Callable[[], Fingerprints] | None = None
) -> RepresentativeDataset:
    """Choose training samples, decode them, and check them.

    Args:
        count: how many to choose at most, at least 1.
        seed: the seed for choosing them.
        test: a function that returns the fingerprints of the test split; by default its images are decoded here.

    Raises:
        ExportError: there are no samples, they are one sample repeated, or a user's folder of calibration images holds
            test images.
    """
    chosen = choose_representatives(run, count, seed)
    spec = run.contract.input
    if spec.kind == "features":
        vectors, trained, tested = (
            _load_vectors(run, spec, i) for i in (chosen, run.splits["train"], run.splits["test"])
        )
        figures, warnings = check_chosen_vectors(run, chosen, vectors, trained, tested)
        samples: npt.NDArray[Any] = span_features(vectors, trained, spec)
        used = len(chosen)
    else:
        decoded = fingerprint_images(run.source, chosen, run.contract.image_input)
        prints = test() if test else fingerprint_images(run.source, run.splits["test"], run.contract.image_input)[0]
        pixels, figures, warnings = check_images(run, chosen, *decoded, prints)
        samples, used = span_pixels(pixels), len(pixels)
    figures = {"samples": used, "seed": seed, "split": "train", **figures}
    return RepresentativeDataset(samples, figures, warnings)


def choose_representatives(run: RunFolder, count: int, seed: int) -> Indices:
    """Indices of `count` training samples, as `choose_evenly` chooses them.

    Raises:
        ExportError: the training split is empty.
    """
    if not len(run.splits["train"]):
        raise ExportError(f"{run.name}: the training split is empty: nothing to calibrate with")
    return choose_evenly(run, "train", count, seed)


def choose_evenly(run: RunFolder, split: str, count: int, seed: int) -> Indices:
    """Indices of `count` samples of a split, as evenly from the classes as possible; all of them if there are fewer.

    The classes take turns. An image of several labels stands for each of them.
    """
    shuffled = np.random.default_rng(seed).permutation(run.splits[split])
    # The first sample of every class, then the second of every class, and so on.
    place = np.full(len(shuffled), len(shuffled))
    for members in _classes(run, shuffled):
        place[members] = np.minimum(place[members], np.arange(members.sum()))
    return shuffled[np.argsort(place, kind="stable")][:count]


def _classes(run: RunFolder, indices: Indices) -> Iterator[npt.NDArray[np.bool_]]:
    """For each class, which of the samples belong to it; first those that belong to none."""
    targets = run.targets[indices]
    if targets.ndim == 2:
        yield ~targets.any(axis=1)
        yield from (targets == 1).T
        return
    for target in range(-1, len(run.contract.labels)):
        yield targets == target


def span_pixels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The images with 0 and 255 among their values: in the same array, one or two values of the first are set.

    The converter takes the input's scale and zero point from the least and the greatest pixel of these images. Only if
    they are 0 and 255 does it get 1/std and the mean, so that a device can feed raw pixels. If no image has these
    values, the first one's darkest and brightest pixel are set to 0 and 255. The ranges of the later layers stay the
    same.

    Args:
        pixels: shape (n, height, width, channels).
    """
    if pixels.min() > 0:
        pixels[0].flat[pixels[0].argmin()] = 0
    if pixels.max() < 255:
        pixels[0].flat[pixels[0].argmax()] = 255
    return pixels


def span_features(vectors: Vector, trained: Vector, spec: FeaturesInput) -> Vector:
    """The vectors, and the training split's two vectors with the least and the greatest value, all clipped.

    The converter takes the tensor's scale and zero point from the least and the greatest value, and a device clips
    values beyond them. So these two come from the whole training split, and are clipped to `CLIP_DEVIATIONS` standard
    deviations: the input tensor has 256 steps for its whole range, and one spike of 60 deviations would leave ten steps
    for all other values.

    Args:
        vectors: the chosen vectors, shape (n, features).
        trained: all vectors of the training split.
    """
    clipped = np.clip((trained - spec.mean) / spec.std, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)
    extremes = trained[[clipped.min(axis=1).argmin(), clipped.max(axis=1).argmax()]]
    standard = (np.concatenate([vectors, extremes]) - spec.mean) / spec.std
    spanned: Vector = np.clip(standard, -CLIP_DEVIATIONS, CLIP_DEVIATIONS) * spec.std + spec.mean
    return spanned


def _load_vectors(run: RunFolder, spec: FeaturesInput, indices: Indices) -> Vector:
    if not len(indices):
        return np.empty((0, *spec.shape))
    return np.stack([load_vector(run.source.sample(i), spec, f"{run.name}: row {i}") for i in indices.tolist()])


def converter_samples(samples: npt.NDArray[Any], spec: InputSpec) -> Iterator[list[npt.NDArray[np.float32]]]:
    """The samples one by one, scaled as on the device, in the form that TFLiteConverter expects."""
    prepare = make_preprocessor(spec)
    for sample in samples:
        yield [prepare.scale(sample[np.newaxis])]
