"""Working with a service manager such as systemd: readiness, status, watchdog messages, and a clean end.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the socket named in `$NOTIFY_SOCKET`. Without that
variable nothing is sent, and everything else works the same.
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

#: Variables that a service manager sets for the service alone; programs that the service starts must not get them.
MANAGER_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: How long to wait for a manager that does not read its socket.
_SEND_TIMEOUT_S = 2.0


def notify(address: str | None, *states: str) -> bool:
    """Send states such as `READY=1` to a service manager, and return whether they were sent.

    A manager that cannot be reached is no error: the work matters more than the report.

    Args:
        address: a socket's path, or `@name` for one in the abstract name space; None sends nothing.
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
    """Seconds between two watchdog messages, half of what `$WATCHDOG_USEC` allows; None if there is no watchdog."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) > 0 else None


class Service:
    """A process that may run under a service manager; a context manager around its work, for the main thread.

    Inside it, SIGTERM and SIGINT only set `stopping`, so that the work that is under way is finished. A second SIGINT
    ends the process at once.

    Args:
        environment: holds the manager's variables; by default the environment of the process.

    Attributes:
        stopping: whether one of the signals has arrived.

    Example:
        >>> with Service({}) as service:
        ...     service.ready()
        ...     service.keep_going()
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
        # A signal that arrives between the check of `stopping` and the wait also leaves a byte in this pipe.
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

    def stop_for_restart(self) -> None:
        """End as at SIGTERM, where a manager starts the process again."""
        if self._address:
            self.stopping = True

    def ready(self) -> None:
        """Report that the start-up is over."""
        notify(self._address, "READY=1")

    def status(self, text: str) -> None:
        """Report the state of the work in one line; it is sent only when it changes."""
        if text != self._status:
            self._status = text
            notify(self._address, f"STATUS={text}")

    def keep_going(self) -> bool:
        """Send a watchdog message if one is due, and return whether to go on."""
        now = time.monotonic()
        if self._period is not None and now - self._sent >= self._period:
            notify(self._address, "WATCHDOG=1")
            self._sent = now
        return not self.stopping

    def wait(self, seconds: float) -> bool:
        """Sleep, sending watchdog messages; a signal ends the sleep. Returns whether to go on."""
        end = time.monotonic() + seconds
        while self.keep_going():
            remaining = end - time.monotonic()
            if remaining <= 0:
                return True
            timeout = remaining if self._period is None else min(remaining, self._period)
            select.select([self._woken], [], [], timeout)
        return False
