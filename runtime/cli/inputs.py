"""From the names on a command line to pictures: files, folders, globs, lists of names, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError
from ..files import STANDARD_INPUT, is_hidden_name, read_regular_file, read_stream, shown
from ..image_formats import SUFFIXES, suffix_of
from ..images import ImageSource
from .output import print_line

_MAX_LIST_BYTES = 64 * 2**20
_SHOWN_SUFFIXES = 10


class Input(NamedTuple):
    """One picture to classify, or the reason why there is none.

    Attributes:
        name: the picture, as the user would name it.
        problem: what is wrong with the name; "" if the picture has yet to be read.
    """

    name: str
    problem: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether it stands for the images on standard input, see `read_standard_input`."""
        return self.name == STANDARD_INPUT and not self.problem

    def source(self) -> ImageSource:
        """The image for `Classifier`; raises ImageError if the name has a problem."""
        if self.problem:
            raise ImageError(self.problem)
        return self.name


def read_standard_input() -> Iterator[tuple[str, bytes | ImageError]]:
    """The images on standard input, each as soon as it is complete, or at the end the reason why there is no other.

    Each has a name: `-` for the first, `-:2` for the second.
    """
    from ..image_stream import split_images  # here: most images are files

    name = STANDARD_INPUT
    try:
        if sys.stdin is None:
            raise ImageError("standard input: closed; nothing can be read from it")
        for number, image in enumerate(split_images(sys.stdin.buffer, "standard input", _say_passed_over), 2):
            yield name, image
            name = f"{STANDARD_INPUT}:{number}"
    except ImageError as error:
        yield name, error


def _say_passed_over(count: int) -> None:
    print_line(
        f"standard input: passed over {count:,} bytes behind an image; give the images in them as files", error=True
    )


def expand(names: Sequence[str], *, recursive: bool = False) -> Iterator[Input]:
    """The pictures that the names stand for; `-` is standard input, with any number of pictures.

    A folder gives its images and a glob its matches, both sorted. Hidden files and folders in a folder are ignored; a
    line on standard error counts its other files, by suffix. Links to files are followed.

    Args:
        recursive: look into subfolders too; links to folders are not followed.
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield Input(name)
        elif name.startswith(("http://", "https://")):
            yield Input(
                name, f"{shown(name)}: an address, not a file; pipe it: curl -sL ADDRESS | pocketlens classify -"
            )
        elif Path(name).is_dir():
            yield from _folder(name, recursive)
        elif glob.has_magic(name) and not os.path.lexists(name):
            found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - any name, as the shell would
            if not found:
                yield Input(name, f"{shown(name)}: nothing matches")
            for match in found:
                if not Path(match).is_dir():
                    yield Input(match)
        else:
            yield Input(name)


def read_list(path: str) -> list[str]:
    """The names in a list: one a line, `-` for standard input; blank lines are ignored.

    Raises:
        ImageError: the list cannot be read.
    """
    if path == STANDARD_INPUT:
        content = read_stream(sys.stdin.buffer, _MAX_LIST_BYTES, ImageError, "standard input")
    else:
        content, _ = read_regular_file(path, _MAX_LIST_BYTES, ImageError)
    if b"\0" in content:
        raise ImageError(f"{shown(path)}: not a list of paths, one a line, but {_kind(path)}")
    return [line for line in os.fsdecode(content).splitlines() if line.strip()]


def _kind(path: str) -> str:
    from ..recognition import recognize

    return "binary data" if path == STANDARD_INPUT else recognize(path).text


def _folder(name: str, recursive: bool) -> Iterator[Input]:
    empty = True
    passed_over: dict[str, int] = {}
    for parent, folders, files in os.walk(name):
        folders[:] = sorted(folder for folder in folders if recursive and not is_hidden_name(folder))
        for file in sorted(file for file in files if not is_hidden_name(file)):
            if file.lower().endswith(SUFFIXES):
                empty = False
                yield Input(os.path.join(parent, file))  # noqa: PTH118 - a name as the user began it
            else:
                suffix = suffix_of(file)
                passed_over[suffix] = passed_over.get(suffix, 0) + 1
    if passed_over:
        print_line(f"{shown(name)}: passed over {_counts(passed_over)}; only {' '.join(SUFFIXES)} are read", error=True)
    if empty:
        from ..recognition import recognize

        found = recognize(name)
        hint = "" if recursive else "; --recursive looks into its folders"
        hint = hint if found.kind == "folder" else f"; it is {found.text}"
        yield Input(name, f"{shown(name)}: no images in this folder{hint}")


def _counts(by_suffix: dict[str, int]) -> str:
    """`12 .heic, 3 .dng`, the most frequent first; names of files can have any number of suffixes."""
    ordered = sorted(by_suffix.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count} {suffix or 'without a suffix'}" for suffix, count in ordered[:_SHOWN_SUFFIXES]]
    more = sum(count for _, count in ordered[_SHOWN_SUFFIXES:])
    return ", ".join([*texts, *([f"{more} others"] if more else [])])
