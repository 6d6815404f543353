"""The live picture of a source and its last answers, for any number of viewers, each of which gets the newest only."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..camera.reader import FrameReader
from ..classifier import Classifier
from ..errors import PocketlensError, describe
from ..live.engine import LiveEngine
from ..live.stabilizer import Stabilizer
from ..live.statistics import LiveStatistics
from ..model_follower import ModelFollower
from ..outputs.event import Event

_log = logging.getLogger(__name__)

#: Changes of the state that a new viewer is shown.
_HISTORY = 20
#: A viewer gets at most so many answers a second.
_MOST_PER_SECOND = 8
#: A line without meaning, so that a connection whose client has gone is noticed.
_HEARTBEAT_S = 10.0


class LiveView:
    """Runs a live engine in a thread, and hands its answers to the viewers of an event loop.

    Args:
        reader: gives the frames.
        classifier: a model that takes images; or one that may be replaced between two frames.
        stabilizer: makes the states.
        tell: called with each change, in the engine's thread.

    Attributes:
        viewers: how many there are.
        problem: why the engine has ended; "" while it runs.

    Raises:
        ContractError: the model takes features.
    """

    def __init__(
        self,
        reader: FrameReader,
        classifier: Classifier | ModelFollower,
        stabilizer: Stabilizer,
        tell: Callable[[Event], object],
    ) -> None:
        self._engine = LiveEngine(reader, classifier, stabilizer, self._note_change, see=self._see)
        self._tell = tell
        self._thread = threading.Thread(target=self._run, name="pocketlens-live", daemon=True)
        self._changes: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._newest: dict[str, Any] | None = None
        self._picture: Callable[[], bytes | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: asyncio.Event | None = None
        self._closed = False
        self.viewers = 0
        self.problem = ""

    @property
    def statistics(self) -> LiveStatistics:
        """The counts since the start."""
        return self._engine.statistics

    def start(self) -> None:
        """Start the engine; to be called in the thread of the event loop."""
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._thread.start()

    def close(self) -> None:
        """End the engine, and the streams of all viewers."""
        self._closed = True
        self._engine.stop()
        self._wake()

    def join(self, seconds: float) -> None:
        """Wait until the engine has released its source."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def newest(self) -> dict[str, Any]:
        """The last answer, the last changes and the counts, for JSON."""
        return {"answer": self._newest, "changes": [*self._changes], "statistics": self.statistics.as_dict()}

    def picture(self) -> bytes | None:
        """The last answered frame as a JPEG; None before the first. It may take a while. Raises ImageError."""
        make = self._picture
        return None if make is None else make()

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events: `history` at first, then an `answer` for the newest answer, and each `change`."""
        self.viewers += 1
        try:
            yield _event("history", [*self._changes])
            shown: dict[str, Any] | None = None
            last_change = self._changes[-1] if self._changes else None
            while not self._closed:
                if self.problem:
                    yield _event("problem", {"error": self.problem})
                    return
                if self._newest is shown and not await self._wait():
                    yield b": still here\n\n"
                    continue
                changes = [*self._changes]
                news = changes[changes.index(last_change) + 1 :] if last_change in changes else changes
                for change in news:
                    yield _event("change", change)
                    last_change = change
                if self._newest is not shown and self._newest is not None:
                    shown = self._newest
                    yield _event("answer", shown)
                await asyncio.sleep(1 / _MOST_PER_SECOND)
        finally:
            self.viewers -= 1

    async def _wait(self) -> bool:
        """Wait for the next answer; False after a long time without one."""
        arrived = self._arrived
        assert arrived is not None
        try:
            await asyncio.wait_for(arrived.wait(), _HEARTBEAT_S)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        return True

    def _run(self) -> None:
        try:
            self._engine.run()
            self.problem = "" if self._closed else "the source has ended"
        except PocketlensError as error:
            self.problem = describe(error)
        except Exception as error:
            _log.exception("unexpected error of the live engine")
            self.problem = describe(error)
        if self.problem:
            _log.warning("warning: the live picture stands still: %s", self.problem)
        self._wake()

    def _note_change(self, event: Event) -> None:
        self._changes.append(event.as_dict())
        self._tell(event)

    def _see(self, event: Event, picture: Callable[[], bytes | None]) -> None:
        self._newest, self._picture = event.as_dict(), picture
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_viewers)

    def _wake_viewers(self) -> None:
        if self._arrived is not None:
            arrived, self._arrived = self._arrived, asyncio.Event()
            arrived.set()


def _event(name: str, value: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
