"""Signs of life: at once, again and again, and through an outage of the database."""

from __future__ import annotations

import logging
import threading

import pytest

from exporter.errors import StorageError
from exporter.search.heartbeat import Heartbeat

pytestmark = pytest.mark.fast


def test_a_step_beats_until_it_is_released_and_an_outage_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    beats: list[int] = []
    enough = threading.Event()

    def record(key: int) -> None:
        beats.append(key)
        if 3 < len(beats) < 7:
            raise StorageError("the server is away; start it")
        if len(beats) > 8:
            enough.set()

    heart = Heartbeat(record, 0.01)
    heart.hold(7)
    assert beats == [7], "the first sign is written at once"
    assert enough.wait(20)
    heart.release(7)
    heart.close()
    count = len(beats)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the server is away" in caplog.text
    heart.close()
    assert len(beats) == count


def test_a_step_is_not_held_where_its_first_sign_cannot_be_written() -> None:
    def fails(_: int) -> None:
        raise StorageError("away")

    heart = Heartbeat(fails, 0.01)
    with pytest.raises(StorageError):
        heart.hold(1)
    assert heart._thread is None
