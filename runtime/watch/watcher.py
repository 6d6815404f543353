"""The loop of a watch: each image that arrives is answered once, and its answer is delivered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..errors import ActionError, ImageError
from ..files import shown
from ..postprocessing import Prediction
from .journal import Journal
from .journal_file import Answer, Identity
from .scanner import SettlingFiles, WatchedFolder
from .sorter import Sorter, unclaim

#: Scanning the folder may take at most this share of the time.
_MAX_SCAN_SHARE = 0.05

Classify: TypeAlias = Callable[[bytes], "list[Prediction]"]


@dataclass(frozen=True)
class Delivery:
    """An answer on its way to the user: to be printed, and given to the user's command.

    Attributes:
        path: the image, as the user would name it.
        answer: the answer in the journal.
        moved_to: where the image was moved, or None.
        move_error: why the image could not be moved, or "".
        replayed: a process that was killed may have delivered it before.
    """

    path: str
    answer: Answer
    moved_to: str | None = None
    move_error: str = ""
    replayed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """`{"path": ..., "predictions": [...]}` or `{"path": ..., "error": ...}`, for JSON."""
        line: dict[str, Any] = {"path": self.path, **self.answer.as_dict()}
        if self.moved_to is not None:
            line["moved_to"] = self.moved_to
        if self.move_error:
            line["move_error"] = self.move_error
        return {**line, "replayed": True} if self.replayed else line


class ProcessControl(Protocol):
    """What the loop needs of its process; `runtime.watch.service.Service` provides it."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def keep_going(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...


class Watcher:
    """Scans a folder, waits until a file stands still, answers it, records the answer, moves the file, delivers.

    Args:
        folder: the folder to watch.
        journal: the record of the answers.
        classify: gives the predictions for an encoded image's bytes; raises ImageError if they are no image.
        deliver: called with each answer after it was recorded; called again after a restart if it did not return.
        sorter: moves the answered images; None leaves them where they are.
        existing: whether images that are there when the journal is begun are answered.
        interval: seconds between two scans; more if a scan takes long.
        settle, patience: seconds, see `SettlingFiles`.
    """

    def __init__(
        self,
        folder: WatchedFolder,
        journal: Journal,
        classify: Classify,
        deliver: Callable[[Delivery], None],
        *,
        sorter: Sorter | None = None,
        existing: bool = True,
        interval: float = 0.5,
        settle: float = 0.5,
        patience: float = 10.0,
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._classify = classify
        self._deliver = deliver
        self._sorter = sorter
        self._existing = existing
        self._interval = interval
        self._settling = SettlingFiles(settle, patience)
        self._answers = self._errors = 0

    def run(self, process: ProcessControl) -> None:
        """Watch until the process is asked to end; the image that is being answered is finished first.

        Raises:
            WatchError: the folder is gone, or the journal cannot be written.
            InterpreterError: the model fails; the image is answered at the next start.
        """
        found, took = self._folder.scan(), 0.0
        if self._journal.is_new:
            self._journal.begin({} if self._existing else found)
        process.ready()
        for answer in self._journal.undelivered():
            self._finish(answer, replayed=True)
        while process.keep_going():
            waiting = {path: identity for path, identity in found.items() if not self._journal.has(path, identity)}
            process.status(f"{self._answers} answered, {self._errors} of them errors; {len(waiting)} waiting")
            for path in self._settling.ready(waiting, time.monotonic()):
                self._answer(path, waiting[path])
                if not process.keep_going():
                    return
            self._journal.compact_if_long(found)
            process.wait(max(self._interval, took / _MAX_SCAN_SHARE))
            began = time.monotonic()
            found = self._folder.scan()
            took = time.monotonic() - began

    def _answer(self, path: str, identity: Identity) -> None:
        try:
            data = self._folder.read(path, identity)
            if data is None:
                return
            answer = Answer(path, identity, tuple(self._classify(data)))
        except ImageError as error:
            if not self._settling.failed(path):
                return
            # The classifier was given bytes, and does not know the file's name.
            reason = str(error).replace("image (bytes)", shown(self._folder.full_path(path)), 1)
            answer = Answer(path, identity, error=reason)
        self._journal.add(answer)
        self._finish(answer)

    def _finish(self, answer: Answer, *, replayed: bool = False) -> None:
        """What follows an answer, in an order in which every step can be repeated: move, deliver, mark."""
        path, moved_to, move_error = self._folder.full_path(answer.path), None, ""
        if self._sorter is None and replayed:
            unclaim(path, answer.identity)  # the killed watch sorted its images, and this one does not
        if self._sorter is not None and answer.predictions:
            try:
                moved_to = self._sorter.move(path, answer.identity, answer.predictions[0].label)
            except ActionError as error:
                move_error = str(error)
        self._deliver(Delivery(path, answer, moved_to, move_error, replayed))
        self._journal.mark_delivered(answer.path, moved_to)
        self._answers += 1
        self._errors += bool(answer.error)
