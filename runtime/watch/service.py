"""What a service manager wants of a process that runs for a year: signs of life, and a clean end.

The protocol is that of sd_notify(3): datagrams of `NAME=value` lines to the socket named in `$NOTIFY_SOCKET`. Without
that variable nothing is sent, and everything else works the same.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType

#: What a service manager sets for the service itself; programs that the service starts must not have them.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: A manager that does not read its socket for this long is not waited for.
_SEND_TIMEOUT_S = 2.0


def notify(address: str | None, *states: str) -> bool:
    """Send states such as `READY=1` to a service manager; whether they were sent.

    Args:
        address: a socket's path, or `@name` for one in the abstract name space; None sends nothing.

    A manager that cannot be reached is no error: the work matters more than the report.
    """
    if not address or address[0] not in "/@":
        return False
    message = "\n".join(" ".join(state.split()) for state in states).encode()
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_SEND_TIMEOUT_S)
        sender.sendto(message, f"\0{address[1:]}" if address[0] == "@" else address)
        return True
    return False


def watchdog_period(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life, half of what `$WATCHDOG_USEC` allows; None where none are asked for."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) > 0 else None


class Service:
    """A process under a service manager, or without one; a context manager around its work.

    While inside, SIGTERM and SIGINT only set `stopping`, so that the work at hand is finished; a second SIGINT ends
    the process at once. To be entered in the main thread.

    Args:
        environment: where the manager's variables are; the process's own by default.

    Attributes:
        stopping: whether one of the signals has come.

    Example:
        >>> with Service({}) as service:
        ...     service.ready()
        ...     service.alive()
        True
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self.stopping = False
        self._address = environment.get("NOTIFY_SOCKET")
        self._period = watchdog_period(environment)
        self._sent = 0.0
        self._status = ""

    def __enter__(self) -> Service:
        # A signal that comes between the check of `stopping` and the wait is still found in this pipe.
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._old_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._old_handlers = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        return self

    def __exit__(self, *_error: object) -> None:
        notify(self._address, "STOPPING=1")
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_waker)
        os.close(self._woken)
        os.close(self._waker)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopping = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def ready(self) -> None:
        """Tell that the start is over."""
        notify(self._address, "READY=1")

    def status(self, text: str) -> None:
        """Tell in a line what is being done; sent where it differs from the last one."""
        if text != self._status:
            self._status = text
            notify(self._address, f"STATUS={text}")

    def alive(self) -> bool:
        """Give a sign of life where one is due; whether to go on."""
        now = time.monotonic()
        if self._period is not None and now - self._sent >= self._period:
            notify(self._address, "WATCHDOG=1")
            self._sent = now
        return not self.stopping

    def wait(self, seconds: float) -> bool:
        """Sleep, giving signs of life; a signal ends the sleep. Whether to go on."""
        end = time.monotonic() + seconds
        while self.alive():
            left = end - time.monotonic()
            if left <= 0:
                return True
            select.select([self._woken], [], [], left if self._period is None else min(left, self._period))
        return False
