"""The loop of a watch: each image that arrives is answered once, and its answer is delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..errors import ActionError, ImageError, WatchError
from ..files import BYTES_NAME, shown
from ..postprocessing import UNKNOWN, Prediction
from .commands import DEFAULT_RETRIES, Commands
from .hook import Hook
from .journal import Journal
from .journal_file import Answer, Identity
from .scanner import SettlingFiles, WatchedFolder
from .sorter import Sorter, return_orphans, unclaim
from .unfinished import FailedCommand

_log = logging.getLogger(__name__)

#: Once so many processes have died while they answered an image, it is answered with an error.
MAX_DEATHS = 2
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
    """What the loop needs of its process; `runtime.service.Service` provides it."""

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
        deliver: prints an answer after it was recorded; called again after a restart if it did not return.
        sorter: moves the answered images; None leaves them where they are.
        hook: the command to run for each answer after it was delivered.
        retries: how often a command that failed is run again.
        labels: the model's labels; an answer of the journal with another label is not delivered. None allows all.
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
        hook: Hook | None = None,
        retries: int = DEFAULT_RETRIES,
        labels: Collection[str] | None = None,
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
        self._commands = None if hook is None else Commands(hook, journal.unfinished, folder.full_path, retries)
        self._labels = None if labels is None else {*labels, UNKNOWN}
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
        self._resume(process)
        while process.keep_going():
            if self._commands is not None:
                self._commands.run_due(process.keep_going)
            waiting = {path: identity for path, identity in found.items() if not self._journal.has(path, identity)}
            process.status(f"{self._answers} answered, {self._errors} of them errors; {len(waiting)} waiting")
            for path in self._settling.ready(waiting, time.monotonic()):
                self._answer(path, waiting[path], process)
                if not process.keep_going():
                    return
            self._journal.compact_if_long(found)
            process.wait(max(self._interval, took / _MAX_SCAN_SHARE))
            began = time.monotonic()
            found = self._folder.scan()
            took = time.monotonic() - began

    def _resume(self, process: ProcessControl) -> None:
        """Finish what an earlier process has left."""
        for answer in self._journal.undelivered():
            if not process.keep_going():
                return
            if self._is_known(answer.predictions):
                self._finish(answer, process, replayed=True)
                continue
            full_path = self._folder.full_path(answer.path)
            unclaim(full_path, answer.identity)
            self._journal.forget(answer.path)
            _log.warning(
                "warning: %s: its answer in the journal has a label that the model lacks; it is answered again",
                shown(full_path),
            )
        for claim, place in return_orphans(self._folder.folders()):
            _log.warning("warning: %s: an unfinished move has left it behind; it is back as %s", claim, shown(place))
        if self._sorter is not None:
            self._move_again(self._sorter)
        if self._commands is not None:
            self._commands.resume(self._is_known)

    def _is_known(self, predictions: Collection[Prediction]) -> bool:
        return self._labels is None or all(prediction.label in self._labels for prediction in predictions)

    def _move_again(self, sorter: Sorter) -> None:
        """Move the images that an earlier process could not move."""
        for number, answer in self._journal.unfinished.failed_moves():
            path, moved_to = self._folder.full_path(answer.path), None
            if answer.predictions and self._is_known(answer.predictions):
                try:
                    moved_to = sorter.move(path, answer.identity, answer.predictions[0].label)
                except ActionError as error:
                    _log.warning("warning: %s", error)
                    continue
            if moved_to is not None:
                _log.info("%s: moved to %s, as it could not be before", shown(path), shown(moved_to))
            self._journal.unfinished.end_move(number, moved_to)

    def _answer(self, path: str, identity: Identity, process: ProcessControl) -> None:
        current = self._folder.identity_of(path) if self._settling.is_replaced(path) else identity
        if current is None:
            return
        answer = self._answer_to(path, current)
        if answer is not None:
            try:
                self._journal.add(answer)
            except WatchError:
                with suppress(WatchError):
                    self._journal.unfinished.end_image(path)  # the disk is full; the image is not to blame
                raise
            self._settling.answered(path)
            self._finish(answer, process)

    def _answer_to(self, path: str, identity: Identity) -> Answer | None:
        """The answer to an image, or None if the file is not complete."""
        full_path = shown(self._folder.full_path(path))
        if self._journal.unfinished.begin_image(path, identity) >= MAX_DEATHS:
            reason = f"the process died {MAX_DEATHS} times while it answered this image, so it is passed over"
            return Answer(path, identity, error=f"{full_path}: {reason}")
        answer = None
        try:
            data = self._folder.read(path, identity)
            if data is not None:
                answer = Answer(path, identity, tuple(self._classify(data)))
        except ImageError as error:
            if self._settling.failed(path):
                # The classifier was given bytes, and does not know the file's name.
                answer = Answer(path, identity, error=str(error).replace(BYTES_NAME, full_path, 1))
        finally:
            if answer is None:  # otherwise the answer's own transaction ends it
                self._journal.unfinished.end_image(path)
        return answer

    def _finish(self, answer: Answer, process: ProcessControl, *, replayed: bool = False) -> None:
        """What follows an answer, in an order in which every step can be repeated: move, deliver, command, mark."""
        path, moved_to, move_error = self._folder.full_path(answer.path), None, ""
        if self._sorter is None and replayed:
            unclaim(path, answer.identity)  # the killed watch sorted its images, and this one does not
        if self._sorter is not None and answer.predictions:
            try:
                moved_to = self._sorter.move(path, answer.identity, answer.predictions[0].label)
            except ActionError as error:
                move_error = str(error)
        self._deliver(Delivery(path, answer, moved_to, move_error, replayed))
        retry_at = None
        if self._commands is not None and answer.predictions:
            retry_at = self._commands.run(moved_to or path, answer.predictions[0], process.keep_going)
        number = self._journal.mark_delivered(
            answer.path, moved_to, move_failed=bool(move_error), retry_command_at=retry_at
        )
        if self._commands is not None and retry_at is not None:
            self._commands.wait_for(FailedCommand(number, answer, moved_to, 1, retry_at))
        self._answers += 1
        self._errors += bool(answer.error)
