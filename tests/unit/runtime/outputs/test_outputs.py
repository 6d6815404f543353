"""Queues, threads and the log on the disk: what is told, in which order, and what survives."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from runtime.outputs.event import Event
from runtime.outputs.event_log import EventLog, EventLogError
from runtime.outputs.event_queue import EventQueue, PictureBudget
from runtime.outputs.outputs import OutputCounts, Outputs, RepeatedWarning
from runtime.outputs.sink import CallbackSink, OutputError, Sink
from tests.support.outputs import event_of, wait_until

ROOT = Path(__file__).parents[4]


class Collector(Sink):
    """Keeps the numbers and labels that it is sent; fails while `fault` says so."""

    name = "collector"
    pauses = (0.001, 0.001)
    takes_pictures = True

    def __init__(self, fault: OutputError | None = None) -> None:
        self.sent: list[tuple[int, str]] = []
        self.pictures: list[bytes | None] = []
        self.fault = fault
        self.closed = False

    def send(self, number: int, event: Event) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append((number, event.label))
        self.pictures.append(event.picture)

    def close(self) -> None:
        self.closed = True


def test_events_are_told_in_order_under_their_numbers(tmp_path: Path) -> None:
    sink = Collector()
    heard: list[Event] = []
    with Outputs([sink, CallbackSink("list", heard.append)], log_file=tmp_path / "events.sqlite") as outputs:
        for index in range(100):
            outputs.tell(event_of(str(index), picture=b"picture"))
    assert sink.sent == [(index + 1, str(index)) for index in range(100)]
    assert sink.pictures == [b"picture"] * 100
    assert [event.label for event in heard] == [str(index) for index in range(100)]
    assert heard[0].picture is None, "it wanted none"
    assert sink.closed
    assert outputs.counts["collector"] == OutputCounts(told=100, dropped=0, failed=0, waiting=0)


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
    assert outputs.counts["stuck"] == OutputCounts(0, 0, 0, 1000)
    began = time.perf_counter()
    outputs.close(0.2)
    assert time.perf_counter() - began < 2
    held.set()


def test_what_waits_is_told_after_a_restart_and_the_rest_is_not(tmp_path: Path) -> None:
    dead = Collector(OutputError("collector: nobody is there"))
    dead.pauses = (60, 60)
    outputs = Outputs([dead], log_file=tmp_path / "state" / "events.sqlite")
    for label in "abc":
        outputs.tell(event_of(label, picture=label.encode()))
    outputs.close(0.1)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    late = Collector()
    late.name = "a new output"
    alive = Collector()
    with Outputs([alive, late], log_file=tmp_path / "state" / "events.sqlite") as outputs:
        outputs.tell(event_of("d"))
    assert alive.sent == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert alive.pictures == [b"a", b"b", b"c", None]
    assert late.sent == [(4, "d")], "an output is told what happens from its start on"
    with sqlite3.connect(tmp_path / "state" / "events.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_beyond_the_queue_the_oldest_goes_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead = Collector(OutputError("collector: nobody is there"))
    dead.pauses = (60, 60)
    outputs = Outputs([dead], queue=10, log_file=tmp_path / "events.sqlite")
    for index in range(25):
        outputs.tell(event_of(str(index)))
    assert outputs.counts["collector"] == OutputCounts(told=0, dropped=15, failed=0, waiting=10)
    outputs.close(0.1)
    overflow = [line for line in caplog.messages if "dropped" in line]
    assert len(overflow) == 1, "told at growing intervals"
    assert "10 events wait, the most that `queue` allows; the oldest is dropped, 1 so far" in overflow[0]
    alive = Collector()
    with Outputs([alive], log_file=tmp_path / "events.sqlite"):
        pass
    assert [label for _, label in alive.sent] == [str(index) for index in range(15, 25)]


def test_a_kill_loses_no_event_that_was_told(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from runtime.outputs.outputs import Outputs
        from tests.support.outputs import event_of
        from tests.unit.runtime.outputs.test_outputs import Collector
        from runtime.outputs.sink import OutputError
        outputs = Outputs([Collector(OutputError("nobody"))], log_file=Path(sys.argv[1]))
        for index in range(500):
            outputs.tell(event_of(str(index)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "events.sqlite")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -9
    alive = Collector()
    with Outputs([alive], log_file=tmp_path / "events.sqlite"):
        pass
    assert [label for _, label in alive.sent] == [str(index) for index in range(500)]


def test_a_second_process_with_the_same_log_is_refused(tmp_path: Path) -> None:
    with (
        Outputs([Collector()], log_file=tmp_path / "events.sqlite"),
        pytest.raises(EventLogError, match="another process keeps its events here; stop it, or name another folder"),
    ):
        Outputs([Collector()], log_file=tmp_path / "events.sqlite")


@pytest.mark.parametrize("content", [b"no database, " * 500, b""])
def test_a_damaged_log_is_moved_aside(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(content)
    if not content:  # a database of somebody else
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE events (number INTEGER PRIMARY KEY)")
    sink = Collector()
    with Outputs([sink], log_file=path) as outputs:
        outputs.tell(event_of("open"))
    assert sink.sent == [(1, "open")]
    assert "damaged" in caplog.text
    assert Path(f"{path}.damaged").exists()


def test_a_damaged_event_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(tmp_path / "events.sqlite", ["collector"])
    for number in (1, 2, 3):
        log.add(number, event_of(str(number)))
    log.close()
    with sqlite3.connect(tmp_path / "events.sqlite") as connection:
        connection.execute("UPDATE events SET document = ? WHERE number = 2", (json.dumps({"time": "x"}),))
    sink = Collector()
    with Outputs([sink], log_file=tmp_path / "events.sqlite"):
        pass
    assert [number for number, _ in sink.sent] == [1, 3]
    assert "event 2 is damaged" in caplog.text


def test_answers_go_on_where_nothing_can_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    sink = Collector()
    with Outputs([sink], log_file=tmp_path / "file" / "events.sqlite") as outputs:
        outputs.tell(event_of("open"))
    assert sink.sent == [(1, "open")]
    assert "waiting events cannot be kept on the disk: " in caplog.text
    assert "name another folder with `state`; a restart would lose what waits" in caplog.text


def test_a_full_disk_is_said_once_and_events_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Collector()
    with Outputs([sink], log_file=tmp_path / "events.sqlite") as outputs:
        assert outputs._event_log is not None
        outputs._event_log._writer.execute("PRAGMA max_page_count=1")
        for index in range(50):
            outputs.tell(event_of(str(index), picture=bytes(10_000)))
        wait_until(lambda: len(sink.sent) == 50)
    assert [label for _, label in sink.sent] == [str(index) for index in range(50)]
    assert len([line for line in caplog.messages if "database or disk is full" in line]) == 1


def test_pictures_that_wait_are_bounded_in_memory_and_on_the_disk(tmp_path: Path) -> None:
    budget = PictureBudget(1000)
    assert [budget.add(number, 400) for number in (1, 2, 3)] == [[], [], [1]]
    budget.release(2)
    assert budget.add(4, 600) == []
    assert budget.add(5, 2000) == [3, 4, 5]
    queue = EventQueue(100)
    queue._pictures = PictureBudget(1000)
    log = EventLog(tmp_path / "events.sqlite", ["x"])
    log._pictures = PictureBudget(1000)
    for number in range(1, 6):
        queue.put(number, event_of("open", picture=bytes(400)))
        log.add(number, event_of("open", picture=bytes(400)))
    for pending in (list(queue._events.items()), list(log.pending("x"))):
        assert [number for number, event in pending if event.picture] == [4, 5]
        assert len(pending) == 5
    log.close()


def test_a_reader_that_has_ended_ends_the_telling() -> None:
    def broken(_event: Event) -> None:
        raise BrokenPipeError

    outputs = Outputs([CallbackSink("standard output", broken)])

    def tell() -> bool:
        try:
            outputs.tell(event_of("open"))
        except BrokenPipeError:
            return True
        return False

    wait_until(tell)
    outputs.close(1)


def test_a_fault_of_ours_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Collector):
        def send(self, number: int, event: Event) -> None:
            if event.label == "bad":
                raise ZeroDivisionError("a fault")
            super().send(number, event)

    sink = Faulty()
    with Outputs([sink]) as outputs:
        for label in ("bad", "good"):
            outputs.tell(event_of(label))
        wait_until(lambda: sink.sent)
    assert outputs.counts["collector"].failed == 1
    assert "collector: unexpected ZeroDivisionError: a fault" in caplog.text


def test_a_trouble_that_repeats_is_said_at_growing_intervals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runtime")
    now = [0.0]
    trouble = RepeatedWarning(lambda: now[0])
    said = []
    for second in range(3600):
        now[0] = float(second)
        caplog.clear()
        trouble.warn("no")
        if caplog.messages:
            said.append(second)
    assert said[:5] == [0, 10, 30, 70, 150]
    assert len(said) < 12
    caplog.clear()
    trouble.end("works again")
    trouble.end("works again")
    assert caplog.messages == ["works again"]


def test_events_survive_their_document() -> None:
    event = event_of("open", picture=b"picture")
    assert Event.from_dict(json.loads(json.dumps(event.as_dict())), b"picture") == event
    assert "picture" not in event.as_dict()
    changes: list[dict[str, object]] = [{"time": "x"}, {"score": float("nan")}, {"scores": []}, {"label": None}]
    for change in changes:
        with pytest.raises((ValueError, TypeError, AttributeError)):
            Event.from_dict({**event.as_dict(), **change})


def test_long_use_leaves_nothing_behind(tmp_path: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted
    for _ in range(5):
        with Outputs([Collector()], log_file=tmp_path / "events.sqlite") as outputs:
            for index in range(200):
                outputs.tell(event_of(str(index)))
    assert len(os.listdir("/proc/self/fd")) <= handles  # noqa: PTH208
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketlens-")]
    assert (tmp_path / "events.sqlite").stat().st_size < 100_000
