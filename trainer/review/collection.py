"""Collecting pictures into a review folder: each content once, however often and from wherever it comes.

The folder's `collected.jsonl` has a line for each picture that was ever taken. A picture that was labelled, or that a
person has removed, is in it too, and does not come back.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from runtime import ImageError
from runtime.files import shown, write_whole
from runtime.images import read_header
from runtime.outputs.uncertain import RANDOM, UNCERTAIN
from runtime.progress import progress
from runtime.watch.sorter import plain_name

from ..files import locked
from .journal import JsonLines
from .note import Note, device_name, read_note
from .sources import CollectError, FolderSource, Listed, PictureSource, split_remote

_log = logging.getLogger(__name__)

#: The list of what was collected, in a review folder, and where files lie that are on their way.
COLLECTED_NAME, PARTIAL_NAME = "collected.jsonl", ".partial"
LOCK_NAME = ".pocketlens-review.lock"
#: Letters of the SHA-256 in a picture's name.
DIGEST_LENGTH = 12
#: Bytes that one source may bring in one go.
MOST_BYTES = 2 * 10**9
_MOST_NAMED = 3
#: The name of a picture that a device has just kept: its note is written next.
_AWAITS_NOTE = re.compile(rf"(?:^|/)\d{{8}}T\d{{6}}\.\d{{3}}Z-(?:{UNCERTAIN}|{RANDOM})-[^/]+$")


class Collected(NamedTuple):
    """What came of a source.

    Attributes:
        source: the source.
        new, known: pictures that were taken, and those that had been taken before.
        passed_over: files that are no pictures, or were not taken as their names or kinds are not safe.
        size: bytes of the new pictures.
        waiting: pictures that did not fit into the bytes of one go.
    """

    source: str
    new: int = 0
    known: int = 0
    passed_over: int = 0
    size: int = 0
    waiting: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The values for JSON; `size` is called `bytes`."""
        values = self._asdict()
        values["bytes"] = values.pop("size")
        return values


@contextmanager
def open_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a review folder while the block runs.

    Raises:
        CollectError: another process has it open, or it cannot be written.
    """
    in_use = CollectError(f"{shown(folder)}: another process has this review folder open; wait for it, or end it")
    try:
        with locked(folder / LOCK_NAME, in_use):
            yield
    except CollectError:
        raise
    except OSError as error:
        if error.filename is None or Path(error.filename).name != LOCK_NAME:
            raise
        raise CollectError(f"{shown(folder)}: cannot be written: {error.strerror}; give yourself access") from error


def source_of(text: str, into: Path) -> PictureSource:
    """The source that a text names: a folder of this machine, or `HOST:PATH`.

    Args:
        into: the review folder, in which files lie while they are on their way.

    Raises:
        CollectError: it names neither.
    """
    remote = split_remote(text)
    if remote is None:
        return FolderSource(Path(text))
    from .rsync import RsyncSource  # here: a folder needs none of it

    place = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:DIGEST_LENGTH]
    return RsyncSource(*remote, into.absolute() / PARTIAL_NAME / place)


class Collection:
    """A review folder that pictures are collected into; use it within `open_folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._list = JsonLines(folder / COLLECTED_NAME)
        self._digests: set[str] = set()
        self._listed: set[tuple[str, str, int]] = set()
        for line in self._list.lines:
            self._remember(line)

    def collect(self, source: PictureSource, most_bytes: int = MOST_BYTES) -> Collected:
        """Take the new pictures of a source.

        Raises:
            CollectError: the source cannot be read. What had arrived before is kept.
            OSError: the folder cannot be written.
        """
        pictures, passed_over = source.pictures()
        pictures = [one for one in pictures if one.has_note or not _AWAITS_NOTE.search(one.path)]
        wanted = [one for one in pictures if (source.name, one.path, one.size) not in self._listed]
        taken = _within(wanted, most_bytes)
        found = Collected(source.name, 0, len(pictures) - len(wanted), passed_over, 0, len(wanted) - len(taken))
        unreadable = []
        if not taken:
            return found
        with progress(len(taken), f"{source.name}: filing") as bar:
            for one, picture, note in source.fetch(taken):
                bar.update(1)
                if picture is None or not _is_picture(picture):
                    unreadable.append(one.path)
                elif self._file(source, one, picture, note):
                    found = found._replace(new=found.new + 1, size=found.size + len(picture))
                else:
                    found = found._replace(known=found.known + 1)
        if unreadable:
            names = ", ".join(map(shown, unreadable[:_MOST_NAMED])) + ", ..." * (len(unreadable) > _MOST_NAMED)
            _log.warning("warning: %s: %d cannot be read as pictures: %s", source.name, len(unreadable), names)
        return found._replace(passed_over=passed_over + len(unreadable))

    def _file(self, source: PictureSource, one: Listed, picture: bytes, note_content: bytes) -> bool:
        """Put a picture and its note into the folder; returns whether it is new."""
        digest = hashlib.sha256(picture).hexdigest()
        is_new = digest not in self._digests
        if is_new:
            note = read_note(note_content)
            device = note.device or device_name(source.device)
            note = note._replace(device=device, origin=f"{source.name}/{one.path}")
            name = _name_of(note, one, digest)
            write_whole(self._folder / f"{name.rpartition('.')[0]}.json", note.to_json())
            write_whole(self._folder / name, picture)  # last: a picture has its note
        line = {"sha256": digest, "source": source.name, "path": one.path, "size": one.size}
        self._list.add(line, sync=is_new)
        self._remember(line)
        return is_new

    def _remember(self, line: dict[str, Any]) -> None:
        self._digests.add(str(line.get("sha256")))
        self._listed.add((str(line.get("source")), str(line.get("path")), int(line.get("size") or 0)))


def _within(wanted: Sequence[Listed], most_bytes: int) -> list[Listed]:
    taken, total = [], 0
    for one in wanted:
        total += one.size
        if total > most_bytes:
            break
        taken.append(one)
    return taken


def _is_picture(content: bytes) -> bool:
    """Whether it has the header of a picture within the limits; nothing is decoded."""
    try:
        read_header(content)
    except ImageError:
        return False
    return True


def _name_of(note: Note, one: Listed, digest: str) -> str:
    """A name that says when and where, and that no other content has."""
    stem, _, suffix = one.path.rpartition("/")[2].rpartition(".")
    when = note.moment.replace("-", "").replace(":", "") or plain_name(stem)
    parts = [part for part in (note.device, os.fsencode(when)[:80].decode(errors="ignore")) if part]
    return f"{'-'.join((*parts, digest[:DIGEST_LENGTH]))}.{suffix.lower()}"
