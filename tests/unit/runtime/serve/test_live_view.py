"""The live picture and its answers, as viewers of a server get them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from runtime.camera.reader import FrameReader
from runtime.live.stabilizer import Stabilizer
from runtime.outputs.event import Event
from runtime.serve.limits import ServeLimits
from runtime.serve.live_view import LiveView
from runtime.testing import FakeCamera, FakeInterpreter
from tests.support.serving import Served, encoded, served

pytestmark = pytest.mark.fast

LABELS = ("closed", "open")
ROWS = [[0.9, 0.1]] * 5 + [[0.2, 0.8]] * 5


@contextmanager
def watched(rounds: int = 200, fps: float = 50, **options: Any) -> Iterator[tuple[Served, list[Event]]]:
    """A server with a camera whose door opens and closes, and the changes that it has told."""
    told: list[Event] = []
    classifier = FakeInterpreter(LABELS, ROWS).classifier()
    camera = FakeCamera([encoded(1, 16, "JPEG"), encoded(2, 16)], fps=fps, rounds=rounds)
    live = LiveView(FrameReader(camera), classifier, Stabilizer(LABELS, stable=(2, 3)), told.append)
    with served(live=live, **options) as server:
        yield server, told


def events(server: Served, count: int, timeout: float = 20) -> list[tuple[str, Any]]:
    """The first events of a viewer."""
    found: list[tuple[str, Any]] = []
    connection = server.connect(b"GET /v1/live/events HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=timeout)
    with connection, connection.makefile("rb") as lines:
        name = ""
        while len(found) < count:
            line = lines.readline()
            assert line, "the stream has ended"
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                found.append((name, json.loads(line[6:])))
    return found


def test_a_viewer_gets_history_answers_and_changes() -> None:
    with watched() as (server, told):
        found = events(server, 12)
        again = events(server, 1)
    names = [name for name, _ in found]
    assert names[0] == "history"
    assert {"answer", "change"} <= {*names}
    answer = next(value for name, value in found if name == "answer")
    assert answer["scores"].keys() == {*LABELS}
    assert "picture" not in answer
    labels = [value["label"] for name, value in found if name == "change"]
    assert all(before != after for before, after in pairwise(labels))
    assert again[0][0] == "history"
    assert [change["label"] for change in again[0][1]] == [event.label for event in told[: len(again[0][1])]][-20:]


def test_the_picture_is_a_jpeg_and_the_counts_are_there() -> None:
    with watched() as (server, _):
        events(server, 2)
        picture = server.ask("/v1/live/picture.jpg")
        assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")
        assert picture.body.startswith(b"\xff\xd8\xff")
        value = server.ask("/v1/live").value
        assert value["answer"]["label"] in (*LABELS, "unknown")
        assert value["statistics"]["answered"] > 0
        metrics = server.ask("/metrics").body.decode()
        assert "pocketlens_frames_total " in metrics
        assert "pocketlens_frames_dropped_total " in metrics
        assert "/v1/live" in server.ask("/openapi.json").value["paths"]


def test_before_the_first_frame_there_is_no_picture() -> None:
    with watched(fps=0.01) as (server, _):
        early = server.ask("/v1/live/picture.jpg")
        assert (early.status, early.headers["retry-after"]) == (503, "1")


def test_viewers_are_limited_and_a_viewer_that_goes_makes_room() -> None:
    with watched(limits=ServeLimits(viewers=1)) as (server, _):
        request = b"GET /v1/live/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with server.connect(request) as viewer:
            assert b"200 OK" in viewer.recv(1000)
            refused = server.ask("/v1/live/events")
            assert (refused.status, "1 viewers, the limit" in refused.value["error"]) == (503, True)
        end = time.monotonic() + 20
        answer = b""
        while answer != b"HTTP/1.1 200":
            assert time.monotonic() < end
            time.sleep(0.1)
            with server.connect(request) as viewer:
                answer = viewer.recv(12)


def test_a_source_that_ends_is_a_problem_that_is_told(messages: list[str]) -> None:
    with watched(rounds=2) as (server, _):
        found = events(server, 3)
        while found[-1][0] != "problem":
            found += events(server, 2)
        assert found[-1][1] == {"error": "the source has ended"}
        health = server.ask("/healthz")
        assert (health.status, health.value["status"]) == (503, "failed")
        assert server.ask("/v1/classify", encoded()).status == 200
    assert any("stands still: the source has ended" in message for message in messages)
