"""Running the user's command for each answer until it succeeds, with growing pauses, or is given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from ..errors import ActionError
from ..files import shown
from ..postprocessing import Prediction
from .hook import Hook
from .unfinished import FailedCommand, UnfinishedWork

_log = logging.getLogger(__name__)

#: How often a command that failed is run again, unless the user says otherwise: over about half an hour.
DEFAULT_RETRIES = 10
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 600.0


def pause_after(failures: int, first: float = _FIRST_PAUSE_S, longest: float = _LONGEST_PAUSE_S) -> float:
    """Seconds to wait after so many failures: 2, 4, 8 and so on, at most 600, unless other bounds are given.

    Example:
        >>> [pause_after(failures) for failures in (1, 2, 9, 10, 1000)]
        [2.0, 4.0, 512.0, 600.0, 600.0]
    """
    return min(first * 2.0 ** min(failures - 1, 30), longest)


class Commands:
    """Runs a hook at least once for each answer, and again until it succeeds.

    Args:
        hook: the command.
        unfinished: the journal's record of the commands that failed; it keeps their number and times over restarts.
        retries: how often a command that failed is run again.
        full_path: gives the path of an image, as the user would name it.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        hook: Hook,
        unfinished: UnfinishedWork,
        full_path: Callable[[str], str],
        retries: int = DEFAULT_RETRIES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hook = hook
        self._unfinished = unfinished
        self._full_path = full_path
        self._retries = retries
        self._clock = clock
        self._waiting: list[FailedCommand] = []

    def resume(self, is_known: Callable[[Collection[Prediction]], bool]) -> None:
        """Take up the commands that failed before the start.

        Args:
            is_known: whether the model gives such predictions; the command is not run for others.
        """
        self._waiting = []
        for failed in self._unfinished.failed_commands():
            if failed.answer.predictions and is_known(failed.answer.predictions):
                # The clock may have been wrong then, or may be now: nothing waits longer than its pause.
                latest = self._clock() + pause_after(failed.attempts)
                self._waiting.append(failed._replace(retry_at=min(failed.retry_at, latest)))
            else:
                self._unfinished.end_command(failed.number)
                path = shown(self._full_path(failed.answer.path))
                _log.warning("warning: %s: the command is not run again for a label that the model lacks", path)

    def run(self, path: str, best: Prediction, keep_going: Callable[[], object]) -> float | None:
        """Run the command for a new answer; returns when it is run again, or None if it is not."""
        return self._run(path, best, 0, keep_going)

    def wait_for(self, failed: FailedCommand) -> None:
        """Take up a command that `run` has just returned a time for."""
        self._waiting.append(failed)

    def run_due(self, keep_going: Callable[[], bool]) -> None:
        """Run the commands again whose time has come, up to the first that fails: new images must not wait for more."""
        for failed in sorted(self._waiting, key=lambda one: (one.retry_at, one.number)):
            if failed.retry_at > self._clock() or not keep_going():
                return
            path = failed.moved_to or self._full_path(failed.answer.path)
            retry_at = self._run(path, failed.answer.predictions[0], failed.attempts, keep_going)
            self._waiting.remove(failed)
            if retry_at is None:
                self._unfinished.end_command(failed.number)
                continue
            again = failed._replace(attempts=failed.attempts + 1, retry_at=retry_at)
            self._unfinished.retry_command(failed.number, again.attempts, retry_at)
            self._waiting.append(again)
            return

    def _run(self, path: str, best: Prediction, failures: int, keep_going: Callable[[], object]) -> float | None:
        try:
            self._hook.run(path, best, keep_going)
        except ActionError as error:
            failures += 1
            if failures > self._retries:
                _log.warning("warning: %s; given up after %d attempts", error, failures)
                return None
            pause = pause_after(failures)
            _log.warning("warning: %s; tried again in %g s (%d of %d)", error, pause, failures, self._retries)
            return self._clock() + pause
        return None
