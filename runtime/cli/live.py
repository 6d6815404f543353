"""`pocketlens live`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from ..camera.byte_sources import DEFAULT_SILENCE_S
from ..camera.frame import Region
from ..camera.reader import FrameReader, open_source
from ..errors import CameraError, UsageError
from ..files import shown
from ..live.engine import LiveEngine
from ..live.motion import DEFAULT_SHARE, MotionGate
from ..live.stabilizer import DEFAULT_STABLE, Stabilizer
from ..live.statistics import LiveStatistics
from ..outputs.event import Event
from ..outputs.outputs import Outputs
from ..service import Service
from .app import Command, with_options
from .click_options import complete_files, option_in
from .followed_model import RELOAD, RunningModel, running_model
from .model_options import (
    ANSWER_OPTIONS,
    EXTERNAL_OPTIONS,
    INTERPRETER_OPTIONS,
    MODEL,
    TRUSTED,
)
from .options import JSON_OPTION
from .output import print_json, print_line
from .output_options import OutputSettings, open_outputs, output_options
from .value_types import TIME, TextType

CHANGES, EVERY = "changes", "every"


def _stable(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if not found:
        raise ValueError(f"{text!r}, expected how many of how many frames, such as 3/5")
    return int(found[1]), int(found[2])


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found or not int(found[1]) * int(found[2]) > 0 or int(found[1]) % 2 or int(found[2]) % 2:
        raise ValueError(f"{text!r}, expected an even width and height, such as 640x480")
    return int(found[1]), int(found[2])


@click.command(
    cls=Command,
    example="pocketlens live --model door.tflite rpi\n"
    "pocketlens live --model door.tflite --json /dev/video0 | jq .label\n"
    "pocketlens live --model bin.tflite --motion --every 2s http://cam/stream\n"
    "rpicam-vid -t 0 -n --codec mjpeg -o - | pocketlens live --stable 4/5 -\n"
    "pocketlens live --command 'ffmpeg -i rtsp://cam/1 -f mjpeg -q 3 -'",
)
@with_options(
    MODEL,
    *INTERPRETER_OPTIONS,
    TRUSTED,
    *(option for option in ANSWER_OPTIONS if option.parameter != "top"),
    *EXTERNAL_OPTIONS,
)
@RELOAD
@option_in("Answer")(
    "--release-score",
    type=click.FloatRange(0, 1),
    help="The present label stays down to this score. [default: --min-score]",
)
@option_in("Answer")(
    "--stable",
    type=TextType("n/m", _stable),
    metavar="N/M",
    help="A label is told once the newest of the last M frames and N of them have it.  "
    f"[default: {DEFAULT_STABLE[0]}/{DEFAULT_STABLE[1]}; 1/1 with --tell every]",
)
@option_in("Answer")(
    "--newest-weight",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Weight of the newest frame in the mean of the scores; 1 takes no mean.",
)
@option_in("Answer")(
    "--tell",
    type=click.Choice((CHANGES, EVERY)),
    default=CHANGES,
    show_default=True,
    help="Tell changes alone, or the answer to every frame.",
)
@option_in("Input")(
    "--command",
    "source_command",
    metavar="COMMAND",
    help="Read the frames that COMMAND writes; it runs without a shell, and again when it ends. [default: SOURCE]",
)
@option_in("Input")("--name", metavar="NAME", help="How events call the source, such as door. [default: SOURCE]")
@option_in("Input")(
    "--raw",
    metavar="WxH:PIXELS",
    help="Frames are no JPEGs, but yuv420, yuvj420 (full range), rgb24, bgr24 or grey. [default: JPEGs]",
)
@option_in("Input")(
    "--size",
    type=TextType("size", _size),
    metavar="WxH",
    default="640x480",
    show_default=True,
    help="Size to ask of a camera (rpi, picamera, /dev/video...).",
)
@option_in("Input")(
    "--region",
    type=TextType("region", Region.parse),
    metavar="X,Y,W,H",
    help="Look at a part, in shares. [default: all]",
)
@option_in("Input")(
    "--every", type=TIME, metavar="TIME", default="0s", show_default=True, help="Least time between two answers."
)
@option_in("Input")("--motion", is_flag=True, help="Answer only while something moves.")
@option_in("Input")(
    "--motion-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=DEFAULT_SHARE,
    show_default=True,
    help="Share of the picture that must differ for that.",
)
@option_in("Input")(
    "--all-frames", is_flag=True, help="Drop no frame, and let the source wait. [default: only for files]"
)
@option_in("Input")(
    "--silence",
    type=TIME,
    metavar="TIME",
    default=f"{DEFAULT_SILENCE_S:g}s",
    show_default=True,
    help="Time without a frame after which a source is started again; 0 is never.",
)
@option_in("Output")(
    "--statistics",
    type=TIME,
    metavar="TIME",
    default="1m",
    show_default=True,
    help="Time between two lines of statistics on standard error; 0 prints none.",
)
@output_options
@with_options(JSON_OPTION, group="Output")
@click.argument("source", required=False, shell_complete=complete_files)
def live(
    source: str | None,
    source_command: str | None,
    name: str | None,
    raw: str | None,
    size: tuple[int, int],
    silence: float,
    region: Region | None,
    every: float,
    motion: bool,
    motion_share: float,
    all_frames: bool,
    stable: tuple[int, int] | None,
    release_score: float | None,
    newest_weight: float,
    tell: str,
    statistics: float,
    outputs: OutputSettings,
    as_json: bool,
    **model: Any,
) -> None:
    """Answer the newest frame of SOURCE, until it ends, SIGTERM or Ctrl-C, and tell when the answer changes.

    SOURCE is rpi (rpicam-vid), picamera (picamera2), /dev/video0, an http:// address of MJPEG, - for JPEGs behind each
    other on standard input, or a folder, a glob or a file of pictures. A password for an address is read from
    $POCKETLENS_CAMERA_USER and $POCKETLENS_CAMERA_PASSWORD.

    A slow model drops frames, and never falls behind. A camera, a command or an address that fails is tried again,
    after pauses of 1 s to 60 s.
    """
    if (source is None) == (source_command is None):
        raise UsageError("name either a SOURCE (rpi, picamera, /dev/video0, http://..., -, a folder) or a --command.")
    stable = stable or (DEFAULT_STABLE if tell == CHANGES else (1, 1))
    answer: dict[str, Any] = {name: model[name] for name in ("min_score", "allow", "deny")}
    try:
        opened = open_source(source, command=source_command, raw=raw, size=size, silence=silence)
        gate = MotionGate(motion_share, region) if motion else None
    except ValueError as error:
        raise UsageError(str(error)) from error
    if name:
        opened.name = name
    reader = FrameReader(opened, keep_all=all_frames or None)
    with Service() as service, running_model("live", service, **model) as running:
        stabilizer = _stabilizer(running, stable, release_score, newest_weight, **answer)
        show = print_json_event if as_json else partial(print_event, is_change=tell == CHANGES)
        # A queue would drop what is printed slower than files are read.
        prints_itself = opened.is_recorded or all_frames
        looked_at = source or source_command or ""
        with open_outputs(
            outputs,
            labels=running.contract.labels,
            source=looked_at,
            show=None if prints_itself else show,
            model=lambda: running.follower.sha256,
        ) as opened_outputs:
            engine = LiveEngine(
                reader,
                running.follower,
                stabilizer,
                _teller(opened_outputs, service, show if prints_itself else None),
                takes_pictures=opened_outputs.takes_pictures,
                tell_every=tell == EVERY,
                see=opened_outputs.see if opened_outputs.takes_frames else None,
                motion=gate,
                every=every,
                region=region,
            )
            service.ready()
            with _Reports(engine, statistics, as_json):
                engine.run(service.keep_going)
        if not reader.read and not service.stopping:
            raise CameraError(f"{shown(opened.name)}: it ended without a frame; are there JPEGs in it, or is it raw?")


def _stabilizer(
    running: RunningModel, stable: tuple[int, int], release_score: float | None, newest_weight: float, **answer: Any
) -> Stabilizer:
    try:
        return Stabilizer.for_model(
            running.contract,
            stable=stable,
            release_score=release_score,
            newest_weight=newest_weight,
            min_score=answer["min_score"],
            allow=answer["allow"] or None,
            deny=answer["deny"],
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _teller(outputs: Outputs, service: Service, show: Callable[[Event], object] | None) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        if show is not None:
            show(event)
        outputs.tell(event)
        service.status(f"{event.label}, since {time.strftime('%H:%M:%S', time.localtime(event.since))}")

    return tell


def print_event(event: Event, *, is_change: bool = True) -> None:
    """Print an event as one line."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    before = f", was {event.previous}" if is_change and event.previous is not None else ""
    print_line(f"{when}  {shown(event.source)}: {event.label} {event.score:.3f}{before}")


def print_json_event(event: Event) -> None:
    """Print an event as one JSON object."""
    print_json(event.as_dict())


class _Reports:
    """Prints statistics once in a while, from a thread of its own, so that a slow reader delays no answer."""

    def __init__(self, engine: LiveEngine, period: float, as_json: bool) -> None:
        self._engine = engine
        self._period = period
        self._as_json = as_json
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pocketlens-statistics", daemon=True)

    def __enter__(self) -> None:
        if self._period:
            self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        if self._period:
            self._thread.join(1)
            self._print(self._engine.statistics, "in all")

    def _run(self) -> None:
        while not self._end.wait(self._period):
            self._print(self._engine.next_span(), f"last {self._period:g} s")

    def _print(self, statistics: LiveStatistics, span: str) -> None:
        print_line(f"live, {span}: {statistics.text()}", error=True)
        if self._as_json:
            print_json({"statistics": statistics.as_dict()})
