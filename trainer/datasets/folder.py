"""A folder of images, one subfolder a class, with or without `train/`, `val/`, `test/` above them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from runtime import ContractError, ImageError, ImageInput, load_pixels
from runtime.command_line import progress
from runtime.files import read_regular_file
from runtime.images import MAX_FILE_BYTES, SUFFIXES, read_header

from ..errors import DatasetError
from .dataset import Dataset, FileSource, Geometry

#: Names of pictures that are not decoded: they are listed as left out, rather than passed over without a word.
_FOREIGN_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".svg", ".dng", ".cr2", ".nef")
_SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_SPLITS |= {"validation": "validation", "test": "test"}
#: The side that images of mixed or large size are brought to where the user names none.
_DEFAULT_SIDE = 96
_SMALLEST_SIDE = 8


@dataclass(frozen=True)
class _Entry:
    """One file that might be an image: relative path, class name, and the split it is given to ("" for none)."""

    path: str
    label: str
    split: str


def load(root: Path, geometry: Geometry) -> Dataset:
    """The data set in a folder.

    Unless the geometry says otherwise, the input is grey where every image is, and has the images' median
    size, at most 96 pixels a side. Files that cannot be decoded, and files whose bytes another file has
    already, are left out and listed. Where they are equal, the copy in the test split is the one that stays.

    Raises:
        DatasetError: no folder, fewer than two classes, a class without a single usable image, or splits
            that name different classes.
    """
    entries = _scan(root)
    labels = _labels(root, entries)
    spec = _input(root, entries, geometry)
    decoded = _Decoded(len(entries), spec)
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress(len(entries), "reading images") as bar:
        for problem in pool.map(lambda i: decoded.read(i, root / entries[i].path), range(len(entries))):
            decoded.problems.append(problem)
            bar.update(1)
    kept = _without_copies(entries, decoded)
    _check_classes(root, labels, entries, kept, decoded)
    splits = np.array([entries[i].split for i in kept])
    return Dataset(
        name=root.resolve().name,
        labels=labels,
        input=spec,
        pixels=decoded.take(kept),
        targets=np.array([labels.index(entries[i].label) for i in kept], np.int32),
        source=FileSource(root.resolve(), tuple(entries[i].path for i in kept), tuple(decoded.sha256[i] for i in kept)),
        given={name: np.flatnonzero(splits == name) for name in sorted(set(splits) - {""})},
        date=_newest(root, entries),
        left_out=tuple(problem for problem in decoded.problems if problem),
        # Grey images are often scans, of writing say, which means something else in the mirror.
        augmentation=("shift", "colour") if spec.channels == 1 else ("shift", "flip", "colour"),
    )


def _scan(root: Path) -> list[_Entry]:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder, and no data set of that name; expected one subfolder a class")
    tops = {top: _SPLITS.get(top.name.lower(), "") for top in _subfolders(root)}
    if not any(split == "train" and _subfolders(top) for top, split in tops.items()):
        return [entry for folder in tops for entry in _files(root, folder, "")]
    for top, split in tops.items():
        if not split:
            raise DatasetError(f"{root}: {top.name!r} lies beside the splits and is none; move it away")
    return [
        entry for top, split in tops.items() for folder in _subfolders(top) for entry in _files(root, folder, split)
    ]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(root: Path, folder: Path, split: str) -> list[_Entry]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES + _FOREIGN_SUFFIXES)
    entries = [_Entry(path.relative_to(root).as_posix(), folder.name, split) for path in found]
    # A class folder with nothing in it is a mistake to name, not a class to forget.
    return entries or [_Entry("", folder.name, split)]


def _labels(root: Path, entries: list[_Entry]) -> tuple[str, ...]:
    labels = tuple(sorted({entry.label for entry in entries}))
    if len(labels) < 2:
        found = f"one class ({labels[0]})" if labels else "no class folders"
        raise DatasetError(f"{root}: {found}; expected at least two subfolders, one a class")
    for split in sorted({entry.split for entry in entries}):
        absent = set(labels) - {entry.label for entry in entries if entry.split == split}
        if absent:
            raise DatasetError(
                f"{root}: class {min(absent)!r} has no folder in the {split} split; every split needs it"
            )
    for entry in entries:
        if not entry.path:
            where = f" of the {entry.split} split" if entry.split else ""
            raise DatasetError(f"{root}: class {entry.label!r}{where} is empty: no {', '.join(SUFFIXES)} in its folder")
    return labels


def _input(root: Path, entries: list[_Entry], geometry: Geometry) -> ImageInput:
    sizes, grey = [], True
    if geometry.size is None or geometry.colour is None:
        for entry in entries:
            try:
                header = read_header(root / entry.path)
            except ImageError:  # listed with its reason when it is decoded
                continue
            sizes.append((header.height, header.width))
            grey = grey and header.is_grey
    if not sizes:
        sizes = [(_DEFAULT_SIDE, _DEFAULT_SIDE)]
    height, width = np.median(np.array(sizes), axis=0)
    shrink = min(1.0, _DEFAULT_SIDE / max(width, height))
    size = tuple(max(_SMALLEST_SIDE, round(side * shrink)) for side in (height, width))
    try:
        return geometry.resolve((size[0], size[1]), "grey" if grey else "rgb")
    except ContractError as error:
        raise DatasetError(str(error)) from error


class _Decoded:
    """All pictures, decoded into an unnamed file: pages that the system can drop, not memory."""

    def __init__(self, count: int, spec: ImageInput) -> None:
        self._spec = spec
        with tempfile.TemporaryFile() as file:
            file.truncate(max(1, count * spec.height * spec.width * spec.channels))
            self.pixels = np.memmap(file, np.uint8, "r+", shape=(count, *spec.shape))
        self.sha256 = [""] * count
        #: For each file why it is left out, "" where it is not.
        self.problems: list[str] = []

    def read(self, index: int, path: Path) -> str:
        """Decode one file; returns what is wrong with it, or ""."""
        try:
            content, name = read_regular_file(path, MAX_FILE_BYTES, ImageError)
        except ImageError as error:
            return str(error)
        try:
            self.pixels[index] = load_pixels(content, self._spec)
        except ImageError as error:
            return f"{name}: {str(error).partition(': ')[2]}"
        self.sha256[index] = hashlib.sha256(content).hexdigest()
        return ""

    def take(self, kept: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """The pictures that stay, moved together in place."""
        for new, old in enumerate(kept):
            if new != old:
                self.pixels[new] = self.pixels[old]
        return self.pixels[: len(kept)]


def _without_copies(entries: list[_Entry], decoded: _Decoded) -> list[int]:
    """Indices of the readable files, without those whose bytes an earlier one has.

    One picture in two splits would be trained on and tested on.
    """
    order = {"test": 0, "validation": 1}
    first: dict[str, int] = {}
    for index in sorted(range(len(entries)), key=lambda i: order.get(entries[i].split, 2)):
        if decoded.problems[index]:
            continue
        original = first.setdefault(decoded.sha256[index], index)
        if original != index:
            decoded.problems[index] = f"{entries[index].path}: the same file as {entries[original].path}"
    return [i for i in range(len(entries)) if not decoded.problems[i]]


def _check_classes(
    root: Path, labels: tuple[str, ...], entries: list[_Entry], kept: list[int], decoded: _Decoded
) -> None:
    usable = {entries[i].label for i in kept}
    for label in labels:
        if label not in usable:
            problem = next(p for p, e in zip(decoded.problems, entries, strict=True) if e.label == label)
            raise DatasetError(f"{root}: class {label!r} has no usable image; the first: {problem}")


def _newest(root: Path, entries: list[_Entry]) -> str:
    newest = max((root / entry.path).lstat().st_mtime for entry in entries)
    return datetime.fromtimestamp(newest, timezone.utc).date().isoformat()
