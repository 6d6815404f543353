"""The samples of a data set as a device gets them: images or vectors, before any resizing. Imports no TensorFlow."""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from runtime import ImageError
from runtime.files import read_regular_file
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.thread_map import ordered_map

from ..errors import DatasetError
from .shared_arrays import describe_file

#: What a file of one array begins with.
_NPY_START = b"\x93NUMPY"

Indices: TypeAlias = npt.NDArray[np.int64]

Result = TypeVar("Result")


class Source(ABC):
    """The samples of a data set, by index."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def sample(self, index: int) -> npt.NDArray[Any] | bytes:
        """One sample, as `Classifier` takes it: an array, or the bytes of a file.

        Raises:
            DatasetError: the file cannot be read, or its SHA-256 is no longer the one that was recorded.
        """

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Write the samples into a folder where they do not lie in files; returns what `read_source` needs."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of all samples, in hex."""

    @abstractmethod
    def select(self, indices: Indices) -> Source:
        """Some of the samples, in the order of the indices."""

    def digests(self, indices: Indices) -> list[str]:
        """SHA-256 in hex of some samples, in that order: of an array's values, or of a file's bytes."""
        return [hashlib.sha256(np.asarray(self.sample(index)).tobytes()).hexdigest() for index in indices.tolist()]

    def map(self, indices: Iterable[int], prepare: Callable[[Any], Result]) -> Iterator[Result]:
        """The results of a function for each sample, lazily and in order; files are decoded ahead, on threads.

        Raises:
            DatasetError: as `sample`. Errors of the function pass through.
        """
        workers = os.cpu_count() or 1 if isinstance(self, FileSource) else 1
        return ordered_map(lambda index: prepare(self.sample(index)), indices, workers)


@dataclass(frozen=True)
class ArraySource(Source):
    """Images in one array.

    Attributes:
        images: uint8, of shape (n, height, width) or (n, height, width, 3), as the publisher has them.
    """

    images: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> npt.NDArray[np.uint8]:
        """One image, of shape (height, width) or (height, width, 3)."""
        image: npt.NDArray[np.uint8] = self.images[index]
        return image

    def write(self, folder: Path) -> dict[str, Any]:
        """Write `images.npy`."""
        np.save(folder / "images.npy", self.images)
        return {"kind": "array", "file": "images.npy"}

    def digest(self) -> str:
        """SHA-256 of the array's values."""
        return hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()

    def select(self, indices: Indices) -> ArraySource:
        """A copy of these images."""
        return ArraySource(self.images[indices])


@dataclass(frozen=True)
class VectorSource(Source):
    """Vectors of features in one array.

    Attributes:
        vectors: float64, shape (n, features).
    """

    vectors: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vectors)

    def sample(self, index: int) -> npt.NDArray[np.float64]:
        """One vector, of shape (features,)."""
        vector: npt.NDArray[np.float64] = self.vectors[index]
        return vector

    def write(self, folder: Path) -> dict[str, Any]:
        """Write `vectors.npy`."""
        np.save(folder / "vectors.npy", self.vectors)
        return {"kind": "vectors", "file": "vectors.npy"}

    def digest(self) -> str:
        """SHA-256 of the array's values."""
        return hashlib.sha256(np.ascontiguousarray(self.vectors).data).hexdigest()

    def select(self, indices: Indices) -> VectorSource:
        """A copy of these vectors."""
        return VectorSource(self.vectors[indices])


@dataclass(frozen=True)
class FileSource(Source):
    """Images in files below one folder. Each is read, and compared with its recorded digest, when it is needed.

    Attributes:
        root: the folder, absolute.
        paths: relative to it, one for each image.
        sha256: of each file, in hex.
    """

    root: Path
    paths: Sequence[str]
    sha256: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int) -> bytes:
        """The bytes of one file."""
        try:
            return read_unchanged(self.root / self.paths[index], self.sha256[index])[0]
        except ImageError as error:
            raise DatasetError(f"{error}; train again, or name the data set to take it as it is now") from error

    def write(self, folder: Path) -> dict[str, Any]:
        """The paths and digests alone; the images stay where they are."""
        del folder
        return {"kind": "files", "root": str(self.root), "paths": list(self.paths), "sha256": list(self.sha256)}

    def digest(self) -> str:
        """SHA-256 of the files' digests."""
        return hashlib.sha256("".join(self.sha256).encode()).hexdigest()

    def digests(self, indices: Indices) -> list[str]:
        """The recorded digests; no file is read."""
        return [self.sha256[index] for index in indices.tolist()]

    def select(self, indices: Indices) -> FileSource:
        """These files; none is read."""
        chosen = indices.tolist()
        return FileSource(self.root, tuple(self.paths[i] for i in chosen), tuple(self.sha256[i] for i in chosen))


def read_unchanged(path: Path, sha256: str) -> tuple[bytes, str]:
    """The content of an image file whose digest was recorded, and its printable name.

    Args:
        sha256: the digest that the content must have, in hex.

    Raises:
        ImageError: the file cannot be read, or has changed.
    """
    content, name = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ImageError(f"{name}: changed since training or since the data set was read")
    return content, name


def read_source(folder: Path, description: dict[str, Any]) -> Source:
    """The source that `Source.write` put into a folder.

    Args:
        description: what `write` returned.

    Raises:
        KeyError, TypeError, ValueError, EOFError: the description is malformed, or an array is not what it says or
            has changed.
        OSError: an array's file is missing.
    """
    if description["kind"] == "array":
        images = _mapped(folder / "images.npy", description)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ValueError(f"images of type {images.dtype} and shape {images.shape}")
        return ArraySource(images)
    if description["kind"] == "vectors":
        vectors = np.array(_mapped(folder / "vectors.npy", description))
        if vectors.dtype != np.float64 or vectors.ndim != 2:
            raise ValueError(f"vectors of type {vectors.dtype} and shape {vectors.shape}")
        return VectorSource(vectors)
    if description["kind"] != "files":
        raise ValueError(f"images of kind {description['kind']!r}")
    return _read_files(description)


def _mapped(path: Path, description: dict[str, Any]) -> npt.NDArray[Any]:
    """The array in a file of numpy, whose SHA-256 is compared where one was recorded.

    It is mapped: an export reads a few hundred training images and the test split of what may be gigabytes, and a
    header that claims more than the file holds takes no memory. It is a plain array, since numpy's memmap costs
    microseconds at each access.

    Raises:
        OSError: the file is missing.
        ValueError: it holds something else, or has changed; numpy would read an archive too, and wait for a pipe.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        if file.read(len(_NPY_START)) != _NPY_START:
            raise ValueError(f"{path.name} is no array of numpy")
    recorded = {name: description[name] for name in ("sha256", "bytes") if name in description}  # absent in old runs
    if recorded and not recorded.items() <= describe_file(path).items():
        raise ValueError(f"{path.name} has changed since the training: its SHA-256 is not the recorded one")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except OSError:
        raise
    except Exception as error:  # numpy parses the header with Python's tokenizer, which raises its own kinds
        raise ValueError(f"{path.name} is no array of numpy: {error}") from error


def _read_files(description: dict[str, Any]) -> FileSource:
    paths, digests = description["paths"], description["sha256"]
    if len(paths) != len(digests):
        raise ValueError(f"{len(paths)} paths and {len(digests)} digests")
    for path in map(PurePosixPath, paths):
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"path {str(path)!r} leads out of the folder")
    return FileSource(Path(description["root"]), tuple(paths), tuple(digests))
