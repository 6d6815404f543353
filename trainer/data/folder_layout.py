"""How folders of images are arranged: which of them are splits, which are classes, and which a system left there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.files import SYSTEM_NAMES, is_hidden_name, shown
from runtime.image_formats import SUFFIXES

from ..errors import DatasetError

#: Images without classes, as a competition keeps them for predictions.
UNLABELLED = "unlabelled"
#: Suffixes of image files that are not decoded, but listed as left out.
_FOREIGN_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".svg", ".dng", ".cr2", ".nef")
#: What people call the splits.
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
    "pred": UNLABELLED,
    "predict": UNLABELLED,
    "prediction": UNLABELLED,
    "predictions": UNLABELLED,
    "unlabeled": UNLABELLED,
    "unlabelled": UNLABELLED,
}
#: Words beside these in the name of a folder, as in `training_set`, `seg_test` and `val_images`.
_FILLERS = r"(?:sets?|data|datasets?|images?|imgs?|pictures?|photos?|samples?|files|folder|split|seg)"
_SPLIT_WORD = re.compile(rf"({'|'.join(sorted(_SPLIT_WORDS, key=len, reverse=True))}){_FILLERS}?")
_MOST_NAMES = 5


def split_of(name: str) -> str:
    """The split that a name stands for: `"train"`, `"validation"`, `"test"` or `UNLABELLED`; `""` for another name.

    A split's word may stand with others such as `set`, `data` and `seg`, in any case, and with numbers.
    """
    words = [word for word in re.findall(r"[^\W\d_]+", name.lower()) if not re.fullmatch(_FILLERS, word)]
    found = _SPLIT_WORD.fullmatch(words[0]) if len(words) == 1 else None
    return _SPLIT_WORDS[found[1]] if found else ""


@dataclass
class FolderLayout:
    """The parts of a folder of images.

    Attributes:
        root: the folder.
        parents: the folders that hold class folders, and the split of each, `""` where there are no splits.
        without_classes: a line for each folder of a split whose images have no classes.
    """

    root: Path
    parents: Mapping[Path, str]
    without_classes: Sequence[str] = ()
    _hidden: Counter[str] = field(default_factory=Counter)

    def class_folders(self) -> list[tuple[Path, str]]:
        """Each class folder with its split."""
        return [(folder, split) for parent, split in self.parents.items() for folder in subfolders(parent)]

    def images_in(self, folder: Path) -> list[Path]:
        """The images anywhere below a class folder, sorted; links to folders are not followed."""
        return [path for path in files_below(folder, self._hidden) if is_image(path)]

    def notes(self) -> tuple[str, ...]:
        """A line about the files that systems left, if there are any, and those about folders without classes.

        Those in a class folder count once `images_in` was called for it.
        """
        hidden = self._hidden.copy()
        for folder in {self.root, *self.parents}:
            for path in folder.iterdir():
                if is_hidden_name(path.name):
                    _count_hidden(path, path.name, hidden)
        if not hidden:
            return tuple(self.without_classes)
        names = listed(sorted(hidden))
        count = hidden.total()
        passed_over = f"{shown(self.root)}: passed over {count} hidden {plural('file', count)} ({names})"
        return (*self.without_classes, passed_over)


def arrange(root: Path) -> FolderLayout:
    """Find the splits and the class folders of a folder.

    Raises:
        DatasetError: there is no such folder, or it is not clear which folders are classes; the message says how to
            arrange them.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{shown(root)}: no such folder, and no data set of that name; expected one subfolder a class"
        )
    tops = {top: split_of(top.name) for top in subfolders(root)}
    opened = {top: _unwrap(top, split) for top, split in tops.items()}
    splits = {opened[top]: split for top, split in tops.items() if split and subfolders(opened[top])}
    if not any(split != UNLABELLED for split in splits.values()):
        _refuse_flat_splits(root, tops)
        _check_classes(root, [*tops])
        return FolderLayout(root, {root: ""})
    others = [top.name for top, split in tops.items() if not split]
    if others:
        raise DatasetError(
            f"{shown(root)}: {others[0]!r} lies beside the splits and is none; move it away, or if it is a class, into "
            "the folder train; and give a class another name than that of a split"
        )
    without_classes = [
        f"{shown(top)}: {count:,} {plural('image', count)} without class folders; passed over"
        for top, split in tops.items()
        if (opened[top] not in splits or split == UNLABELLED) and (count := _count_images(top))
    ]
    parents = {folder: split for folder, split in splits.items() if split != UNLABELLED}
    if "train" not in parents.values() and "train" in tops.values():
        raise DatasetError(f"{shown(root)}: no class folders in the split train; expected one subfolder a class")
    for parent in parents:
        _refuse_flat_splits(parent, {folder: split_of(folder.name) for folder in subfolders(parent)})
        _check_classes(parent, subfolders(parent))
    return FolderLayout(root, parents, without_classes)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden_name(path.name))


def is_image(path: Path) -> bool:
    """Whether a name is that of an image file, even of one that is not decoded."""
    return path.suffix.lower() in SUFFIXES + _FOREIGN_SUFFIXES


def files_below(folder: Path, hidden: Counter[str] | None = None) -> list[Path]:
    """The files anywhere below a folder, sorted, without hidden ones; links to folders are not followed.

    Args:
        hidden: it counts hidden images, and all files that systems left, by the name that hides them.
    """
    found = []
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if hidden is not None and is_hidden_name(name):
                _count_hidden(Path(parent) / name, name, hidden)
        folders[:] = [name for name in folders if not is_hidden_name(name)]
        found += [Path(parent) / name for name in files if not is_hidden_name(name)]
    return sorted(found)


def _count_hidden(path: Path, name: str, hidden: Counter[str]) -> None:
    files = [path]
    if path.is_dir() and not path.is_symlink():
        files = [Path(parent) / file for parent, _, names in os.walk(path) for file in names]
    count = sum(name.lower() in SYSTEM_NAMES or is_image(file) for file in files)
    if count:  # an entry of zero would be listed
        # Each file of a Mac's archive has a hidden one beside it, with a name of its own.
        hidden["._*" if name.startswith("._") else name] += count


def _unwrap(top: Path, split: str) -> Path:
    """The folder of a split without a second folder of the same split around it, as archives often have it."""
    while split:
        inner = subfolders(top)
        if len(inner) != 1 or split_of(inner[0].name) != split:
            break
        top = inner[0]
    return top


def _count_images(folder: Path) -> int:
    return sum(map(is_image, files_below(folder)))


def _refuse_flat_splits(parent: Path, tops: Mapping[Path, str]) -> None:
    """Refuse a split's folder that would become a class. A class may be called `train`, as the vehicle is."""
    for top, split in tops.items():
        if split and not (split == "train" and {*tops.values()} <= {"", "train"}):
            raise DatasetError(
                f"{shown(parent)}: {top.name!r} has the name of a split, lies among classes, and holds no class "
                f"folders; arrange the images as train/CLASS and {top.name}/CLASS, move it away, or rename it if it is "
                "a class"
            )


def _check_classes(parent: Path, tops: Sequence[Path]) -> None:
    """Refuse class folders whose subfolders look like splits, or like the classes."""
    below = {top: {folder.name for folder in subfolders(top)} for top in tops}
    for top, names in below.items():
        inner = sorted(name for name in names if split_of(name))
        if len({split_of(name) for name in inner}) > 1:
            raise DatasetError(
                f"{shown(parent)}: the class folder {top.name!r} holds the splits {listed(inner)}; put the splits "
                f"above the classes: {inner[0]}/{top.name}"
            )
    if len(tops) == 1 and len(below[tops[0]]) > 1:
        inside = listed(sorted(below[tops[0]]))
        raise DatasetError(
            f"{shown(parent)}: one class ({shown(tops[0].name)}); if its subfolders ({inside}) are the classes, name "
            f"{shown(tops[0])} as the data set"
        )
    common = set.intersection(*below.values()) if len(below) > 1 else set[str]()
    if len(common) > 1:
        raise DatasetError(
            f"{shown(parent)}: all of its folders ({listed(top.name for top in tops)}) have the same subfolders "
            f"({listed(sorted(common))}); if these are the classes, name the folders train, val and test, or give one "
            "of them as the data set; if not, put the images of each class into its folder without subfolders"
        )


def listed(names: Iterable[str]) -> str:
    """Names for a message; many are cut short."""
    every = [*names]
    return ", ".join(map(shown, every[:_MOST_NAMES])) + ", ..." * (len(every) > _MOST_NAMES)


def plural(word: str, count: int) -> str:
    """A word in the plural unless there is one of it."""
    return word if count == 1 else f"{word}s"
