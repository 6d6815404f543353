"""Tries the usual scalings of pixels on labelled images, to find out whether one suits a network much better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import ImageInput, load_pixels
from runtime.external.scaling import list_numbers
from trainer.data.run_folder import RunFolder
from trainer.data.sources import Indices
from trainer.evaluation.intervals import mcnemar_p_value
from trainer.evaluation.predictions import Predictions, scores_of_both

from .representative_dataset import choose_representatives

_MOST_IMAGES = 200
#: With fewer images the result would mean nothing.
_FEWEST_IMAGES = 8
#: A scaling is much better if its accuracy is higher by this, and chance gives that with a probability below this.
_MUCH, _RARELY = 0.1, 0.01

_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_CAFFE_MEAN = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class PixelScaling:
    """A scaling of pixels for a network's input: (pixel - mean) / std, with an order of the channels."""

    colour: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def describe(self) -> str:
        """For people, such as "rgb, mean 0, std 255"."""
        mean, std = (list_numbers(values, ",") for values in (self.mean, self.std))
        return f"{self.colour}, mean {mean}, std {std}"


@dataclass(frozen=True)
class ScalingTrial:
    """The result of trying the usual scalings on labelled images.

    Attributes:
        images: the number of images.
        accuracy: the accuracy with the given scaling.
        best, best_accuracy: the other scaling with the highest accuracy, and its accuracy.
        is_much_better: whether the best one is much better than the given one, and not by chance.
    """

    images: int
    accuracy: float
    best: PixelScaling
    best_accuracy: float
    is_much_better: bool

    def describe(self) -> str:
        """One clause for people."""
        if not self.is_much_better:
            return (
                f"none of the usual scalings does much better on {self.images} labelled images ({self.accuracy:.4f} as "
                f"given, at best {self.best_accuracy:.4f} with {self.best.describe()})"
            )
        return (
            f"another scaling does better on {self.images} labelled images that are not test images: "
            f"{self.best.describe()} has an accuracy of {self.best_accuracy:.4f}, the given one {self.accuracy:.4f} "
            f"({100 * (self.best_accuracy - self.accuracy):.1f} points less)"
        )


def usual_scalings(colour: str) -> Iterator[PixelScaling]:
    """Plain pixels, 0 to 1, -1 to 1; for colour also ImageNet's two, each in RGB and in BGR."""
    ranges = ((0.0, 1.0), (0.0, 255.0), (127.5, 127.5))
    if colour == "grey":
        yield from (PixelScaling(colour, (mean,), (std,)) for mean, std in ranges)
        return
    for order in ("rgb", "bgr"):
        step = 1 if order == "rgb" else -1
        yield from (PixelScaling(order, (mean,) * 3, (std,) * 3) for mean, std in ranges)
        yield PixelScaling(order, _IMAGENET_MEAN[::step], _IMAGENET_STD[::step])
        yield PixelScaling(order, _CAFFE_MEAN[::step], (1.0,) * 3)


def try_scalings(model: Any, run: RunFolder, seed: int) -> ScalingTrial | None:
    """Score labelled images with the given scaling and with the usual ones; None if there are too few images.

    Args:
        model: from `keras_loading.load_model`.
        run: its labelled training images are used, or else its validation images, up to 200.
        seed: of the choice of images.
    """
    chosen = _labelled(run, seed)
    if len(chosen) < _FEWEST_IMAGES:
        return None
    spec = run.contract.image_input
    pixels = np.stack(list(run.source.map(chosen.tolist(), lambda sample: load_pixels(sample, spec))))
    targets = run.targets[chosen]
    given = PixelScaling(spec.colour, spec.mean, spec.std)
    before = _is_right(model, pixels, spec, given, targets)
    others = [scaling for scaling in usual_scalings(spec.colour) if scaling != given]
    rights = [_is_right(model, pixels, spec, scaling, targets) for scaling in others]
    best = int(np.argmax([right.mean() for right in rights]))
    after = rights[best]
    chance = mcnemar_p_value(int((before & ~after).sum()), int((after & ~before).sum()))
    better = after.mean() - before.mean() >= _MUCH and chance < _RARELY
    return ScalingTrial(len(chosen), float(before.mean()), others[best], float(after.mean()), bool(better))


def _labelled(run: RunFolder, seed: int) -> Indices:
    for split in ("train", "validation"):
        indices = run.splits[split]
        labelled = indices[run.targets[indices] >= 0]
        if len(labelled) >= _FEWEST_IMAGES:
            return choose_representatives(replace(run, splits={**run.splits, "train": labelled}), _MOST_IMAGES, seed)
    return np.empty(0, np.int64)


def _is_right(
    model: Any, pixels: npt.NDArray[np.uint8], spec: ImageInput, scaling: PixelScaling, targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether the model predicts each image correctly with a scaling."""
    ordered = pixels if scaling.colour == spec.colour else pixels[..., ::-1]
    inputs = (ordered - np.asarray(scaling.mean, np.float32)) / np.asarray(scaling.std, np.float32)
    scores = np.concatenate([np.asarray(model(one[np.newaxis], training=False)) for one in inputs])
    if scores.shape[1] == 1:
        scores = scores_of_both(scores)
    return Predictions(np.nan_to_num(scores), targets).correct
