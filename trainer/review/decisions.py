"""What a person has decided about pictures: written down first, then carried out, each decision exactly once.

`decisions.jsonl` in the review folder has a line for each decision or undo, which is on the disk before anything else
happens, and a line once it has been carried out. A decision without the second line is carried out at the next start:
doing it twice does the same, as a file's name follows from its content.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from runtime.files import read_regular_file, shown
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.watch.sorter import plain_name

from .class_folders import ClassFolders, ReviewError, add_source, put, remove_source, take_out
from .collection import DIGEST_LENGTH
from .journal import JsonLines
from .note import Note
from .sources import is_safe_path

_log = logging.getLogger(__name__)

DECISIONS_NAME = "decisions.jsonl"
#: The folder for pictures of none of the classes, in the review folder.
NONE_NAME = "none-of-these"
LABEL, NONE, SKIP = "label", "none", "skip"
_MAX_STEM_BYTES = 150


class _OtherDatasetError(ReviewError):
    """A picture went to another data set."""


class Decision(NamedTuple):
    """What was decided about a picture.

    Attributes:
        number: its number, from 1.
        action: `"label"`, `"none"` (of these classes) or `"skip"`.
        file: the picture's path within the review folder.
        copies: the paths of its near copies, for which the decision stands too; they are not put into the data set.
        label: the label; "" unless the action is `"label"`.
    """

    number: int
    action: str
    file: str
    copies: tuple[str, ...] = ()
    label: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All pictures for which it stands."""
        return (self.file, *self.copies)


class Decisions:
    """The decisions of a review folder; what a kill has interrupted is carried out when it is opened.

    Args:
        folder: the review folder.
        dataset: the data set that labelled pictures go to.
    """

    def __init__(self, folder: Path, dataset: ClassFolders) -> None:
        self._folder = folder
        self._dataset = dataset
        self._file = JsonLines(folder / DECISIONS_NAME)
        self._made: dict[int, dict[str, Any]] = {}
        self._number = 0
        pending: dict[int, dict[str, Any]] = {}
        for line in self._file.lines:
            self._read(line, pending)
        for number, line in pending.items():
            self._resume(number, line)
        self._by_file = {file: one.number for one in self.made for file in one.files}

    def _read(self, line: dict[str, Any], pending: dict[int, dict[str, Any]]) -> None:
        """Follow a line of the file."""
        try:
            if "done" in line:
                pending.pop(int(line["done"]), None)
            elif "undo" in line:
                self._number = int(line["number"])
                undone = int(line["undo"])
                pending.pop(undone, None)
                if (taken_back := self._made.pop(undone, None)) is not None:
                    pending[self._number] = {**taken_back, "undo": undone}
            else:
                decision_of(line)
                self._number = int(line["number"])
                self._made[self._number] = line
                pending[self._number] = line
        except (KeyError, TypeError, ValueError):
            _log.warning("warning: %s: a line is not understood, and left out", shown(self._folder / DECISIONS_NAME))

    def _resume(self, number: int, line: dict[str, Any]) -> None:
        try:
            if "undo" in line:
                self._take_back(line)
            else:
                self._carry_out(line)
        except _OtherDatasetError as error:
            _log.warning("warning: %s", error)
            return
        except OSError as error:
            _log.warning("warning: %s: what was decided cannot be carried out: %s", shown(line["file"]), error)
            if "undo" in line:
                return
            self._made.pop(number, None)
            self._forget(line)
            return
        self._file.add({"done": number}, sync=False)

    @property
    def made(self) -> list[Decision]:
        """The decisions that stand, in their order."""
        return [decision_of(line) for _, line in sorted(self._made.items())]

    def decide(
        self, action: str, file: str, note: Note, *, label: str = "", guess: str = "", copies: Sequence[str] = ()
    ) -> Decision:
        """Decide about a picture, and carry it out.

        Args:
            guess: the model's label.

        Raises:
            ReviewError: the label is no class, or the picture is gone; nothing was done.
            OSError: it cannot be carried out, such as for want of room; nothing was done.
        """
        line: dict[str, Any] = {"action": action, "file": file, "copies": [*copies], "label": label}
        if action != SKIP:
            content = self._content(file)
            digest = hashlib.sha256(content).hexdigest()
            name = _name_of(file, digest)
            line |= {"sha256": digest, "guess": guess, "score": note.scores.get(guess), "note": note.note_values()}
            if action == LABEL:
                line["root"] = str(self._dataset.root)
                line["path"] = self._dataset.place_of(label, name, is_random=note.is_random)
            else:
                line["root"], line["path"] = str(self._folder.resolve()), f"{NONE_NAME}/{name}"
            line["existed"] = (Path(line["root"]) / line["path"]).exists()
        self._number += 1
        line |= {"number": self._number, "reviewed": round(time.time(), 3)}
        self._file.add(line)
        try:
            self._carry_out(line, is_new=True)
        except OSError:
            self._forget(line)
            raise
        self._made[self._number] = line
        decision = decision_of(line)
        self._by_file.update(dict.fromkeys(decision.files, self._number))
        self._file.add({"done": self._number}, sync=False)
        return decision

    def of(self, file: str) -> Decision | None:
        """The last decision about a picture that stands; None if there is none."""
        line = self._made.get(self._by_file.get(file, 0))
        return None if line is None else decision_of(line)

    def undo(self) -> Decision | None:
        """Take the last decision back; None if there is none.

        Raises:
            OSError: it cannot be taken back now; it still stands, or is taken back at the next start.
        """
        if not self._made:
            return None
        last = max(self._made)
        line = self._made[last]
        self._number += 1
        self._file.add({"number": self._number, "undo": last})
        self._take_back(line)
        del self._made[last]
        self._by_file = {file: number for file, number in self._by_file.items() if number != last}
        self._file.add({"done": self._number}, sync=False)
        return decision_of(line)

    def _forget(self, line: dict[str, Any]) -> None:
        """Undo what could not be carried out; where even that cannot be written, the next start tries again."""
        self._take_back(line)
        self._number += 1
        self._file.add({"number": self._number, "undo": line["number"]})
        self._file.add({"done": self._number}, sync=False)

    def _carry_out(self, line: dict[str, Any], *, is_new: bool = False) -> None:
        if line["action"] == SKIP:
            return
        root, path = self._root_of(line), line["path"]
        if not (root / path).exists():
            content = self._content(line["file"])
            if hashlib.sha256(content).hexdigest() != line["sha256"]:
                raise ReviewError(f"{shown(line['file'])}: has changed since it was looked at; look at it again")
            put(root, path, content)
        if line["action"] == LABEL and not line["existed"]:
            add_source(root, self._row(line), is_new=is_new)

    def _take_back(self, line: dict[str, Any]) -> None:
        if line["action"] == SKIP or line["existed"]:
            return
        root = self._root_of(line)
        if line["action"] == LABEL:
            remove_source(root, line["path"])
        take_out(root, line["path"], line["sha256"])

    def _root_of(self, line: dict[str, Any]) -> Path:
        """The folder that a picture goes to: the data set, or the review folder."""
        root = Path(line["root"])
        if root not in (self._dataset.root, self._folder.resolve()):
            raise _OtherDatasetError(
                f"{shown(line['file'])}: was labelled for {shown(root)}; name that data set to carry it out or undo it"
            )
        return root

    def _row(self, line: dict[str, Any]) -> dict[str, object]:
        note = line["note"]
        reviewed = datetime.fromtimestamp(line["reviewed"], timezone.utc)
        score = line["score"]
        return {
            "file": line["path"],
            "label": line["label"],
            "guess": line["guess"],
            "score": "" if score is None else f"{score:.4f}",
            **{name: note[name] for name in ("reason", "device", "time", "model")},
            "source": note["origin"] or (self._folder.resolve() / line["file"]).as_posix(),
            "sha256": line["sha256"],
            "reviewed": f"{reviewed:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _content(self, file: str) -> bytes:
        return read_regular_file(self._folder / file, MAX_IMAGE_BYTES, ReviewError)[0]


def decision_of(line: dict[str, Any]) -> Decision:
    """The decision in a line of the file; raises KeyError, TypeError or ValueError for another line."""
    if line["action"] not in (LABEL, NONE, SKIP) or not is_safe_path(line["file"]):
        raise ValueError(line["action"])
    if line["action"] != SKIP and not (is_safe_path(line["path"]) and isinstance(line["sha256"] + line["root"], str)):
        raise ValueError(line["path"])
    return Decision(int(line["number"]), line["action"], line["file"], tuple(map(str, line["copies"])), line["label"])


def _name_of(file: str, digest: str) -> str:
    """A name that no other content has."""
    stem, _, suffix = file.rpartition("/")[2].rpartition(".")
    mark = digest[:DIGEST_LENGTH]
    plain = plain_name(stem).encode()[:_MAX_STEM_BYTES].decode(errors="ignore").lstrip("-")
    return f"{plain if plain.endswith(mark) else f'{plain}-{mark}'}.{suffix.lower()}"
