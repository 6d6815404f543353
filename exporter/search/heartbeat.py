"""Signs of life of the steps that a process works on, written from a thread while the process trains.

Optuna writes them only inside `Study.optimize`, which cannot pause a trial.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..errors import StorageError

_log = logging.getLogger(__name__)


class Heartbeat:
    """Writes a sign of life for each step that is held, at once and then at every interval.

    Args:
        record: writes one for the step with this key in the database; may raise StorageError.
        seconds: between two signs of a step.
    """

    def __init__(self, record: Callable[[int], None], seconds: float) -> None:
        self._record, self._seconds = record, seconds
        self._keys: set[int] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, key: int) -> None:
        """Begin with a step. The first sign is written before this returns.

        Raises:
            StorageError: the database cannot be used.
        """
        self._record(key)
        self._keys.add(key)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat of a search", daemon=True)
            self._thread.start()

    def release(self, key: int) -> None:
        """End with a step."""
        self._keys.discard(key)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        is_well = True
        while not self._stop.wait(self._seconds):
            try:
                for key in tuple(self._keys):
                    self._record(key)
                is_well = True
            except StorageError as error:  # the training goes on; the database may come back before its end
                if is_well:
                    _log.warning("%s. Until then another process may take over the step that runs here", error)
                is_well = False
