"""A data set as training needs it: pixels as the contract says, targets, and where the pictures came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import ImageInput, load_pixels
from runtime.input_spec import InputSpec
from runtime.progress import progress

from .pixels import Pixels, ResizedPixels
from .sources import Indices, Source

#: Bytes of pixels that are made ahead and held in memory.
_MOST_AHEAD = 2**28


@dataclass(frozen=True)
class Geometry:
    """What a user may say about the input; `None` leaves it to the data set.

    Attributes:
        size: (height, width) of the input tensor.
        colour: `"grey"` or `"rgb"`.
        resize: `"stretch"`, `"pad"` or `"crop"`.
        asked: whether a user asks for it. A data set of features refuses what it would have to pass over; the geometry
            of a model that is to be measured is held against the data set by others, who can name the model.
    """

    size: tuple[int, int] | None = None
    colour: str | None = None
    resize: str = "stretch"
    asked: bool = True

    def resolve(self, size: tuple[int, int], colour: str) -> ImageInput:
        """The contract's input, with the data set's own size and colour where the user gave none."""
        height, width = self.size or size
        return ImageInput(height, width, self.colour or colour, self.resize)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: for people and for the provenance.
        labels: class names, in the order of the targets.
        input: the geometry that `pixels` has, or the names of the features; its scaling is not yet decided.
        pixels: uint8, shape (n, height, width, channels); by index, for they may lie on disk. Of features float64,
            shape (n, features).
        targets: int32, shape (n,): the class of each picture; of the task multilabel uint8, shape (n, labels): 1 for
            each label that it has.
        source: the pictures as they were before any resizing.
        given: indices of the splits that the data set brings itself ("train", "validation", "test").
        date: ISO 8601, of the data.
        left_out: one line for each file, or row of a file, that is not used.
        copied: how many of these are but copies of others.
        augmentation: what may be done to a training picture of it without touching its label (`spec.AUGMENTATIONS`).
        merged: the merges of classes that made it, as they were asked for.
        task: `"multiclass"`, `"binary"` (two classes; the second is the positive one) or `"multilabel"`.
    """

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    pixels: Pixels
    targets: npt.NDArray[Any]
    source: Source
    given: Mapping[str, Indices] = field(default_factory=dict)
    date: str = ""
    left_out: tuple[str, ...] = ()
    copied: int = 0
    augmentation: tuple[str, ...] = ("shift",)
    merged: tuple[str, ...] = ()
    task: str = "multiclass"


def array_pixels(images: npt.NDArray[np.uint8], spec: ImageInput) -> Pixels:
    """Pictures of one array, each as the contract says: uint8, shape (n, height, width, channels).

    Resized ahead where the result is small beside memory.
    """
    if images.shape[1:] != (spec.height, spec.width) and len(images) * math.prod(spec.shape) > _MOST_AHEAD:
        return ResizedPixels(images, spec)
    pixels = np.empty((len(images), *spec.shape), np.uint8)
    with progress(len(images), "reading images") as bar:
        for row, image in zip(pixels, images, strict=True):
            row[:] = load_pixels(image, spec)
            bar.update(1)
    return pixels
