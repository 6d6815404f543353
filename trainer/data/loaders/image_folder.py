"""A folder of images, one subfolder a class, with or without `train/`, `val/`, `test/` above them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from runtime.files import is_hidden, shown
from runtime.images import SUFFIXES

from ...errors import DatasetError
from ..dataset import Dataset, Geometry
from ..image_cache import CachePlace
from ..image_files import Pictures, read_pictures
from ..label_names import check_class_folders, dataset_name
from .label_file import SPLIT_SYNONYMS

#: Names of pictures that are not decoded: they are listed as left out, rather than passed over without a word.
_FOREIGN_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".svg", ".dng", ".cr2", ".nef")


@dataclass(frozen=True)
class _Entry:
    """One file that might be an image: relative path, class name, and the split it is given to ("" for none)."""

    path: str
    label: str
    split: str


def load_image_folder(root: Path, geometry: Geometry, cache: CachePlace = "temporary") -> Dataset:
    """The data set in a folder.

    Unless the geometry says otherwise, the input is grey where every image is, and has the images' median
    size, at most 96 pixels a side. Files that cannot be decoded, and files whose bytes another file has
    already, are left out and listed. Where they are equal, the copy in the test split is the one that stays. What is
    hidden, with a name that begins with a dot, is passed over: galleries keep small copies of all images there.

    Args:
        cache: where decoded pictures are kept; see `cache.open_cache`.

    Raises:
        DatasetError: no folder, fewer than two classes, a class without a single usable image, splits
            that name different classes, a name that no contract takes, or a cache that cannot be used.
    """
    parents = _parents(root)
    entries = [
        entry for top, split in parents.items() for folder in _subfolders(top) for entry in _files(root, folder, split)
    ]
    labels = _labels(root, entries)
    name = dataset_name(root)
    pictures = read_pictures(root, [entry.path for entry in entries], geometry, cache)
    copied = pictures.leave_out_copies(
        [entry.split for entry in entries],
        lambda index, original: f"{shown(entries[index].path)}: the same file as {shown(entries[original].path)}",
    )
    kept = pictures.kept
    _check_classes(root, labels, entries, pictures)
    splits = np.array([entries[i].split for i in kept])
    return Dataset(
        name=name,
        labels=labels,
        input=pictures.input,
        pixels=pictures.pixels(),
        targets=np.array([labels.index(entries[i].label) for i in kept], np.int32),
        source=pictures.source(),
        given={name: np.flatnonzero(splits == name) for name in sorted(set(splits) - {""})},
        date=_newest(root, entries),
        left_out=(*pictures.left_out, *_loose({root, *parents})),
        copied=copied,
        # Grey images are often scans, of writing say, which means something else in the mirror.
        augmentation=("shift", "colour") if pictures.input.channels == 1 else ("shift", "flip", "colour"),
    )


def _parents(root: Path) -> dict[Path, str]:
    """The folders that the class folders lie in: to each the split it is, "" where there are none."""
    if not root.is_dir():
        raise DatasetError(
            f"{shown(root)}: no such folder, and no data set of that name; expected one subfolder a class"
        )
    tops = {top: SPLIT_SYNONYMS.get(top.name.lower(), "") for top in _subfolders(root)}
    if not any(split == "train" and _subfolders(top) for top, split in tops.items()):
        return {root: ""}
    for top, split in tops.items():
        if not split:
            raise DatasetError(f"{shown(root)}: {top.name!r} lies beside the splits and is none; move it away")
    return tops


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(root: Path, folder: Path, split: str) -> list[_Entry]:
    found = sorted(path for path in folder.rglob("*") if _is_picture(path.relative_to(folder)))
    entries = [_Entry(path.relative_to(root).as_posix(), folder.name, split) for path in found]
    # A class folder with nothing in it is a mistake to name, not a class to forget.
    return entries or [_Entry("", folder.name, split)]


def _is_picture(path: Path) -> bool:
    """By its name, and by nothing of it being hidden."""
    return path.suffix.lower() in SUFFIXES + _FOREIGN_SUFFIXES and not is_hidden(path)


def _loose(folders: Iterable[Path]) -> list[str]:
    """A line for each picture that lies beside the class folders, or beside the splits."""
    found = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    return [
        f"{shown(path)}: lies in no class folder; move it into one" for path in found if _is_picture(Path(path.name))
    ]


def _labels(root: Path, entries: list[_Entry]) -> tuple[str, ...]:
    labels = tuple(sorted({entry.label for entry in entries}))
    if len(labels) < 2:
        found = f"one class ({shown(labels[0])})" if labels else "no class folders"
        raise DatasetError(f"{shown(root)}: {found}; expected at least two subfolders, one a class")
    check_class_folders(root, labels)
    for split in sorted({entry.split for entry in entries}):
        absent = set(labels) - {entry.label for entry in entries if entry.split == split}
        if absent:
            raise DatasetError(
                f"{shown(root)}: class {min(absent)!r} has no folder in the {split} split; every split needs it"
            )
    for entry in entries:
        if not entry.path:
            where = f" of the {entry.split} split" if entry.split else ""
            raise DatasetError(
                f"{shown(root)}: class {entry.label!r}{where} is empty: no {', '.join(SUFFIXES)} in its folder"
            )
    return labels


def _check_classes(root: Path, labels: tuple[str, ...], entries: list[_Entry], pictures: Pictures) -> None:
    usable = {entries[i].label for i in pictures.kept}
    for label in labels:
        if label not in usable:
            problem = next(p for p, e in zip(pictures.problems, entries, strict=True) if e.label == label)
            raise DatasetError(f"{shown(root)}: class {label!r} has no usable image; the first: {problem}")


def _newest(root: Path, entries: list[_Entry]) -> str:
    newest = max((root / entry.path).lstat().st_mtime for entry in entries)
    return datetime.fromtimestamp(newest, timezone.utc).date().isoformat()
