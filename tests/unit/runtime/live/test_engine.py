"""The loop of a live camera, and its motion gate, with frames whose times are given."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import ContractError
from runtime.camera.frame import Frame, Picture, Region
from runtime.camera.reader import FrameReader
from runtime.camera.stopping import Stop
from runtime.images import Pixels
from runtime.live.engine import LiveEngine, changes
from runtime.live.motion import MotionGate
from runtime.live.stabilizer import Stabilizer
from runtime.outputs.event import Event
from runtime.testing import FakeCamera, FakeInterpreter

pytestmark = pytest.mark.fast

LABELS = ("open", "shut")


def picture(value: int = 0, size: tuple[int, int] = (32, 24)) -> Pixels:
    return np.full((size[1], size[0], 3), value, np.uint8)


def as_jpeg(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def live(
    pictures: Sequence[Any], scores: Sequence[Sequence[float]], stable: tuple[int, int] = (1, 1), **options: Any
) -> tuple[list[Event], LiveEngine, FakeInterpreter]:
    """What is told about pictures, the engine, and the interpreter that answered them."""
    fake, told = FakeInterpreter(LABELS, scores), list[Event]()
    stabilizer = Stabilizer(LABELS, stable=stable)
    engine = LiveEngine(FrameReader(FakeCamera(pictures)), fake.classifier(), stabilizer, told.append, **options)
    engine.run()
    return told, engine, fake


def test_it_tells_changes_alone() -> None:
    scores = [(0.9, 0.1), (0.8, 0.2), (0.3, 0.7), (0.9, 0.1), (0.1, 0.9), (0.2, 0.8)]
    told, engine, _ = live([picture()] * 6, scores, stable=(2, 3))
    assert [(event.label, event.previous, event.frames) for event in told] == [("open", None, 2), ("shut", "open", 2)]
    assert told[0].source == "fake"
    assert told[0].since < told[0].time
    assert list(told[1].scores) == ["shut", "open"]
    assert told[1].age_ms is not None
    assert told[1].age_ms >= 0
    found = engine.statistics
    assert (found.frames, found.answered, found.changes, found.dropped, found.unreadable) == (6, 6, 2, 0, 0)


def test_it_tells_every_answer_with_pictures_if_asked() -> None:
    jpeg = as_jpeg(picture(90))
    told, _, _ = live([jpeg, picture(90)], [(0.9, 0.1), (0.2, 0.8)], tell_every=True, takes_pictures=True)
    assert [event.label for event in told] == ["open", "shut"]
    assert told[0].picture == jpeg
    assert told[1].picture is not None
    assert np.asarray(Image.open(io.BytesIO(told[1].picture))).mean() == pytest.approx(90, abs=1)
    assert live([jpeg], [(0.9, 0.1)])[0][0].picture is None


def test_frames_that_cannot_be_read_are_counted_and_end_nothing(messages: list[str]) -> None:
    bad = [b"\xff\xd8\xff garbage", b"", as_jpeg(picture())[:200]]
    told, engine, _ = live([*bad, picture()], [(0.9, 0.1)])
    assert [event.label for event in told] == ["open"]
    assert engine.statistics.unreadable == 3
    assert len(messages) == 1, "the same trouble again is silent for a while"
    assert messages[0].startswith("warning: fake: frame 1: ")


def test_each_answer_is_seen_with_its_picture() -> None:
    seen: list[tuple[str, bytes | None]] = []

    def see(event: Event, jpeg: Callable[[], bytes | None]) -> None:
        seen.append((event.label, jpeg()))

    data = as_jpeg(picture())
    live([data] * 3, [(0.9, 0.1)], see=see)
    assert seen == [("open", data)] * 3


def test_a_region_is_what_the_model_gets() -> None:
    half = picture()
    half[:, 16:] = 200
    for given in (half, as_jpeg(half)):
        _, _, fake = live([given], [(0.9, 0.1)], region=Region(0.5, 0, 0.5, 1))
        np.testing.assert_allclose(fake.inputs[0], 200 / 255, atol=0.02)


def test_a_source_that_fails_and_is_not_started_again_ends_it() -> None:
    class Broken(FakeCamera):
        def pictures(self, stop: Stop) -> Iterator[Picture]:
            yield from super().pictures(stop)
            raise OSError("the disk is gone")

    engine = LiveEngine(
        FrameReader(Broken([picture()])),
        FakeInterpreter(LABELS, [(0.9, 0.1)]).classifier(),
        Stabilizer(LABELS, stable=(1, 1)),
        lambda _event: None,
    )
    with pytest.raises(OSError, match="the disk is gone"):
        engine.run()
    assert engine.latest is not None


def test_it_is_stopped_from_another_thread() -> None:
    camera = FakeCamera([picture()], fps=200, rounds=10**9)
    told: list[Event] = []
    engine = LiveEngine(
        FrameReader(camera),
        FakeInterpreter(LABELS, [(0.9, 0.1)]).classifier(),
        Stabilizer(LABELS, stable=(1, 1)),
        told.append,
    )
    thread = threading.Thread(target=engine.run)
    before = threading.active_count()
    thread.start()
    while not told:
        assert thread.is_alive()
    engine.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert threading.active_count() == before


def test_readings_are_refused() -> None:
    plant = FakeInterpreter(["dry", "wet"], [[0.9, 0.1]], features=("moisture", "light")).classifier()
    with pytest.raises(ContractError, match="a camera gives images"):
        LiveEngine(FrameReader(FakeCamera([picture()])), plant, Stabilizer(["dry", "wet"]), lambda _event: None)


class TimedReader(FrameReader):
    """Gives frames with the times of a list."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__(FakeCamera([]))
        self._list = list(frames)

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def take(self, timeout: float) -> Frame | None:
        return self._list.pop(0) if self._list else None

    @property
    def ended(self) -> bool:
        return not self._list


def timed(pictures: Sequence[Any], fps: float, **options: Any) -> tuple[int, LiveEngine]:
    """The number of calls of the model about pictures of a rate, and the engine."""
    frames = [Frame(one, None, n / fps, n / fps, "timed", n + 1) for n, one in enumerate(pictures)]
    fake = FakeInterpreter(LABELS, [(0.9, 0.1)])
    engine = LiveEngine(
        TimedReader(frames), fake.classifier(), Stabilizer(LABELS), lambda _event: None, clock=lambda: 0.0, **options
    )
    engine.run()
    return len(fake.inputs), engine


def test_at_most_one_answer_in_a_time() -> None:
    calls, engine = timed([picture()] * 100, fps=10, every=2.0)
    assert calls == 5
    assert engine.statistics.skipped == 95


@cache
def noisy(seed: int, shift: float = 0.0) -> Pixels:
    values = np.random.default_rng(seed).normal(100 + shift, 6, (240, 320, 3))
    return values.clip(0, 255).astype(np.uint8)


def test_a_still_scene_needs_no_answers() -> None:
    calls, engine = timed([noisy(seed % 7) for seed in range(200)], fps=20, motion=MotionGate())
    assert calls == 40, "the first two seconds, so that there is an answer"
    assert engine.statistics.still == 160


def test_something_that_moves_is_answered_until_it_is_gone_for_two_seconds() -> None:
    pictures = [noisy(seed % 7) for seed in range(200)]
    for number in range(100, 120):
        pictures[number] = pictures[number].copy()
        pictures[number][100:140, 5 * (number - 100) : 5 * (number - 100) + 40] = 220
    calls, _ = timed(pictures, fps=20, motion=MotionGate())
    assert 40 + 55 <= calls <= 40 + 62


def test_what_moves_outside_of_the_region_does_not_count() -> None:
    pictures = [noisy(seed % 7) for seed in range(200)]
    for number in range(100, 200):
        pictures[number] = pictures[number].copy()
        pictures[number][100:140, number : number + 40] = 220
    region = Region(0, 0.7, 1, 0.3)
    assert timed(pictures, fps=20, motion=MotionGate(region=region), region=region)[0] == 40


def test_a_change_of_the_exposure_is_no_motion() -> None:
    pictures = [noisy(seed % 7, shift=30.0 if seed > 100 else 0.0) for seed in range(200)]
    assert timed(pictures, fps=20, motion=MotionGate())[0] == 40


def test_what_was_left_lying_becomes_background() -> None:
    pictures = [noisy(seed % 7) for seed in range(1200)]
    for number in range(100, 1200):
        pictures[number] = pictures[number].copy()
        pictures[number][100:140, 100:160] = 220
    calls, _ = timed(pictures, fps=20, motion=MotionGate())
    assert 40 < calls < 800


@pytest.mark.parametrize("layout", [None, "bgr", "yuv420", "jpeg", "grey"])
def test_small_grey_copies(layout: str | None) -> None:
    array: Any = picture(120, (640, 480))
    if layout == "yuv420":
        array = np.full((720, 640), 120, np.uint8)
    elif layout == "grey":
        array, layout = array[:, :, 0], None
    elif layout == "jpeg":
        array, layout = as_jpeg(array), None
    grey = Frame(array, layout, 0, 0, "", 1).small_grey(Region(0, 0, 1, 0.5), 80)
    assert grey.shape == (30, 80)
    np.testing.assert_allclose(grey, 120, atol=1)


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        MotionGate(share)


def test_spans_of_statistics() -> None:
    _, engine, _ = live([picture()] * 3, [(0.9, 0.1)])
    first, second = engine.next_span(), engine.next_span()
    assert (first.frames, first.answered, second.frames, second.answered) == (3, 3, 0, 0)
    assert second.mean_age_ms is None
    assert engine.statistics.answered == 3
    figures = first._replace(seconds=1.5, dropped=1).as_dict()
    assert (figures["frames_per_second"], figures["dropped_share"]) == (2.0, 0.3333)
    assert "2.0 frames/s, 2.0 answered/s, 33 % dropped" in first._replace(seconds=1.5, dropped=1).text()


def test_changes_for_a_script() -> None:
    door = FakeInterpreter(LABELS, [(0.9, 0.1)] * 5 + [(0.2, 0.8)] * 4 + [(0.8, 0.2)]).classifier()
    stabilizer = Stabilizer(LABELS, stable=(1, 1))
    found = list(changes(door, FakeCamera([picture()], rounds=10), stabilizer, takes_pictures=True))
    assert [event.label for event in found] == ["open", "shut", "open"]
    assert all(event.picture for event in found)
