"""Pictures and vectors as they came, one by one: what a device would be given. Without TensorFlow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from runtime import ImageError
from runtime.files import read_regular_file
from runtime.images import MAX_FILE_BYTES
from runtime.thread_map import ordered_map

from ..errors import DatasetError, RunError
from .dataset import ArraySource, FileSource, Indices
from .loaders.features import VectorSource

Source: TypeAlias = ArraySource | FileSource | VectorSource

Answer = TypeVar("Answer")


def size_of(source: Source) -> int:
    """How many there are."""
    if isinstance(source, FileSource):
        return len(source.paths)
    return len(source.images if isinstance(source, ArraySource) else source.vectors)


def sample(source: Source, index: int) -> npt.NDArray[Any] | bytes:
    """One of them, as `Classifier` takes it: an array, or the bytes of a file.

    Raises:
        DatasetError: the file cannot be read any more, or is not the one that it was.
    """
    if not isinstance(source, FileSource):
        row: npt.NDArray[Any] = (source.images if isinstance(source, ArraySource) else source.vectors)[index]
        return row
    try:
        content, name = read_regular_file(source.root / source.paths[index], MAX_FILE_BYTES, ImageError)
    except ImageError as error:
        raise DatasetError(f"{error}; what is measured needs the images as they were") from error
    if hashlib.sha256(content).hexdigest() != source.sha256[index]:
        raise DatasetError(f"{name}: changed since the data set was read; name it with --dataset to take it as it is")
    return content


def each(source: Source, indices: Iterable[int], prepare: Callable[[Any], Answer]) -> Iterator[Answer]:
    """What a function makes of each sample, lazily and in order; files are decoded on threads, a few ahead.

    Raises:
        DatasetError: as `sample`; and what the function raises.
    """
    workers = os.cpu_count() or 1 if isinstance(source, FileSource) else 1
    return ordered_map(lambda index: prepare(sample(source, index)), indices, workers)


def digests(source: Source, indices: Indices) -> list[str]:
    """What tells the samples apart, in that order: SHA-256 in hex, of a file's bytes, or of an array's values."""
    if isinstance(source, FileSource):
        return [source.sha256[index] for index in indices.tolist()]
    return [hashlib.sha256(np.asarray(sample(source, index)).tobytes()).hexdigest() for index in indices.tolist()]


def part_of(source: Source, indices: Indices) -> Source:
    """Some of them, in that order."""
    if isinstance(source, ArraySource):
        return ArraySource(source.images[indices])
    if isinstance(source, VectorSource):
        return VectorSource(source.vectors[indices])
    chosen = indices.tolist()
    return FileSource(source.root, tuple(source.paths[i] for i in chosen), tuple(source.sha256[i] for i in chosen))


def read_source(folder: Path, described: dict[str, Any]) -> Source:
    """What `write` of a source put into a folder, from its description.

    Raises:
        RunError: the description, or what it describes, is not as the trainer writes it.
        OSError: a file of the folder is missing.
    """
    try:
        if described["kind"] == "array":
            images = np.asarray(np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False))
            if images.dtype == np.uint8 and images.ndim in (3, 4):
                return ArraySource(images)
        elif described["kind"] == "vectors":
            vectors = np.load(folder / "vectors.npy", allow_pickle=False)
            if vectors.dtype == np.float64 and vectors.ndim == 2:
                return VectorSource(vectors)
        elif described["kind"] == "files" and len(described["paths"]) == len(described["sha256"]):
            paths = [PurePosixPath(path) for path in described["paths"]]
            if not any(path.is_absolute() or ".." in path.parts for path in paths):
                return FileSource(Path(described["root"]), tuple(map(str, paths)), tuple(described["sha256"]))
    except (KeyError, TypeError, ValueError, EOFError) as error:
        raise RunError(f"{folder}: its images are not as the trainer writes them ({error!r}); train again") from error
    raise RunError(f"{folder}: its images are not as the trainer writes them; train again")
