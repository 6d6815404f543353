"""Queues, threads and the log: what is told, in which order, and what survives."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from runtime.outputs.event import Event
from runtime.outputs.outputs import Outputs
from runtime.outputs.sink import CallbackSink, OutputError, Sink
from tests.support.outputs import event_of, wait_until


class Collector(Sink):
    """Keeps the numbers and labels that it is sent; fails while `fault` says so."""

    name = "collector"
    pauses = (0.001, 0.001)

    def __init__(self, fault: OutputError | None = None) -> None:
        self.sent: list[tuple[int, str]] = []
        self.attempts: list[int] = []
        self.fault = fault
        self.closed = False

    def send(self, number: int, event: Event) -> None:
        self.attempts.append(number)
        if self.fault is not None:
            raise self.fault
        self.sent.append((number, event.label))

    def close(self) -> None:
        self.closed = True


def test_events_are_told_in_order_under_their_numbers(tmp_path: Path) -> None:
    sink = Collector()
    heard: list[Event] = []
    with Outputs([sink, CallbackSink("list", heard.append)], log_file=tmp_path / "events.sqlite") as outputs:
        for index in range(100):
            outputs.tell(event_of(str(index)))
    assert sink.sent == [(index + 1, str(index)) for index in range(100)]
    assert [event.label for event in heard] == [str(index) for index in range(100)]
    assert sink.closed
    assert outputs.counts["collector"] == (100, 0, 0, 0)


def test_a_dead_output_delays_neither_the_answers_nor_the_others() -> None:
    held = threading.Event()
    heard: list[Event] = []
    stuck = CallbackSink("stuck", lambda event: held.wait(60))
    outputs = Outputs([stuck, CallbackSink("list", heard.append)])
    began = time.perf_counter()
    for index in range(1000):
        outputs.tell(event_of(str(index)))
    assert time.perf_counter() - began < 1
    wait_until(lambda: len(heard) == 1000)
    assert outputs.counts["stuck"] == (0, 0, 0, 1000)
    began = time.perf_counter()
    outputs.close(0.2)
    assert time.perf_counter() - began < 2
    held.set()
