"""Files that are to be pictures of a data set: looked at, decoded, copies and damage told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime import ContractError, ImageError, ImageInput
from runtime.files import read_regular_file, shown
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.images import read_header
from runtime.progress import progress
from runtime.thread_map import ordered_map

from ..errors import DatasetError
from .dataset import FilePixels, Geometry, decode_file
from .image_cache import CachePlace, PixelCache, open_cache
from .sources import FileSource

#: Threads that read and decode: one for each processor that this process may use.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: The side that images of mixed or large size are brought to where the user names none.
_DEFAULT_SIDE = 96
_SMALLEST_SIDE = 8
#: Of several equal files the one in the split of the lowest rank stays.
_RANKS = {"test": 0, "validation": 1}


class _Look(NamedTuple):
    """What a file is: its SHA-256; height and width, 0 where it has no header; whether it has no colour."""

    sha256: bytes
    height: int
    width: int
    is_grey: bool


@dataclass
class Pictures:
    """What came of a list of files.

    Attributes:
        root: what the paths are relative to.
        paths: of all the files.
        input: the geometry that they are decoded to.
        sha256: of each file; empty where it cannot be read.
        problems: for each file why it is left out, "" where it is not.
        cache: what was decoded; None where each picture is decoded anew whenever it is asked for.
    """

    root: Path
    paths: Sequence[str]
    input: ImageInput
    sha256: list[bytes]
    problems: list[str]
    cache: PixelCache | None = field(repr=False)

    @property
    def kept(self) -> list[int]:
        """Indices of the files that are not left out."""
        return [index for index, problem in enumerate(self.problems) if not problem]

    @property
    def left_out(self) -> tuple[str, ...]:
        """One line for each file that could not be used."""
        return tuple(problem for problem in self.problems if problem)

    def leave_out_copies(self, splits: Sequence[str], told: Callable[[int, int], str]) -> int:
        """Leave out the files whose bytes another has: one picture in two splits would be trained on and tested on.

        Args:
            splits: of each file, "" where none is given: of equal ones that in the test split stays, or else that in
                the validation split, and of these the first.
            told: the line for a copy, from its index and that of the file that stays.

        Returns:
            How many there are.
        """
        first: dict[bytes, int] = {}
        copies = 0
        for index in sorted(self.kept, key=lambda index: _RANKS.get(splits[index], len(_RANKS))):
            original = first.setdefault(self.sha256[index], index)
            if original != index:
                self.problems[index] = told(index, original)
                copies += 1
        return copies

    def source(self) -> FileSource:
        """Where the kept pictures lie."""
        kept = self.kept
        paths, digests = (tuple(self.paths[i] for i in kept), tuple(self.sha256[i].hex() for i in kept))
        return FileSource(self.root.resolve(), paths, digests)

    def pixels(self) -> FilePixels:
        """The kept pictures."""
        return FilePixels(self.source(), self.root, self.input, self.cache)


def read_pictures(root: Path, paths: Sequence[str], geometry: Geometry, place: CachePlace) -> Pictures:
    """Look at files, and decode each once: into the cache, or to see that it can be done.

    Unless the geometry says otherwise, the input is grey where every image is, and has the images' median size, at
    most 96 pixels a side. What the cache has is not decoded again. The exception is a PNG that holds XMP,
    or EXIF behind its pixels: it is decoded each time, to know whether it lies on its side.

    Args:
        paths: relative to `root`.

    Raises:
        DatasetError: a geometry that cannot be, or a cache that cannot be used.
    """
    problems = [""] * len(paths)
    looks = []
    with progress(len(paths), "reading images") as bar:
        for index, look in enumerate(ordered_map(lambda path: _look(root / path), paths, WORKERS)):
            problems[index] = look if isinstance(look, str) else ""
            looks.append(_Look(b"", 0, 0, True) if isinstance(look, str) else look)
            bar.update(1)
    spec = _input(looks, geometry)
    digests = [look.sha256 for look in looks]
    cache = open_cache(place, spec, {digest for digest in digests if digest})
    pictures = Pictures(root, paths, spec, digests, problems, cache)
    _decode(pictures)
    return pictures


def _look(path: Path) -> _Look | str:
    """What a file is, or why it cannot be read."""
    try:
        content, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
    except ImageError as error:
        return str(error)
    digest = hashlib.sha256(content).digest()
    try:
        return _Look(digest, *read_header(content))
    except ImageError:  # told with its reason when it is decoded
        return _Look(digest, 0, 0, True)


def _input(looks: Sequence[_Look], geometry: Geometry) -> ImageInput:
    images = [look for look in looks if look.height]
    sizes = [(look.height, look.width) for look in images] or [(_DEFAULT_SIDE, _DEFAULT_SIDE)]
    height, width = np.median(np.array(sizes), axis=0)
    shrink = min(1.0, _DEFAULT_SIDE / max(width, height))
    size = tuple(max(_SMALLEST_SIDE, round(side * shrink)) for side in (height, width))
    try:
        return geometry.resolve((size[0], size[1]), "grey" if all(look.is_grey for look in images) else "rgb")
    except ContractError as error:
        raise DatasetError(str(error)) from error


def _decode(pictures: Pictures) -> None:
    """Decode what the cache lacks, each of several equal files once; note what cannot be."""
    equal: dict[bytes, list[int]] = {}
    for index, digest in enumerate(pictures.sha256):
        if digest and not (pictures.cache and digest in pictures.cache):
            equal.setdefault(digest, []).append(index)
    if not equal:
        return

    def decode(indices: list[int]) -> str:
        path, digest = pictures.root / pictures.paths[indices[0]], pictures.sha256[indices[0]]
        try:
            pixels = decode_file(path, digest, pictures.input)
        except ImageError as error:
            return str(error).removeprefix(f"{shown(path)}: ")
        if pictures.cache:
            pictures.cache.write(digest, np.ascontiguousarray(pixels))
        return ""

    with progress(len(equal), "decoding images") as bar:
        for indices, reason in zip(equal.values(), ordered_map(decode, equal.values(), WORKERS), strict=True):
            for index in indices if reason else ():
                pictures.problems[index] = f"{shown(pictures.root / pictures.paths[index])}: {reason}"
            bar.update(1)
