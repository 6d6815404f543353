"""Ending a reader that waits for the network."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Stop(threading.Event):
    """An event that also ends the waiting on a socket."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None

    def end_with(self, connection: socket.socket | None) -> None:
        """Shut this socket down when the event is set; None for none any more."""
        with self._guard:
            self._socket = connection
        if self.is_set():
            self.set()

    def set(self) -> None:
        """Set the event; a read from the socket ends."""
        super().set()
        with self._guard, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
