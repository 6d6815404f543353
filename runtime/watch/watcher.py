"""The loop of a watch: each image that arrives is answered once, and told of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..errors import ActionError, ImageError
from ..files import shown
from ..postprocessing import Prediction
from .entries import Entry, Identity
from .journal import Journal
from .scanner import Folder, Settling
from .sorter import Sorter, unclaim

#: A look at the folder may take this share of the time.
_MAX_SHARE = 0.05

Classify: TypeAlias = Callable[[bytes], "list[Prediction]"]


@dataclass(frozen=True)
class Answer:
    """What is told of an image.

    Attributes:
        path: as the user would name it.
        entry: its answer in the journal.
        moved_to: where it was moved, or None.
        problem: why it could not be moved, or "".
        replayed: whether it may have been told before, by a process that was killed.
    """

    path: str
    entry: Entry
    moved_to: str | None = None
    problem: str = ""
    replayed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """`{"path": ..., "predictions": [...]}` or `{"path": ..., "error": ...}`, for JSON."""
        line: dict[str, Any] = {"path": self.path}
        if self.entry.error:
            line["error"] = self.entry.error
        else:
            line["predictions"] = [p.as_dict() for p in self.entry.predictions]
        if self.moved_to is not None:
            line["moved_to"] = self.moved_to
        if self.problem:
            line["move_error"] = self.problem
        return {**line, "replayed": True} if self.replayed else line


class Life(Protocol):
    """What the loop asks of its process; `runtime.systemd.Service` has it."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def alive(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...


class Watch:
    """The loop: look, wait until files stand still, answer, record, move, tell.

    Args:
        folder: what is watched.
        journal: the record of what was answered.
        classify: an encoded image's bytes to predictions; raises ImageError for what is no image.
        tell: called with each answer, after it was recorded; called again after a restart if it did not return.
        mover: moves what was answered.
        existing: whether images that are there when the journal is begun are answered.
        interval: seconds between two looks; more where a look takes long.
        settle, patience: see `Settling`.
    """

    def __init__(
        self,
        folder: Folder,
        journal: Journal,
        classify: Classify,
        tell: Callable[[Answer], None],
        *,
        mover: Sorter | None = None,
        existing: bool = True,
        interval: float = 0.5,
        settle: float = 0.5,
        patience: float = 10.0,
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._classify = classify
        self._tell = tell
        self._mover = mover
        self._existing = existing
        self._interval = interval
        self._settling = Settling(settle, patience)
        self._answers = self._errors = 0

    def run(self, life: Life) -> None:
        """Watch until `life` says that it is over; an image at hand is finished.

        Raises:
            WatchError: the folder is gone, or the journal cannot be written.
            InterpreterError: the model fails; the image at hand is answered at the next start.
        """
        found, took = self._folder.scan(), 0.0
        if self._journal.is_new:
            self._journal.begin({} if self._existing else found)
        life.ready()
        for entry in self._journal.untold():
            self._finish(entry, replayed=True)
        while life.alive():
            waiting = {path: identity for path, identity in found.items() if not self._journal.has(path, identity)}
            life.status(f"{self._answers} answered, {self._errors} of them errors; {len(waiting)} waiting")
            for path in self._settling.ready(waiting, time.monotonic()):
                self._answer(path, waiting[path])
                if not life.alive():
                    return
            self._journal.compact_if_long(found)
            life.wait(max(self._interval, took / _MAX_SHARE))
            began = time.monotonic()
            found = self._folder.scan()
            took = time.monotonic() - began

    def _answer(self, path: str, identity: Identity) -> None:
        try:
            data = self._folder.read(path, identity)
            if data is None:
                return
            entry = Entry(path, identity, tuple(self._classify(data)))
        except ImageError as error:
            if not self._settling.failed(path):
                return
            # What was classified are bytes, which have no name.
            entry = Entry(path, identity, error=str(error).replace("image (bytes)", shown(self._folder.full(path)), 1))
        self._journal.add(entry)
        self._finish(entry)

    def _finish(self, entry: Entry, *, replayed: bool = False) -> None:
        """What follows an answer, in an order in which it can be done again: move, tell, mark."""
        path, moved_to, problem = self._folder.full(entry.path), None, ""
        if self._mover is None and replayed:
            unclaim(path, entry.identity)  # moved no longer: by another command line than before the kill
        if self._mover is not None and entry.predictions:
            try:
                moved_to = self._mover.move(path, entry.identity, entry.predictions[0].label)
            except ActionError as error:
                problem = str(error)
        self._tell(Answer(path, entry, moved_to, problem, replayed))
        self._journal.told(entry.path, moved_to)
        self._answers += 1
        self._errors += bool(entry.error)
