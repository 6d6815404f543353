"""Loads a folder of images with one subfolder a class, with or without `train/`, `val/`, `test/` above them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.files import is_hidden_name, shown
from runtime.image_formats import SUFFIXES
from runtime.recognition import suggestion

from ...errors import DatasetError
from ..dataset import Dataset, Geometry, LabelCheck, newest_date
from ..folder_layout import FolderLayout, arrange, is_image
from ..image_cache import CachePlace
from ..image_files import OTHER_LABELS, ImageFiles, notes_of_files, read_image_files
from ..label_names import check_class_folders, dataset_name
from ..splits import given_splits


@dataclass(frozen=True)
class _Entry:
    """A file that may be an image: relative path, class name, and its split ("" for none)."""

    path: str
    label: str
    split: str


def load_image_folder(
    root: Path, geometry: Geometry, cache: CachePlace = "temporary", check_labels: LabelCheck | None = None
) -> Dataset:
    """The data set in a folder.

    Unless the geometry says otherwise, the input is grey where every image is, and has the images' median
    size, at most 96 pixels a side. Files that cannot be decoded, and copies of other files, are left out and listed; of
    equal files the one in the test split is kept. `folder_layout` finds splits and classes. Hidden files and folders
    are passed over: galleries keep small copies of all images there.

    Args:
        cache: where decoded images are kept; see `image_cache.open_cache`.
        check_labels: called with the classes before an image is decoded; its errors pass through.

    Raises:
        DatasetError: there is no such folder, there are fewer than two classes, a class has no usable image, the splits
            have different classes, a contract cannot hold a name, or the cache cannot be used.
    """
    layout = arrange(root)
    entries = [*_entries(layout)]
    labels = _labels(root, entries)
    if check_labels:
        check_labels(labels)
    name = dataset_name(root)
    files = read_image_files(root, [entry.path for entry in entries], geometry, cache)
    copied = _leave_out_copies(files, entries)
    kept = files.kept
    _check_classes(root, labels, entries, files)
    return Dataset(
        name=name,
        labels=labels,
        input=files.input,
        pixels=files.pixels(),
        targets=np.array([labels.index(entries[i].label) for i in kept], np.int32),
        source=files.source(),
        given=given_splits([entries[i].split for i in kept]),
        date=newest_date(root / entry.path for entry in entries),
        left_out=(*files.left_out, *_loose({root, *layout.parents})),
        copied=copied,
        notes=(*layout.notes(), *notes_of_files(files)),
        augmentation=files.augmentation,
    )


def _entries(layout: FolderLayout) -> Iterator[_Entry]:
    for folder, split in layout.class_folders():
        images = layout.images_in(folder)
        for path in images:
            yield _Entry(path.relative_to(layout.root).as_posix(), folder.name, split)
        if not images:  # an empty class folder is an error to report, so it needs an entry
            yield _Entry("", folder.name, split)


def _leave_out_copies(files: ImageFiles, entries: list[_Entry]) -> int:
    def describe(index: int, original: int) -> str:
        copy, kept = entries[index], entries[original]
        other = "" if copy.label == kept.label else OTHER_LABELS
        return f"{shown(copy.path)}: the same file as {shown(kept.path)}{other}"

    return files.leave_out_copies([entry.split for entry in entries], describe)


def _loose(folders: Iterable[Path]) -> list[str]:
    """A line for each image that lies beside the class folders or the splits."""
    found = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    return [
        f"{shown(path)}: lies in no class folder; move it into one"
        for path in found
        if is_image(path) and not is_hidden_name(path.name)
    ]


def _labels(root: Path, entries: list[_Entry]) -> tuple[str, ...]:
    labels = tuple(sorted({entry.label for entry in entries}))
    if len(labels) < 2:
        found = f"one class ({shown(labels[0])})" if labels else "no class folders"
        beside = any(is_image(path) for path in root.iterdir() if path.is_file())
        hint = "; it holds images, so is it a class? Name the folder around it" if beside else ""
        raise DatasetError(f"{shown(root)}: {found}; expected at least two subfolders, one a class{hint}")
    check_class_folders(root, labels)
    for split in sorted({entry.split for entry in entries}):
        here = {entry.label for entry in entries if entry.split == split}
        absent = sorted({*labels} - here)
        if absent:
            raise DatasetError(
                _describe_absent(root, split, absent, [e.label for e in entries if e.split != split], here)
            )
    for entry in entries:
        if not entry.path:
            where = f" of the {entry.split} split" if entry.split else ""
            raise DatasetError(
                f"{shown(root)}: class {entry.label!r}{where} is empty: no {', '.join(SUFFIXES)} in its folder"
            )
    return labels


def _describe_absent(root: Path, split: str, absent: list[str], elsewhere: Iterable[str], here: set[str]) -> str:
    """The message for classes that a split lacks; it may have one of them under another spelling."""
    extra = sorted(here - {*elsewhere})
    hints = {label: suggestion(label, absent) for label in extra}
    for label, hint in hints.items():
        if hint:
            return f"{shown(root)}: there is {label!r} in the {split} split, and in no other{hint}"
    return f"{shown(root)}: class {absent[0]!r} has no folder in the {split} split; every split needs it"


def _check_classes(root: Path, labels: tuple[str, ...], entries: list[_Entry], files: ImageFiles) -> None:
    usable = {entries[i].label for i in files.kept}
    for label in labels:
        if label not in usable:
            problem = next(p for p, e in zip(files.problems, entries, strict=True) if e.label == label)
            raise DatasetError(f"{shown(root)}: class {label!r} has no usable image; the first: {problem}")
