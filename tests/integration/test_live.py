"""`pocketlens live` as a process: standard input, commands, a real MJPEG stream, signals, and a device of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime import Classifier
from runtime.cli.value_types import seconds
from tests.support.commands import ROOT, call_pocketlens, run_pocketlens, succeed
from tests.support.exports import Exported, Samples

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs Debian's package ffmpeg")


class Live:
    """A live command in a process of its own, whose standard input is open."""

    def __init__(self, log: Path, *arguments: object, **variables: str) -> None:
        self.log = log
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime.cli.main", "live", "--json", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            )

    def lines(self, count: int = 0, key: str = "label") -> list[dict[str, Any]]:
        """The JSON lines with a key, as soon as there are `count`."""
        end = time.monotonic() + 60
        while True:
            lines = [json.loads(line) for line in self.log.read_text().rpartition("\n")[0].splitlines()]
            found = [line for line in lines if key in line]
            if len(found) >= count:
                return found
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < end, self.errors
            time.sleep(0.02)

    @property
    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()

    def end(self, number: int | None = None) -> int:
        """The exit status, after standard input has ended or a signal was sent."""
        if number is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(digits_export: Exported, tmp_path: Path) -> Iterator[Callable[..., Live]]:
    begun: list[Live] = []

    def begin(*arguments: object, **variables: str) -> Live:
        log = tmp_path / f"live-{len(begun)}.jsonl"
        begun.append(Live(log, "--model", digits_export.int8, *arguments, **variables))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def pictures(digits_samples: Samples, tmp_path: Path) -> list[bytes]:
    """Scans of digits as JPEGs of a camera's size."""
    from io import BytesIO

    from PIL import Image

    found = []
    for file in digits_samples.files[:12]:
        buffer = BytesIO()
        Image.open(file).convert("RGB").resize((320, 240)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def test_each_frame_of_a_clip_is_answered_as_classify_does(
    start: Callable[..., Live], pictures: list[bytes], digits_export: Exported
) -> None:
    live = start("--tell", "every", "--all-frames", "-")
    assert live.process.stdin is not None
    live.process.stdin.write(b"\r\n--frame\r\n".join(pictures))
    assert live.end() == 0
    with Classifier(digits_export.int8) as classifier:
        expected = [classifier.classify(one, top=1)[0] for one in pictures]
    lines = live.lines()
    assert [(line["label"], line["score"]) for line in lines] == [(one.label, one.score) for one in expected]
    assert {line["source"] for line in lines} == {"standard input"}
    (figures,) = [line["statistics"] for line in live.lines(key="statistics")]
    assert (figures["frames"], figures["answered"], figures["dropped"]) == (12, 12, 0)
    assert "12 answered" not in live.errors
    assert "live, in all: " in live.errors


def test_changes_alone_are_told(start: Callable[..., Live], pictures: list[bytes], digits_export: Exported) -> None:
    with Classifier(digits_export.int8) as classifier:
        labels = [classifier.classify(one, top=1)[0].label for one in pictures]
    other = next(number for number, label in enumerate(labels) if label != labels[0])
    live = start("--all-frames", "-")
    assert live.process.stdin is not None
    sequence = [0] * 6 + [other] * 1 + [0] * 6 + [other] * 6
    live.process.stdin.write(b"".join(pictures[number] for number in sequence))
    assert live.end() == 0
    told = [(line["label"], line["previous"], line["frames"]) for line in live.lines()]
    assert told == [(labels[0], None, 3), (labels[other], labels[0], 3)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_systemd_and_stops_when_told(
    number: int, start: Callable[..., Live], pictures: list[bytes], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        live = start("--stable", "1/1", "-", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        assert manager.recv(4096) == b"READY=1"
        assert live.process.stdin is not None
        live.process.stdin.write(pictures[0])
        live.process.stdin.flush()
        (line,) = live.lines(1)
        time.sleep(0.6)
        assert live.end(number) == 0
        manager.setblocking(False)
        messages: list[bytes] = []
        while not messages or messages[-1] != b"STOPPING=1":
            messages.append(manager.recv(4096))
    assert messages.count(b"WATCHDOG=1") >= 1
    assert any(message.startswith(f"STATUS={line['label']}, since ".encode()) for message in messages)


@needs_ffmpeg
def test_a_real_mjpeg_stream_by_http_that_ends_and_comes_back(start: Callable[..., Live]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/cam"
    live = start("--stable", "1/1", "--tell", "every", url)
    scene = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=15:duration=1"]
    for round in (1, 2):
        server = subprocess.Popen(
            ["ffmpeg", "-loglevel", "error", "-re", *scene, "-f", "mpjpeg", "-listen", "1", url],
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        try:
            lines = live.lines(5 * round)
        finally:
            server.terminate()
            server.wait(20)
    assert {line["source"] for line in lines} == {url}
    assert all(line["age_ms"] >= 0 for line in lines)
    assert live.end(signal.SIGTERM) == 0
    assert "Connection refused; tried again in 1 s" in live.errors or "the stream ended" in live.errors
    assert "the source gives frames again" in live.errors


@needs_ffmpeg
@pytest.mark.parametrize("pixels", ["yuv420", "rgb24", "bgr24", "grey"])
def test_raw_frames_of_ffmpeg_are_answered_as_its_pictures(
    pixels: str, start: Callable[..., Live], pictures: list[bytes], digits_export: Exported
) -> None:
    formats = {"yuv420": "yuv420p", "grey": "gray"}
    decoder = ["ffmpeg", "-loglevel", "error", "-f", "image2pipe", "-c:v", "mjpeg", "-i", "-", "-f", "rawvideo"]
    # A JPEG's planes have the full range; a camera's have the limited one.
    ranged = ["-vf", "scale=out_range=tv"] if pixels == "yuv420" else []
    pipe = [*decoder, *ranged, "-pix_fmt", formats.get(pixels, pixels), "-"]
    raw = subprocess.run(pipe, input=b"".join(pictures), capture_output=True, check=True).stdout
    live = start("--tell", "every", "--all-frames", "--raw", f"320x240:{pixels}", "-")
    assert live.process.stdin is not None
    live.process.stdin.write(raw)
    assert live.end() == 0
    with Classifier(digits_export.int8) as classifier:
        expected = [classifier.scores(one) for one in pictures]
    lines = live.lines()
    assert len(lines) == len(pictures)
    for line, scores in zip(lines, expected, strict=True):
        assert abs(line["score"] - max(scores)) < 0.1
    same = [line["label"] == str(scores.argmax()) for line, scores in zip(lines, expected, strict=True)]
    assert sum(same) >= len(same) - 1


@needs_ffmpeg
def test_a_command_of_its_own(start: Callable[..., Live]) -> None:
    scene = "-f lavfi -i testsrc=size=320x240:rate=30:duration=0.5"
    command = f"ffmpeg -loglevel error {scene} -f mjpeg -"
    live = start("--tell", "every", "--name", "door", "--command", command)
    assert {line["source"] for line in live.lines(3)} == {"door"}
    assert live.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "name either a SOURCE"),
        (("-", "--command", "cat x"), 2, "name either a SOURCE"),
        (("nowhere/",), 1, "no such folder or picture"),
        (("-", "--stable", "2/5"), 2, "--stable is 2/5, expected more than half"),
        (("-", "--stable", "three"), 2, "such as 3/5"),
        (("-", "--region", "0,0,2,2"), 2, "a region lies within the picture"),
        (("-", "--every", "soon"), 2, "such as 500ms, 2s, 1m"),
        (("-", "--raw", "640x480"), 2, "expected WIDTHxHEIGHT:PIXELS"),
        (("-", "--size", "641x480"), 2, "an even width and height"),
        (
            ("-", "--min-score", "0.5", "--release-score", "0.6"),
            2,
            "--release-score is 0.6, expected at most --min-score",
        ),
        (("picamera", "--raw", "640x480:grey"), 2, "--raw is for frames on standard input"),
        (("http://me:secret@cam/",), 2, "seen by others"),
        (("--command", "no-such-program"), 1, "command not found"),
        (("-", "--deny", "horse"), 2, "no label 'horse'"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], status: int, message: str, digits_export: Exported) -> None:
    result = call_pocketlens("live", "--model", digits_export.int8, *arguments)
    assert result.returncode == status
    assert message in result.stderr
    assert "secret" not in result.stderr


def test_an_empty_input_is_an_error(digits_export: Exported, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    result = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "live", "--model", str(digits_export.int8), "-"],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: standard input: it ended without a frame")


def test_pictures_of_a_folder_as_lines(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    shutil.copy(digits_samples.files[0], tmp_path / "a.png")
    options = ("--model", digits_export.int8, "--tell", "every", "--statistics", "0")
    result = succeed(run_pocketlens("live", *options, tmp_path))
    with Classifier(digits_export.int8) as classifier:
        best = classifier.classify(tmp_path / "a.png")[0]
    assert result.stdout.endswith(f"  {tmp_path}/a.png: {best.label} {best.score:.3f}\n")
    assert result.stderr == ""


def test_small_versions_of_the_measurements(digits_export: Exported, pictures: list[bytes], tmp_path: Path) -> None:
    pytest.importorskip("tflite_runtime")
    from benchmarks.live import day, wrong_answers

    clip = tmp_path / "clip.mjpeg"
    clip.write_bytes(b"".join(pictures * 20))
    with Classifier(digits_export.int8) as classifier:
        assert wrong_answers(clip, pictures * 20, classifier) == 0
    found = day(20_000)
    assert found["MB"] < 2
    assert (found["files"], found["threads"]) == (0, 0)
    assert found["told"] > 20


@pytest.mark.parametrize(("text", "value"), [("2s", 2), ("500ms", 0.5), ("1.5m", 90), ("3", 3), ("1h", 3600)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value
