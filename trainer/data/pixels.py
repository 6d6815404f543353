"""Pictures by index, of which no more is in memory than was asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime import ImageError, ImageInput, load_pixels

from ..errors import DatasetError
from .image_cache import PixelCache
from .sources import read_unchanged


class Pixels(Protocol):
    """What a model is trained on, in the contract's geometry: an array, or what gives arrays piece by piece.

    `pixels[i]` is one picture, `pixels[indices]` an array of those, in a form that nothing else changes.
    Reading from several threads at once is safe.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, height, width, channels)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for pictures."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class ReadPixels(ABC):
    """Pictures that are read when they are asked for."""

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
        """Put one picture into a row of a batch."""


class ResizedPixels(ReadPixels):
    """Pictures of an array in another size or colour, resized when they are asked for.

    Args:
        images: uint8, of shape (n, height, width) or (n, height, width, 3).
    """

    def __init__(self, images: npt.NDArray[np.uint8], spec: ImageInput) -> None:
        super().__init__(len(images), spec)
        self._images = images

    def _read(self, index: int, row: npt.NDArray[np.uint8]) -> None:
        row[:] = load_pixels(self._images[index], self._input)


class FilePixels(ReadPixels):
    """Pictures in files: out of the cache, or decoded anew where it lacks them.

    Args:
        root: the folder that the paths are relative to.
        sha256: of each file, in hex: what was found when the data set was read.
        cache: None to decode each time.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], sha256: Sequence[str], spec: ImageInput, cache: PixelCache | None
    ) -> None:
        super().__init__(len(paths), spec)
        self._root, self._paths, self._sha256, self._cache = root, paths, sha256, cache

    def _read(self, index: int, row: npt.NDArray[np.uint8]) -> None:
        digest = bytes.fromhex(self._sha256[index])
        if self._cache and self._cache.read(digest, row):
            return
        try:
            row[:] = decode_file(self._root / self._paths[index], digest, self._input)
        except ImageError as error:
            raise DatasetError(f"{error}; it could be read when the training began; put it back as it was") from error
        if self._cache:
            self._cache.write(digest, row)


def decode_file(path: Path, digest: bytes, spec: ImageInput) -> npt.NDArray[np.uint8]:
    """A picture out of its file, as the device would see it: uint8, shape (height, width, channels).

    Args:
        digest: the SHA-256 that the file had.

    Raises:
        ImageError: it cannot be read or decoded, or has changed.
    """
    content, name = read_unchanged(path, digest.hex())
    try:
        return load_pixels(content, spec)
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).partition(': ')[2]}") from error
