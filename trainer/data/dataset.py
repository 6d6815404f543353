"""The value that every data set becomes: targets, labels, and pixels that are read by index."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime import ImageError, ImageInput, load_pixels
from runtime.input_spec import InputSpec
from runtime.progress import progress

from ..errors import DatasetError
from .image_cache import PixelCache
from .label_names import label_remarks
from .sources import FileSource, Indices, Source, read_unchanged

#: Pixels up to this many bytes are resized at once and held in memory.
_MAX_RESIZED_BYTES = 2**28


#: Checks the labels of a data set whose images are not decoded yet; it raises DatasetError.
LabelCheck: TypeAlias = Callable[[Sequence[str]], None]


class PixelStore(Protocol):
    """Samples in the contract's geometry: an array, or an object that reads arrays piece by piece.

    `store[i]` is one sample, `store[indices]` an array of samples that nothing else changes. Several threads may read
    at once.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, height, width, channels), or (n, features)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for images, float64 for features."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Geometry:
    """The input that a user wants; `None` leaves it to the data set.

    Attributes:
        image_size: (height, width) of the input tensor.
        colour: `"grey"` or `"rgb"`.
        resize: `"stretch"`, `"pad"` or `"crop"`.
        filter, orientation: as for `ImageInput`.
        from_user: False for the geometry of a model that is to be measured. A data set of features refuses a geometry
            that the user gave; of a model's, the evaluation reports the mismatch, since it can name the model.
    """

    image_size: tuple[int, int] | None = None
    colour: str | None = None
    resize: str = "stretch"
    filter: str = ImageInput.filter
    orientation: str = ImageInput.orientation
    from_user: bool = True

    def resolve(self, size: tuple[int, int], colour: str) -> ImageInput:
        """The contract's input, with the data set's own size and colour where the user gave none."""
        height, width = self.image_size or size
        return ImageInput(height, width, self.colour or colour, self.resize, self.filter, orientation=self.orientation)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: for people and for the provenance.
        labels: class names, in the order of the targets.
        input: the geometry of `pixels`, or the names of the features; its scaling is not yet decided.
        pixels: uint8, shape (n, height, width, channels), maybe on disk; for features float64, shape (n, features).
        targets: int32, shape (n,): the class of each sample; for the task multilabel uint8, shape (n, labels), 1 for
            each label that the sample has.
        source: the samples before any resizing.
        given: indices of the splits that the data set brings itself ("train", "validation", "test").
        date: ISO 8601, of the data.
        left_out: one line for each file, or row of a file, that is not used.
        copied: how many of these are copies of others.
        notes: what a person should know of how the data set was read, a line each.
        augmentation: changes to a training image that keep its label (`config.AUGMENTATIONS`).
        merged: the merges of classes that were applied, in the form that `merge_classes` takes.
        task: `"multiclass"`, `"binary"` (two classes; the second is the positive one) or `"multilabel"`.
        is_listed: whether a file lists the labels of each image, so that the task may be multilabel.
    """

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    pixels: PixelStore
    targets: npt.NDArray[Any]
    source: Source
    given: Mapping[str, Indices] = field(default_factory=dict)
    date: str = ""
    left_out: tuple[str, ...] = ()
    copied: int = 0
    notes: tuple[str, ...] = ()
    augmentation: tuple[str, ...] = ("shift",)
    merged: tuple[str, ...] = ()
    task: str = "multiclass"
    is_listed: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and what is odd about the labels, a line each."""
        return (*self.notes, *label_remarks(self.labels))


def newest_date(paths: Iterable[Path]) -> str:
    """The ISO 8601 date, in UTC, of the last change to some files; links are not followed."""
    newest = max(path.lstat().st_mtime for path in paths)
    return datetime.fromtimestamp(newest, timezone.utc).date().isoformat()


class _LazyPixels(ABC):
    """Images that are read when they are needed."""

    def __init__(self, count: int, spec: ImageInput) -> None:
        self._input = spec
        self._numbers = np.arange(count)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, channels)."""
        return (len(self), *self._input.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        chosen = np.atleast_1d(self._numbers[key])
        batch = np.empty((len(chosen), *self._input.shape), np.uint8)
        for row, index in zip(batch, chosen.tolist(), strict=True):
            self._read(index, row)
        return batch if np.ndim(self._numbers[key]) else batch[0]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for index in range(len(self)):
            yield self[index]

    @abstractmethod
    def _read(self, index: int, row: npt.NDArray[np.uint8]) -> None:
        """Put one image into a row of a batch."""


class ResizedPixels(_LazyPixels):
    """Images of an array in another size or colour, resized when they are needed.

    Args:
        images: uint8, of shape (n, height, width) or (n, height, width, 3).
    """

    def __init__(self, images: npt.NDArray[np.uint8], spec: ImageInput) -> None:
        super().__init__(len(images), spec)
        self._images = images

    def _read(self, index: int, row: npt.NDArray[np.uint8]) -> None:
        row[:] = load_pixels(self._images[index], self._input)


class FilePixels(_LazyPixels):
    """Images in files: from the cache, or decoded again where the cache lacks them.

    Args:
        root: the source's folder as the user named it, for messages.
        cache: None to decode each time.
    """

    def __init__(self, source: FileSource, root: Path, spec: ImageInput, cache: PixelCache | None) -> None:
        super().__init__(len(source), spec)
        self._source, self._root, self._cache = source, root, cache

    def _read(self, index: int, row: npt.NDArray[np.uint8]) -> None:
        digest = bytes.fromhex(self._source.sha256[index])
        if self._cache and self._cache.read(digest, row):
            return
        try:
            row[:] = decode_file(self._root / self._source.paths[index], digest, self._input)
        except ImageError as error:
            raise DatasetError(f"{error}; it could be read when the training began; put it back as it was") from error
        if self._cache:
            self._cache.write(digest, row)


def decode_file(path: Path, digest: bytes, spec: ImageInput) -> npt.NDArray[np.uint8]:
    """An image file as the device would see it: uint8, shape (height, width, channels).

    Args:
        digest: the SHA-256 that the file must have.

    Raises:
        ImageError: the file cannot be read or decoded, or has changed.
    """
    content, name = read_unchanged(path, digest.hex())
    try:
        return load_pixels(content, spec)
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).partition(': ')[2]}") from error


def array_pixels(images: npt.NDArray[np.uint8], spec: ImageInput) -> PixelStore:
    """Images of one array in the contract's geometry: uint8, shape (n, height, width, channels).

    They are resized at once where the result is small, and otherwise when they are needed.
    """
    if images.shape[1:] != (spec.height, spec.width) and len(images) * math.prod(spec.shape) > _MAX_RESIZED_BYTES:
        return ResizedPixels(images, spec)
    pixels = np.empty((len(images), *spec.shape), np.uint8)
    with progress(len(images), "reading images") as bar:
        for row, image in zip(pixels, images, strict=True):
            row[:] = load_pixels(image, spec)
            bar.update(1)
    return pixels
