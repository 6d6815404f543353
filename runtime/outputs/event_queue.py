"""The events that one output has not got yet, in memory, and how many bytes of pictures wait with them."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from .event import Event

#: Default for the events that wait for one output; beyond it the oldest goes.
QUEUE_LIMIT = 10_000
#: Bytes of pictures that wait for one output, in memory and on the disk; beyond it the oldest events lose theirs.
PICTURE_LIMIT = 32 * 2**20


class PictureBudget:
    """Bounds the bytes of pictures among numbered events."""

    def __init__(self, limit: int = PICTURE_LIMIT) -> None:
        self._limit = limit
        self._sizes: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, number: int, size: int) -> list[int]:
        """Count the picture of an event; returns the numbers of the events that lose theirs, the oldest first."""
        self._sizes.append((number, size))
        self._total += size
        losers = []
        while self._total > self._limit:
            loser, freed = self._sizes.popleft()
            self._total -= freed
            losers.append(loser)
        return losers

    def release(self, number: int) -> None:
        """The events up to this number are gone."""
        while self._sizes and self._sizes[0][0] <= number:
            self._total -= self._sizes.popleft()[1]


class EventQueue:
    """A bounded queue of numbered events; `put` never waits.

    Args:
        limit: the most events that wait; beyond it the oldest is dropped.
        takes_pictures: whether the events keep their pictures.

    Attributes:
        dropped: how many events were dropped.
    """

    def __init__(self, limit: int = QUEUE_LIMIT, *, takes_pictures: bool = True) -> None:
        self._limit = limit
        self._takes_pictures = takes_pictures
        self._events: OrderedDict[int, Event] = OrderedDict()
        self._pictures = PictureBudget()
        self._changed = threading.Condition()
        self._is_closing = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, number: int, event: Event) -> int | None:
        """Add an event; returns the number of the event that was dropped for it."""
        if not self._takes_pictures:
            event = event._replace(picture=None)
        dropped = None
        with self._changed:
            self._events[number] = event
            if len(self._events) > self._limit:
                dropped, _ = self._events.popitem(last=False)
                self._pictures.release(dropped)
                self.dropped += 1
            if event.picture is not None:
                for loser in self._pictures.add(number, len(event.picture)):
                    self._events[loser] = self._events[loser]._replace(picture=None)
            self._changed.notify()
        return dropped

    def first(self, timeout: float) -> tuple[int, Event] | None:
        """The oldest event, which stays in the queue; None if there is none within so many seconds, or at the end."""
        with self._changed:
            if not self._events and not self._is_closing:
                self._changed.wait(timeout)
            return next(iter(self._events.items()), None)

    def remove(self, number: int) -> None:
        """The event with this number is done."""
        with self._changed:
            if self._events.pop(number, None) is None:
                self.dropped -= 1  # it was dropped while it was being told
            self._pictures.release(number)

    def close(self) -> None:
        """Let `first` wait no longer."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
