"""Image files of a data set: their headers, their decoding, and which are damaged or copies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
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
from .folder_layout import plural
from .image_cache import CachePlace, PixelCache, open_cache
from .sources import FileSource

#: Threads that read and decode, one for each processor that this process may use.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: The longer side of the input where the user gives no size and the images are larger.
_MAX_SIDE = 96
_MIN_SIDE = 8
#: The end of the line about a copy whose labels contradict those of the file that is kept.
OTHER_LABELS = ", with other labels"
#: 16-bit images whose values are examined at most, and the highest pixel (of 255) that so many bits can give.
_EXAMINED = 64
_FEWER_BITS = {10: 4, 12: 16, 14: 64}
#: If files are equal, the one in the split of the lowest rank is kept.
_RANKS = {"test": 0, "validation": 1}


class _FileFacts(NamedTuple):
    """A file's SHA-256; height and width, 0 where it has no image header; whether it has no colour, and 16 bits."""

    sha256: bytes
    height: int
    width: int
    is_grey: bool
    has_16_bits: bool = False


@dataclass
class ImageFiles:
    """A list of image files that have been read and decoded once.

    Attributes:
        root: the folder that the paths are relative to.
        paths: the paths of all files.
        input: the geometry that the files are decoded to.
        sha256: the digest of each file; empty if it cannot be read.
        problems: the reason why each file is left out; "" for a file that is used.
        cache: the decoded images; None to decode an image each time that it is read.
        with_16_bits: whether the values of each file have 16 bits.
    """

    root: Path
    paths: Sequence[str]
    input: ImageInput
    sha256: list[bytes]
    problems: list[str]
    cache: PixelCache | None = field(repr=False)
    with_16_bits: list[bool] = field(default_factory=list)

    @property
    def kept(self) -> list[int]:
        """Indices of the files that are not left out."""
        return [index for index, problem in enumerate(self.problems) if not problem]

    @property
    def left_out(self) -> tuple[str, ...]:
        """One line for each file that is left out."""
        return tuple(problem for problem in self.problems if problem)

    @property
    def augmentation(self) -> tuple[str, ...]:
        """The changes that keep the labels: grey images are often writing, whose mirror image means something else."""
        return ("shift", "colour") if self.input.channels == 1 else ("shift", "flip", "colour")

    def leave_out_copies(self, splits: Sequence[str], describe: Callable[[int, int], str]) -> int:
        """Leave out files whose bytes another file has, since one image must not be in two splits.

        Args:
            splits: the split of each file, "" where none is given. Of equal files the one in the test split is kept,
                or else the one in the validation split; of several, the first.
            describe: gives the line for a copy, from its index and that of the file that is kept.

        Returns:
            The number of copies.
        """
        first: dict[bytes, int] = {}
        copies = 0
        for index in sorted(self.kept, key=lambda index: _RANKS.get(splits[index], len(_RANKS))):
            original = first.setdefault(self.sha256[index], index)
            if original != index:
                self.problems[index] = describe(index, original)
                copies += 1
        return copies

    def source(self) -> FileSource:
        """The files that are not left out."""
        kept = self.kept
        paths, digests = (tuple(self.paths[i] for i in kept), tuple(self.sha256[i].hex() for i in kept))
        return FileSource(self.root.resolve(), paths, digests)

    def pixels(self) -> FilePixels:
        """The pixels of the files that are not left out."""
        return FilePixels(self.source(), self.root, self.input, self.cache)


def notes_of_files(files: ImageFiles) -> Iterator[str]:
    """Notes about copies whose labels contradict each other, and about 16-bit images that come out nearly black."""
    found = [problem for problem in files.problems if problem.endswith(OTHER_LABELS)]
    if found:
        yield (
            f"{len(found)} {plural('image', len(found))} left out as copies of one with other labels, which were kept; "
            f"correct them, since one of the two is wrong. The first: {found[0]}"
        )
    deep = [place for place, index in enumerate(files.kept) if files.with_16_bits[index]]
    if not deep:
        return
    some = np.array(deep)[np.linspace(0, len(deep) - 1, min(len(deep), _EXAMINED)).astype(int)]
    highest = max(int(image.max()) for image in map(files.pixels().__getitem__, some.tolist()))
    bits = next((bits for bits, limit in _FEWER_BITS.items() if highest <= limit), 16)
    if bits < 16:
        yield (
            f"{len(deep)} 16-bit {plural('image', len(deep))} of {bits}-bit values, which come out nearly black (0 to "
            f"{highest} of 255), here and on the device; multiply the values by {2 ** (16 - bits)}, or save as 8-bit"
        )


def read_image_files(root: Path, paths: Sequence[str], geometry: Geometry, place: CachePlace) -> ImageFiles:
    """Read files and decode each once, into the cache, or to find out whether it can be decoded.

    Unless the geometry says otherwise, the input is grey where every image is, and has the images' median size, at
    most 96 pixels a side. Images in the cache are not decoded again. The exception is a PNG that holds XMP, or EXIF
    behind its pixels: its orientation is known only after decoding.

    Args:
        paths: relative to `root`.

    Raises:
        DatasetError: the geometry is invalid, or the cache cannot be used.
    """
    problems = [""] * len(paths)
    files = []
    with progress(len(paths), "reading images") as bar:
        for index, facts in enumerate(
            ordered_map(lambda path: _read_facts(root / path, geometry.orientation), paths, WORKERS)
        ):
            problems[index] = facts if isinstance(facts, str) else ""
            files.append(_FileFacts(b"", 0, 0, True) if isinstance(facts, str) else facts)
            bar.update(1)
    spec = _choose_input(files, geometry)
    digests = [facts.sha256 for facts in files]
    cache = open_cache(place, spec, {digest for digest in digests if digest})
    decoded = ImageFiles(root, paths, spec, digests, problems, cache, [facts.has_16_bits for facts in files])
    _decode(decoded)
    return decoded


def _read_facts(path: Path, orientation: str) -> _FileFacts | str:
    """The facts of a file, or why it cannot be read."""
    try:
        content, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
    except ImageError as error:
        return str(error)
    digest = hashlib.sha256(content).digest()
    try:
        header = read_header(content, orientation)
        if header.is_plot:
            return f"{shown(path)}: a plot that Pocketlens drew, not an image"
        return _FileFacts(digest, header.height, header.width, header.is_grey, header.has_16_bits)
    except ImageError:  # decoding gives the reason
        return _FileFacts(digest, 0, 0, True)


def _choose_input(files: Sequence[_FileFacts], geometry: Geometry) -> ImageInput:
    images = [facts for facts in files if facts.height]
    sizes = [(facts.height, facts.width) for facts in images] or [(_MAX_SIDE, _MAX_SIDE)]
    height, width = np.median(np.array(sizes), axis=0)
    shrink = min(1.0, _MAX_SIDE / max(width, height))
    size = tuple(max(_MIN_SIDE, round(side * shrink)) for side in (height, width))
    try:
        return geometry.resolve((size[0], size[1]), "grey" if all(facts.is_grey for facts in images) else "rgb")
    except ContractError as error:
        raise DatasetError(str(error)) from error


def _decode(files: ImageFiles) -> None:
    """Decode images that the cache lacks, each of several equal files once; note those that cannot be decoded."""
    equal: dict[bytes, list[int]] = {}
    for index, digest in enumerate(files.sha256):
        if digest and not (files.cache and digest in files.cache):
            equal.setdefault(digest, []).append(index)
    if not equal:
        return

    def decode(indices: list[int]) -> str:
        path, digest = files.root / files.paths[indices[0]], files.sha256[indices[0]]
        try:
            pixels = decode_file(path, digest, files.input)
        except ImageError as error:
            return str(error).removeprefix(f"{shown(path)}: ")
        if files.cache:
            files.cache.write(digest, np.ascontiguousarray(pixels))
        return ""

    with progress(len(equal), "decoding images") as bar:
        for indices, reason in zip(equal.values(), ordered_map(decode, equal.values(), WORKERS), strict=True):
            for index in indices if reason else ():
                files.problems[index] = f"{shown(files.root / files.paths[index])}: {reason}"
            bar.update(1)
