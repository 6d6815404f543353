"""All outputs of one process: each with a queue and a thread of its own, so that a slow one delays nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import describe
from ..watch.commands import pause_after
from .event import Event
from .event_log import EventLog, EventLogError
from .event_queue import QUEUE_LIMIT, EventQueue
from .sink import OutputError, Sink

_log = logging.getLogger(__name__)

#: Seconds between two calls of `Sink.idle`.
_IDLE_S = 1.0
#: Seconds between two times that what was queued is put on the disk.
_SYNC_S = 2.0
#: A warning that repeats is given after so many seconds, then after twice as many, and so on.
_FIRST_SILENCE_S = 10.0
_LONGEST_SILENCE_S = 3600.0
#: Attempts to tell an event that an output fails at for no reason of its own.
_UNEXPECTED_ATTEMPTS = 3


class OutputCounts(NamedTuple):
    """How many events an output has told, dropped as its queue was full, given up, and not got yet."""

    told: int
    dropped: int
    failed: int
    waiting: int


class RepeatedWarning:
    """Logs a trouble that repeats at growing intervals: after 10 s, 20 s, and so on up to an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silence = 0.0
        self._next = 0.0
        self._unsaid = 0

    def warn(self, message: str) -> None:
        """Log a warning, unless one was logged a short time ago."""
        now = self._clock()
        if self._silence and now < self._next:
            self._unsaid += 1
            return
        repeated = f" ({self._unsaid} more times since the last warning)" if self._unsaid else ""
        _log.warning("warning: %s%s", message, repeated)
        self._silence = min(self._silence * 2, _LONGEST_SILENCE_S) or _FIRST_SILENCE_S
        self._next = now + self._silence
        self._unsaid = 0

    def end(self, message: str) -> None:
        """The trouble is over: log that, if a warning was logged."""
        if self._silence:
            _log.info("%s", message)
        self._silence, self._unsaid = 0.0, 0


class Recorder(Protocol):
    """Chooses frames to keep; `runtime.outputs.uncertain.UncertainFrames` is one."""

    takes_pictures: bool

    def see(self, event: Event, picture: Callable[[], bytes | None] | None) -> None: ...
    def close(self, timeout: float) -> None: ...


class Outputs:
    """Tells events to all outputs; a context manager.

    An event is on the disk when `tell` returns, unless the disk is full: a kill of the process loses none. A loss of
    power may cost the last two seconds. Each event is told at least once, in order, under its number.

    Args:
        sinks: the outputs.
        queue: the most events that wait for one output; beyond it the oldest is dropped, and counted.
        log_file: where the events wait on the disk; None keeps none over a restart.
        recorder: is shown each frame's answer.

    Raises:
        EventLogError: another process uses the same file.

    Example:
        >>> from runtime.outputs.sink import CallbackSink
        >>> events = []
        >>> with Outputs([CallbackSink("list", events.append)]) as outputs:
        ...     outputs.tell(Event(0.0, "door", "open", 0.9, 0.0, 1, None, {"open": 0.9}))
        >>> [event.label for event in events]
        ['open']
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        queue: int = QUEUE_LIMIT,
        log_file: Path | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        kept = [sink for sink in sinks if sink.is_kept]
        self._trouble = RepeatedWarning()
        self._event_log = self._open_log(log_file, kept) if log_file is not None and kept else None
        self._number = self._event_log.last if self._event_log is not None else 0
        self._keeps_pictures = any(sink.takes_pictures for sink in kept)
        self._recorder = recorder
        self._telling = threading.Lock()
        self._closing = threading.Event()
        self._threads = [_OutputThread(sink, EventQueue(queue, takes_pictures=sink.takes_pictures)) for sink in sinks]
        for thread in self._threads:
            thread.begin(self._event_log, self._trouble)
        self._syncing = threading.Thread(target=self._sync, name="pocketlens-event-log", daemon=True)
        if self._event_log is not None:
            self._syncing.start()

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def takes_pictures(self) -> bool:
        """Whether an output wants the pictures of the events that are told."""
        return any(thread.sink.takes_pictures for thread in self._threads)

    @property
    def takes_frames(self) -> bool:
        """Whether `see` should be called for each frame."""
        return self._recorder is not None

    @property
    def counts(self) -> dict[str, OutputCounts]:
        """What became of the events so far, for each output by its name."""
        return {thread.sink.name: thread.counts for thread in self._threads}

    def tell(self, event: Event) -> None:
        """Queue an event for all outputs; it waits for none of them.

        Raises:
            BrokenPipeError: the reader of an output of this process has ended.
        """
        for thread in self._threads:
            if thread.broken is not None:
                raise thread.broken
        with self._telling:
            self._number += 1
            if self._event_log is not None:
                try:
                    self._event_log.add(self._number, event if self._keeps_pictures else event._replace(picture=None))
                except EventLogError as error:
                    self._trouble.warn(f"{error}; a restart would lose what waits")
            for thread in self._threads:
                thread.put(self._number, event)

    def see(self, event: Event, picture: Callable[[], bytes | None] | None = None) -> None:
        """Show the answer to a frame, whether it is told or not, to what keeps uncertain frames.

        Args:
            event: the answer; its own picture is used if it has one.
            picture: gives the frame as a JPEG file; called at once, and only for the few frames that may be kept.
        """
        if self._recorder is not None:
            self._recorder.see(event, picture)

    def close(self, timeout: float = 5.0) -> None:
        """Tell what waits, for so many seconds at most, and end the threads; what is kept stays on the disk."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.close(end)
        if self._recorder is not None:
            self._recorder.close(max(0.0, end - time.monotonic()))
        for thread in self._threads:
            thread.join(end)
        self._closing.set()
        if self._event_log is not None:
            self._syncing.join()
            self._event_log.close()

    def _open_log(self, path: Path, kept: Sequence[Sink]) -> EventLog | None:
        try:
            return EventLog(path, [sink.kind or sink.name for sink in kept])
        except EventLogError as error:
            if error.is_in_use:
                raise
            self._trouble.warn(f"{error}; a restart would lose what waits")
            return None

    def _sync(self) -> None:
        assert self._event_log is not None
        while not self._closing.wait(_SYNC_S):
            try:
                self._event_log.sync()
            except EventLogError as error:
                self._trouble.warn(str(error))


class _OutputThread:
    """The thread of one output: takes the events from its queue, and tries again what failed."""

    def __init__(self, sink: Sink, queue: EventQueue) -> None:
        self.sink = sink
        self._place = sink.kind or sink.name
        self.broken: BrokenPipeError | None = None
        self._queue = queue
        self._told = self._failed = 0
        self._trouble = RepeatedWarning()
        self._overflow = RepeatedWarning()
        self._closing = threading.Event()
        self._end = 0.0
        self._event_log: EventLog | None = None
        self._log_trouble = self._trouble
        self._thread = threading.Thread(target=self._run, name=f"pocketlens-{sink.name}", daemon=True)

    def begin(self, event_log: EventLog | None, trouble: RepeatedWarning) -> None:
        """Take up what an earlier process has not told, and start."""
        self._log_trouble = trouble
        if event_log is not None and self.sink.is_kept:
            self._event_log = event_log
            with suppress(EventLogError):
                for number, event in event_log.pending(self._place):
                    self.put(number, event)
        self._thread.start()

    @property
    def counts(self) -> OutputCounts:
        return OutputCounts(self._told, self._queue.dropped, self._failed, len(self._queue))

    def put(self, number: int, event: Event) -> None:
        dropped = self._queue.put(number, event)
        if dropped is not None:
            self._overflow.warn(
                f"{self.sink.name}: {len(self._queue)} events wait, the most that `queue` allows; the oldest is "
                f"dropped, {self._queue.dropped} so far; raise `queue`, or mend the output"
            )
            self._advance(dropped)

    def close(self, end: float) -> None:
        self._end = end
        self._closing.set()
        self._queue.close()

    def join(self, end: float) -> None:
        self._thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        failures = 0
        while not (self._closing.is_set() and (time.monotonic() >= self._end or not len(self._queue))):
            item = self._queue.first(_IDLE_S)
            try:
                if item is None:
                    self.sink.idle()
                else:
                    self.sink.send(*item)
                    self._told += 1
                    self._done(item[0])
                failures = 0
                self._trouble.end(f"{self.sink.name}: works again")
                continue
            except BrokenPipeError as error:
                self.broken = error
                break
            except OutputError as error:
                problem = error
            except Exception as error:  # a fault of ours must not end the telling
                problem = OutputError(f"{self.sink.name}: {describe(error)}", attempts=_UNEXPECTED_ATTEMPTS)
            failures += 1
            if item is not None and problem.attempts is not None and failures >= problem.attempts:
                self._failed += 1
                self._done(item[0])
                self._trouble.warn(f"{problem}; given up after {failures} attempts, {self._failed} events so far")
                failures = 0
                continue
            self._trouble.warn(str(problem))
            if self._closing.wait(max(problem.pause, pause_after(failures, *self.sink.pauses))):
                break
        with suppress(OutputError):
            self.sink.close()

    def _done(self, number: int) -> None:
        self._queue.remove(number)
        self._advance(number)

    def _advance(self, number: int) -> None:
        if self._event_log is not None:
            try:
                self._event_log.advance(self._place, number)
            except EventLogError as error:
                self._log_trouble.warn(str(error))
