"""A model file that is replaced while it answers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from runtime import InterpreterError, ModelFileError, ModelFollower
from runtime.camera.reader import FrameReader
from runtime.deployment import open_slot
from runtime.deployment.health import read_health
from runtime.deployment.state import Probation
from runtime.live.engine import LiveEngine
from runtime.live.stabilizer import Stabilizer
from runtime.outputs.event import Event
from runtime.testing import FakeCamera
from tests.support.slots import (
    LABELS,
    blind_weights,
    filled_slot,
    nan_weights,
    put,
    release_of,
    slot_model,
    unsure_weights,
    until,
)

pytestmark = pytest.mark.fast

OLD, NEW = slot_model(1), slot_model(2)
BLIND = slot_model(3, weights=blind_weights())
LIGHT = np.full((8, 8), 255, np.uint8)
SOON = 0.02


def replace(path: Path, content: bytes) -> None:
    """Rename a model into another one's place."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


def digest(content: bytes) -> str:
    return release_of(content, 1).sha256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(OLD)
    return path


def test_a_model_that_is_renamed_into_its_place_answers(path: Path, messages: list[str]) -> None:
    with ModelFollower(path, check_every=SOON) as model:
        assert model.classify(LIGHT)[0].label == "light"
        replace(path, BLIND)
        until(lambda: model.classify(LIGHT)[0].label == "dark")
        assert model.sha256 == digest(BLIND)
    assert any("answers from now on" in line for line in messages)


def test_the_first_model_stays_where_nothing_is_followed(path: Path) -> None:
    with ModelFollower(path, check_every=SOON, follows=False) as model:
        replace(path, BLIND)
        time.sleep(10 * SOON)
        assert model.sha256 == digest(OLD)


@pytest.mark.parametrize("content", [NEW[:-50], b"", b"x" * 1000, slot_model(3, weights=nan_weights())[:600]])
def test_what_does_not_load_is_said_once_and_the_old_model_answers(
    path: Path, messages: list[str], content: bytes
) -> None:
    with ModelFollower(path, check_every=SOON) as model:
        replace(path, content)
        until(lambda: any("answers on" in line for line in messages))
        time.sleep(10 * SOON)
        assert model.classify(LIGHT)[0].label == "light"
        assert len([line for line in messages if "answers on" in line]) == 1
        replace(path, BLIND)
        until(lambda: model.sha256 == digest(BLIND))


def test_a_file_that_is_still_being_copied_is_not_read(path: Path, messages: list[str]) -> None:
    with ModelFollower(path, check_every=0.2) as model, path.open("wb") as file:
        for start in range(0, len(BLIND), len(BLIND) // 8):
            file.write(BLIND[start : start + len(BLIND) // 8])
            file.flush()
            time.sleep(0.08)
        until(lambda: model.sha256 == digest(BLIND))
    assert not [line for line in messages if "answers on" in line]


def test_a_model_that_was_removed_answers_on(path: Path) -> None:
    with ModelFollower(path, check_every=SOON) as model:
        path.unlink()
        time.sleep(5 * SOON)
        assert model.classify(LIGHT)[0].label == "light"
        replace(path, BLIND)
        until(lambda: model.sha256 == digest(BLIND))


def test_a_model_with_other_labels_needs_a_new_start(path: Path, messages: list[str]) -> None:
    wanted = threading.Event()
    with ModelFollower(path, check_every=SOON, needs_restart=wanted.set) as model:
        replace(path, slot_model(2, labels=("dark", "bright")))
        assert wanted.wait(20)
        assert model.classify(LIGHT)[0].label == "light"
    assert any("new start" in line for line in messages)


def test_a_first_model_that_does_not_load_raises(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(NEW[:-9])
    with pytest.raises(ModelFileError, match=r"model\.tflite"):
        ModelFollower(tmp_path / "model.tflite")
    with pytest.raises(ModelFileError, match="cannot be opened"):
        ModelFollower(tmp_path / "missing.tflite")


def test_a_stream_loses_and_repeats_no_frame_while_the_model_is_replaced_twenty_times(path: Path) -> None:
    pictures = [np.full((16, 16, 3), 255 * (number % 2), np.uint8) for number in range(100)]
    camera = FakeCamera(pictures, fps=200, rounds=4)
    told: list[Event] = []
    shas: set[str] = set()
    with ModelFollower(path, check_every=SOON) as model:

        def tell(event: Event) -> None:
            told.append(event)
            shas.add(model.sha256)

        stabilizer = Stabilizer(LABELS, stable=(1, 1))
        engine = LiveEngine(FrameReader(camera, keep_all=True), model, stabilizer, tell, tell_every=True)
        running = threading.Thread(target=engine.run)
        running.start()
        for number in range(20):
            fresh = slot_model(number + 10)
            replace(path, fresh)
            until(lambda fresh=fresh: model.sha256 == digest(fresh))  # type: ignore[misc]
            time.sleep(0.02)
        running.join()
    assert engine.statistics.frames == engine.statistics.answered == len(told) == 400
    assert engine.statistics.dropped == 0
    assert [event.label for event in told] == ["dark", "light"] * 200
    assert len({event.time for event in told}) == 400
    assert len(shas) > 15


def test_the_threshold_of_the_newest_model_counts(path: Path) -> None:
    path.write_bytes(slot_model(1, weights=unsure_weights()))
    labels = []
    with ModelFollower(path, check_every=SOON) as model:
        camera = FakeCamera([LIGHT], fps=200, rounds=2000)
        stabilizer = Stabilizer.for_model(model.current().contract, stable=(1, 1))
        fresh = slot_model(2, weights=unsure_weights(), threshold=0.9999)

        def tell(event: Event) -> None:
            labels.append(event.label)
            if event.label == "unknown":
                engine.stop()

        engine = LiveEngine(FrameReader(camera), model, stabilizer, tell)
        threading.Timer(0.1, replace, (path, fresh)).start()
        engine.run()
    assert labels[-1] == "unknown"
    assert len(labels) == 2


def test_a_slot_learns_what_its_model_does(tmp_path: Path) -> None:
    with filled_slot(tmp_path / "door", OLD) as slot:
        with ModelFollower(slot.model, kind="live", check_every=SOON) as model:
            for _ in range(5):
                model.classify(LIGHT)
            put(slot, slot_model(2, threshold=0.9999999), 2, probation=60.0)
            until(lambda: model.sha256 != digest(OLD))
            for level in (90, 130):
                model.classify(np.full((8, 8), level, np.uint8))
        (health,) = read_health(slot.health)
        assert health.service.startswith("live-")
        assert health.phase == "ended"
        assert health.models[digest(OLD)].answers == 5
        assert health.models[model.sha256][:3] == (2, 2, 0)


def test_a_camera_counts_one_answer_a_second(tmp_path: Path) -> None:
    with filled_slot(tmp_path / "door", OLD) as slot:
        with ModelFollower(slot.model, follows=False) as model:
            reader = FrameReader(FakeCamera([LIGHT], fps=100, rounds=130))
            LiveEngine(reader, model, Stabilizer(LABELS), lambda _event: None).run()
        (health,) = read_health(slot.health)
        assert health.models[digest(OLD)].answers == 2


def test_a_model_that_gives_no_numbers_never_takes_over(tmp_path: Path, messages: list[str]) -> None:
    bad = slot_model(2, weights=nan_weights())
    with filled_slot(tmp_path / "door", OLD) as slot, ModelFollower(slot.model, check_every=SOON) as model:
        slot.write_state(slot.state._replace(current=release_of(bad, 2), probation=Probation.starting(60)))
        replace(slot.model, bad)
        until(lambda: any("answers on" in line for line in messages))
        assert model.classify(LIGHT)[0].label == "light"
        (health,) = read_health(slot.health)
        assert (health.phase, health.model) == ("answering", digest(OLD))
        assert health.models[digest(bad)].load_failures == 1


def test_the_folder_may_become_a_slot_while_the_model_runs(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "model.tflite").write_bytes(OLD)
    with ModelFollower(tmp_path / "door" / "model.tflite", check_every=SOON) as model:
        with open_slot(tmp_path / "door") as slot:
            assert slot.current is not None
            put(slot, BLIND, 2, probation=60.0)
            assert slot.probation is not None
        until(lambda: model.sha256 == digest(BLIND))
        model.classify(LIGHT)
    (health,) = read_health(slot.health)
    assert health.models[digest(BLIND)].answers == 1


def test_an_error_of_a_model_on_probation_is_counted(tmp_path: Path) -> None:
    bad = slot_model(2, weights=nan_weights())
    with filled_slot(tmp_path / "door", OLD, bad) as slot:
        slot.write_state(slot.state._replace(probation=Probation.starting(60)))
        with ModelFollower(slot.model) as model, pytest.raises(InterpreterError, match="NaN"):
            model.classify(LIGHT)
        (health,) = read_health(slot.health)
        assert health.models[digest(bad)].errors == 1


@pytest.mark.skipif(os.cpu_count() == 1, reason="loading and answering share the only processor")
def test_no_answer_waits_long_for_a_load(path: Path) -> None:
    waits: list[float] = []
    with ModelFollower(path, check_every=SOON) as model:
        replace(path, NEW)
        while model.sha256 != digest(NEW) or len(waits) < 200:
            began = time.perf_counter()
            model.classify(LIGHT)
            waits.append(time.perf_counter() - began)
    assert sorted(waits)[-2] < 0.25, "one may be the scheduler's"
