"""The time against which expiry is checked, on a device whose clock may be wrong.

Many boards have no battery-backed clock: they start in 1970, or at the time of the last shutdown, until a time server
answers. Three times are known, and the latest of them is the reference:

- the system's clock. It is used and never stored: a clock that says 2099 makes everything expired, and as soon as it is
  right everything works again.
- the newest time of signing in metadata whose signatures were verified. It really has been that late. It is stored.
- that time plus the time that this machine has been running since. So somebody who serves the same old files for ever
  is found out even by a device whose clock always begins in 1970.

A signed time counts as long as the keys of the timestamp stay the same. If a stolen key has signed a time far in the
future, the next change of that key ends its effect.
"""

from __future__ import annotations

import datetime
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..deployment.state import boot_id, uptime
from ..errors import PocketlensError
from ..files import read_regular_file, write_whole

_MAX_BYTES = 4096
#: The end of the year 9999, beyond which Python has no dates.
_LAST = 253_402_300_799


class ReferenceTime(NamedTuple):
    """A time in seconds since 1970, and how it is known."""

    seconds: float
    is_system_clock: bool

    def moment(self) -> datetime.datetime:
        """The same, as python-tuf takes it."""
        return datetime.datetime.fromtimestamp(min(self.seconds, _LAST), datetime.timezone.utc)

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(min(self.seconds, _LAST)))
        return f"{when} by {'the clock' if self.is_system_clock else 'the signed times'} of this device"


class MachineClock:
    """What the machine knows of time: its clock, its time since boot, and which boot it is."""

    def now(self) -> float:
        """Seconds since 1970 by the system's clock."""
        return time.time()

    def uptime(self) -> float:
        """Seconds since the machine was started, those asleep included."""
        return uptime()

    def boot(self) -> str:
        """A text that is another one after each start; "" if the system has none."""
        return boot_id()


class _Known(NamedTuple):
    """What is stored: a signed time, the seconds that are known to have passed since, and when these were counted."""

    signed: float = 0.0
    passed: float = 0.0
    boot: str = ""
    uptime: float = 0.0
    keys: str = ""


class UpdateClock:
    """The reference time of a device, kept in a file.

    Args:
        path: the file. A damaged one counts as none: a signed time comes again with the next metadata.
        machine: the machine's own clock.
    """

    def __init__(self, path: Path, machine: MachineClock | None = None) -> None:
        self._path = path
        self._machine = machine or MachineClock()
        self._known = _read(path)

    def reference(self) -> ReferenceTime:
        """The latest of the times that are known."""
        known = self._counted()
        now, least = self._machine.now(), known.signed + known.passed
        return ReferenceTime(max(now, least), now >= least)

    def learn(self, signed: float, keys: str) -> None:
        """Take a time of signing into account.

        Args:
            signed: seconds since 1970, of metadata that was verified.
            keys: identifies the keys that vouch for the time; what other keys have vouched for is forgotten.
        """
        known = self._counted()
        if keys != known.keys or signed > known.signed + known.passed:
            # Time that passed before still counts where the new time is only a little later.
            known = known._replace(signed=signed, passed=0.0, keys=keys)
        self._known = known

    def save(self) -> None:
        """Store what is known.

        Raises:
            OSError: the file cannot be written.
        """
        self._known = self._counted()
        write_whole(self._path, json.dumps(self._known._asdict()).encode())

    def _counted(self) -> _Known:
        """What is known, with the time since the last count; after a new start, at least the time since that start."""
        known, boot, uptime = self._known, self._machine.boot(), self._machine.uptime()
        same = known.boot == boot and uptime >= known.uptime
        passed = known.passed + (uptime - known.uptime if same else uptime)
        return known._replace(passed=passed if known.signed else 0.0, boot=boot, uptime=uptime)


def _read(path: Path) -> _Known:
    with suppress(PocketlensError, ValueError, TypeError, RecursionError):
        known = _Known(**json.loads(read_regular_file(path, _MAX_BYTES, PocketlensError)[0]))
        numbers = (known.signed, known.passed, known.uptime)
        if all(isinstance(number, int | float) and 0 <= number < 2**40 for number in numbers):
            return known
    return _Known()
