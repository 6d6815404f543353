"""Measures `pocketlens live`: its rate beside a loop by hand, the age of answers, idle scenes, and a day's memory.

`python -m benchmarks.live` prints a table; the exit status is 1 if a bound is missed. Each function takes its size, so
that the tests run small versions of what is not timed.
"""

from __future__ import annotations

import argparse
import gc
import io
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import documentation, materials
from benchmarks.soak.__main__ import settled_mb
from benchmarks.table import Row, line
from runtime import Classifier
from runtime.camera.byte_sources import StandardInput
from runtime.camera.frame import Frame, Picture
from runtime.camera.reader import FrameReader
from runtime.camera.stopping import Stop
from runtime.images import Pixels
from runtime.live.engine import LiveEngine
from runtime.live.motion import MotionGate
from runtime.live.stabilizer import Stabilizer
from runtime.native_output import held_stderr
from runtime.outputs.event import Event
from runtime.testing import FakeCamera, FakeInterpreter

_FPS = 30.0
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"


def by_hand(clip: Path, interpreter: Any, input: dict[str, Any], output: dict[str, Any]) -> list[int]:
    """The best output for each frame, as a script does it: split, decode, resize, invoke."""
    _, height, width, channels = input["shape"]
    found, rest = [], b""
    with clip.open("rb") as stream:
        while chunk := stream.read(65536):
            rest += chunk
            while (start := rest.find(_SOI)) >= 0 and (end := rest.find(_EOI, start)) >= 0:
                frame, rest = rest[start : end + 2], rest[end + 2 :]
                image = Image.open(io.BytesIO(frame)).convert("L" if channels == 1 else "RGB").resize((width, height))
                data: Any = np.array(image).reshape(1, height, width, channels)
                interpreter.set_tensor(input["index"], data.astype(input["dtype"]))
                interpreter.invoke()
                found.append(int(interpreter.get_tensor(output["index"])[0].argmax()))
    return found


def by_live(clip: Path, classifier: Classifier, tell: Callable[[Event], object]) -> LiveEngine:
    """Answer each frame of a clip, read as `live -` does."""
    handle = os.open(clip, os.O_RDONLY)
    try:
        stabilizer = Stabilizer.for_model(classifier.contract, stable=(1, 1))
        reader = FrameReader(StandardInput(handle=handle))
        engine = LiveEngine(reader, classifier, stabilizer, tell, tell_every=True)
        engine.run()
    finally:
        os.close(handle)
    return engine


def wrong_answers(clip: Path, frames: Sequence[bytes], classifier: Classifier) -> int:
    """How many frames of a clip are answered otherwise than by `classify`; one that is missing counts."""
    told: list[Event] = []
    by_live(clip, classifier, told.append)
    expected = [classifier.classify(frame, top=1)[0] for frame in frames]
    right = sum((event.label, event.score) == best[:2] for event, best in zip(told, expected, strict=False))
    return max(len(expected), len(told)) - right


def rates(models: Path, passes: int) -> Iterator[Row]:
    """Frames a second of a clip of 500 frames of 640x480, read by a loop by hand and by ours, in turn."""
    frames = [Path(path).read_bytes() for path in materials.photos()]
    clip = materials.HOME / "clip.mjpeg"
    clip.write_bytes(b"".join(frames))
    model = models / "small-int8.tflite"
    interpreter, input, output = documentation.load(str(model))
    seconds = [0.0, 0.0]
    with Classifier(model, interpreter="tflite_runtime") as classifier:
        wrong = wrong_answers(clip, frames, classifier)
        for _ in range(passes):
            began = time.perf_counter()
            by_hand(clip, interpreter, input, output)
            between = time.perf_counter()
            by_live(clip, classifier, lambda _event: None)
            seconds[0] += between - began
            seconds[1] += time.perf_counter() - between
    count = passes * len(frames)
    faster = seconds[0] / seconds[1]
    what = f"{count:,} MJPEG frames 640x480, small int8"
    yield Row(what, count / seconds[0], count / seconds[1], "frames/s", faster, ">= 1.5", faster >= 1.5)
    yield Row("wrong answers in them, against classify", None, wrong, "", wrong, "0", wrong == 0)


def ages(seconds: float, slower: float = 10.0, fps: float = _FPS) -> tuple[float, float]:
    """The greatest age of an answer without the call that gave it, in frame times; and the growth of memory in MB.

    Frames come through a pipe, and each call of the model takes `slower` frame times. The age counts from the moment
    when the frame was written. The camera goes on until the last answer, as a real one would.
    """
    period, written, read = 1 / fps, dict[int, float](), os.pipe()
    oldest, called, ended = 0.0, 0.0, threading.Event()

    class Slow(FakeInterpreter):
        def invoke(self) -> None:
            nonlocal called
            self.inputs.clear()
            called = -time.perf_counter()
            time.sleep(slower * period)
            called += time.perf_counter()

        def get_tensor(self, index: int) -> Any:
            return self._scores[0].copy()

    def write() -> None:
        began = time.perf_counter()
        for number in itertools.count():
            time.sleep(max(0.0, began + number * period - time.perf_counter()))
            if ended.is_set():
                break
            written[number % len(numbered)] = time.perf_counter()
            os.write(read[1], numbered[number % len(numbered)])
        os.close(read[1])

    photo = Path(materials.photos()[0]).read_bytes()
    numbered = [photo[:2] + b"\xff\xfe\x00\x06%04d" % number + photo[2:] for number in range(1000)]
    fake = Slow(["a", "b"], [(0.9, 0.1)], size=(28, 28), colour="grey")
    fake.classifier().classify(photo)  # what is imported by the first call
    before, began = settled_mb(), time.perf_counter()

    def tell(event: Event) -> None:
        nonlocal oldest
        assert event.picture is not None
        oldest = max(oldest, time.perf_counter() - written[int(event.picture[6:10])] - called)

    reader = FrameReader(StandardInput(handle=read[0]))
    engine = LiveEngine(
        reader, fake.classifier(), Stabilizer(["a", "b"], stable=(1, 1)), tell, tell_every=True, takes_pictures=True
    )
    thread = threading.Thread(target=write)
    thread.start()
    engine.run(lambda: time.perf_counter() - began < seconds)
    growth = settled_mb() - before
    ended.set()
    os.set_blocking(read[0], False)
    while thread.is_alive():  # the writer may wait for room in the pipe
        with suppress(BlockingIOError):
            os.read(read[0], 2**20)
        thread.join(0.01)
    os.close(read[0])
    return oldest / period, growth


def slow_model(seconds: float) -> Iterator[Row]:
    """The age of what is told, and memory, with a model ten times slower than the camera."""
    oldest, growth = ages(seconds)
    what = "age with a model of 10 frame times, without its call"
    yield Row(what, None, oldest, "frames", oldest, "<= 2", oldest <= 2)
    yield Row("growth of memory meanwhile", None, growth, "MB", growth, "<= 2", growth <= 2)


def idle(models: Path, seconds: float) -> Iterator[Row]:
    """Processor time for a scene in which nothing moves, with the motion gate and without, at 30 frames a second."""
    photo = Path(materials.photos()[0]).read_bytes()
    for name in ("mobilenet-int8", "small-int8"):
        used = []
        with Classifier(models / f"{name}.tflite") as classifier:
            for gate in (None, MotionGate()):
                camera = FakeCamera([photo], fps=_FPS, rounds=int((seconds + 3) * _FPS))
                stabilizer = Stabilizer.for_model(classifier.contract)
                engine = LiveEngine(FrameReader(camera), classifier, stabilizer, lambda _event: None, motion=gate)
                used.append(_processor_time(engine, after=3))
        share = used[1] / used[0]
        what = f"idle scene with --motion against without, {name}"
        yield Row(what, 1e3 * used[0] / seconds, 1e3 * used[1] / seconds, "ms/s", share, "<= 0.25", share <= 0.25)


def _processor_time(engine: LiveEngine, after: float) -> float:
    """Processor seconds of a run, without its first seconds, in which the gate is open."""
    began = time.monotonic()
    at_start = None

    def keep_going() -> bool:
        nonlocal at_start
        if at_start is None and time.monotonic() - began >= after:
            at_start = time.process_time()
        return True

    engine.run(keep_going)
    return time.process_time() - (at_start or 0.0)


def frames_of_a_day(count: int) -> Iterator[Pixels]:
    """Small pictures, of which some differ from the rest for a while."""
    rng = np.random.default_rng(0)
    still = rng.integers(100, 104, (16, 24, 24), np.uint8)
    moving = rng.integers(0, 256, (16, 24, 24), np.uint8)
    for number in range(count):
        yield (moving if number // 1000 % 10 == 0 else still)[number % 16]


def day(count: int) -> dict[str, float]:
    """A day of frames from memory, as fast as they go: growth of memory (MB), of open files and of threads."""
    fake = _Forgetful(["a", "b"], [(0.9, 0.1)] * 40 + [(0.2, 0.8)] * 40, size=(8, 8), colour="grey")
    told = 0

    def tell(_event: Event) -> None:
        nonlocal told
        told += 1

    def run(frames: int) -> None:
        # The times of a day of frames pass, whatever the clock on the wall says.
        reader = _Memory(frames_of_a_day(frames), 86_400 / count)
        engine = LiveEngine(
            reader, fake.classifier(), Stabilizer(["a", "b"]), tell, motion=MotionGate(), clock=reader.clock
        )
        engine.run()
        engine.next_span()

    run(max(5_000, count // 20))
    memory, files, threads = settled_mb(), _open_files(), threading.active_count()
    run(count)
    gc.collect()
    return {
        "MB": settled_mb() - memory,
        "files": _open_files() - files,
        "threads": threading.active_count() - threads,
        "told": told,
    }


class _Forgetful(FakeInterpreter):
    """Gives its rows in turn, and keeps no input."""

    _turn = 0

    def set_tensor(self, index: int, value: Any) -> None:
        self._turn += 1

    def get_tensor(self, index: int) -> Any:
        return self._scores[self._turn % len(self._scores)].copy()


class _Memory(FrameReader):
    """Frames from memory through the same thread and hand-over as a camera's, with times of their own."""

    def __init__(self, pictures: Iterator[Pixels], period: float) -> None:
        super().__init__(_Iterated(pictures))
        self._period = period
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def take(self, timeout: float) -> Frame | None:
        frame = super().take(timeout)
        if frame is None:
            return None
        self._now = frame.number * self._period
        return frame._replace(clock=self._now, time=self._now)


class _Iterated(FakeCamera):
    """Gives the pictures of an iterator."""

    def __init__(self, pictures: Iterator[Pixels]) -> None:
        super().__init__([])
        self._iterator = pictures

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        return ((one, None) for one in self._iterator)


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - open files, and no folder


def simulated_day(count: int) -> Iterator[Row]:
    """What has grown after a day."""
    found = day(count)
    what = f"a day of {count:,} frames, {found['told']:,.0f} changes:"
    for name, bound in (("MB", 2.0), ("files", 0.0), ("threads", 0.0)):
        value = found[name]
        text = f"<= {bound:g}"
        yield Row(f"{what} more {name}", None, value, "" if name != "MB" else name, value, text, value <= bound)


def measure(models: Path, passes: int, seconds: float, frames: int) -> Iterator[Row]:
    """All the rows."""
    yield from rates(models, passes)
    yield from slow_model(seconds)
    yield from idle(models, seconds)
    yield from simulated_day(frames)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=20, help="times that the clip of 500 frames is read")
    parser.add_argument("--seconds", type=float, default=30, help="length of what has a camera's rate")
    parser.add_argument("--frames", type=int, default=2_000_000, help="frames of the simulated day")
    arguments = parser.parse_args()
    kept = True
    with held_stderr():
        for row in measure(materials.models(), arguments.passes, arguments.seconds, arguments.frames):
            kept = kept and row.kept
            print(line(row), flush=True)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
