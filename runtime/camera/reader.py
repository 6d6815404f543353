"""Reads a source in a thread, starts it again when it fails, and hands over the newest frame alone."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator

from ..errors import CameraError, describe
from .byte_sources import DEFAULT_SILENCE_S, Address, CommandSource, FrameSource, StandardInput, raspberry_pi_command
from .device_sources import RaspberryPiCamera, VideoDevice
from .frame import Frame
from .picture_files import PictureFiles
from .splitting import RawFormat
from .stopping import Stop

_log = logging.getLogger(__name__)

DEFAULT_SIZE = (640, 480)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
#: A source that has worked for so long begins with the first pause again.
_WORKED_S = 10.0
#: Once the pauses have their full length, the same problem is logged once in so many seconds.
_REPEAT_S = 3600.0
#: Frames that wait for the model where none may be dropped.
_WAITING = 2


def open_source(
    name: str | None = None,
    *,
    command: str | None = None,
    raw: str | None = None,
    size: tuple[int, int] = DEFAULT_SIZE,
    silence: float = DEFAULT_SILENCE_S,
) -> FrameSource:
    """The source of a name; nothing is started yet.

    Args:
        name: `-`, an http:// or https:// address, `/dev/video...`, `picamera`, `rpi`, or pictures: a folder, a glob or
            a file. It may be left out if there is a `command`.
        command: a program that writes frames to standard output, instead.
        raw: the format of raw frames, such as `640x480:yuv420`; by default JPEGs are read.
        size: (width, height) to ask of a camera; a multiple of 2.
        silence: seconds without a frame after which a source is started again; 0 for never.

    Raises:
        ValueError: neither or both of `name` and `command`; or a value that cannot be understood.
        CameraError: the source can never give a frame: a library or a program that it needs is not installed.
    """
    if (name is None) == (command is None):
        raise ValueError("name either a source or a command that writes frames")
    raw_format = RawFormat.parse(raw) if raw is not None else None
    source = _source(name, command, raw_format, size, silence)
    if raw_format is not None and not isinstance(source, StandardInput | CommandSource | Address):
        raise ValueError("`raw` is for frames on standard input, of a command or of an address; leave it out")
    source.check()
    return source


def _source(
    name: str | None, command: str | None, raw: RawFormat | None, size: tuple[int, int], silence: float
) -> FrameSource:
    if command is not None:
        return CommandSource(command, raw, silence=silence)
    assert name is not None
    if name == "-":
        return StandardInput(raw)
    if name.startswith(("http://", "https://")):
        return Address(name, raw, silence)
    if name == "rpi":
        return CommandSource(raspberry_pi_command(size), raw, "rpi", silence)
    if name == "picamera":
        return RaspberryPiCamera(size, silence)
    return VideoDevice(name, size, silence) if name.startswith("/dev/video") else PictureFiles(name)


class FrameReader:
    """Reads a source in a thread; whoever takes a frame gets the newest one.

    A frame that is replaced before it is taken is dropped, so that memory is bounded and nobody falls behind. A source
    that ends or fails is started again, after pauses of 1 s to 60 s. It is a context manager around the reading.

    Args:
        source: gives the frames.
        keep_all: drop no frame, and let the source wait; by default only for recorded sources.

    Attributes:
        read: frames so far.
        dropped: how many of them were replaced before they were taken.
    """

    def __init__(self, source: FrameSource, keep_all: bool | None = None) -> None:
        self.source = source
        self.read = self.dropped = 0
        self._places = _WAITING if (source.is_recorded if keep_all is None else keep_all) else 0
        self._stop = Stop()
        self._frames: deque[Frame] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def damaged(self) -> int:
        """How many frames were passed over, as they were cut, garbled or too large."""
        return self.source.damaged

    def __enter__(self) -> FrameReader:
        self._thread = threading.Thread(target=self._run, name="pocketlens-frames", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    def take(self, timeout: float) -> Frame | None:
        """The newest frame, or the next one where none is dropped; None if there is none within `timeout` seconds.

        Raises:
            CameraError: a source that is not started again could not be read.
        """
        with self._changed:
            if not self._frames and not self._ended:
                self._changed.wait(timeout)
            if self._frames:
                frame = self._frames.popleft()
                if self._places:
                    self._changed.notify_all()
                return frame
            if self._error is not None:
                raise self._error
            return None

    @property
    def ended(self) -> bool:
        """Whether there will be no further frame."""
        with self._changed:
            return self._ended and not self._frames

    def _put(self, frame: Frame) -> None:
        with self._changed:
            self.read += 1
            if not self._places:
                self.dropped += len(self._frames)
                self._frames.clear()
            while self._places and len(self._frames) >= self._places and not self._stop.is_set():
                self._changed.wait(1)
            self._frames.append(frame)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._read_again_and_again()
        except BaseException as error:  # it is raised where frames are taken
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read_again_and_again(self) -> None:
        pauses = _Pauses()
        while not self._stop.is_set():
            began, first = time.monotonic(), self.read
            problem = f"{self.source.name}: it ended"
            try:
                for image, layout in self.source.pictures(self._stop):
                    self._put(Frame(image, layout, time.time(), time.monotonic(), self.source.name, self.read + 1))
                    if self.read == first + 1:
                        pauses.works()
            except CameraError as error:
                problem = describe(error)
                if not self.source.reconnects:
                    raise
            if not self.source.reconnects or self._stop.is_set():
                return
            worked = time.monotonic() - began if self.read > first else 0.0
            self._stop.wait(pauses.after(problem, worked))


class _Pauses:
    """The growing pauses between two starts of a source, and what is logged about them."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE_S
        self._problem = ""
        self._logged = 0.0

    def works(self) -> None:
        """A frame has arrived."""
        if self._problem:
            _log.info("the source gives frames again")
            self._problem = ""

    def after(self, problem: str, worked: float) -> float:
        """The seconds to wait, after a source has worked for some seconds."""
        pause = _FIRST_PAUSE_S if worked >= _WORKED_S else self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE_S)
        now = time.monotonic()
        if problem != self._problem or pause < _LONGEST_PAUSE_S or now - self._logged >= _REPEAT_S:
            _log.warning("warning: %s; tried again in %g s", problem, pause)
            self._logged = now
        self._problem = problem
        return pause


def frames(
    source: str | FrameSource | None = None,
    *,
    command: str | None = None,
    raw: str | None = None,
    size: tuple[int, int] = DEFAULT_SIZE,
    silence: float = DEFAULT_SILENCE_S,
    keep_all: bool | None = None,
) -> Iterator[Frame]:
    """The frames of a camera, a stream or a folder: an iterator that always goes on with the newest frame.

    The source is read in a thread of its own. A frame that has been replaced by a newer one when the caller asks is
    dropped. A camera that is unplugged, a command that ends and a connection that is cut are tried again, after pauses
    of 1 s to 60 s, with a warning in the log. Standard input, a folder and a glob end with their last frame.

    Args:
        source: `"-"` for standard input, `"http://..."`, `"/dev/video0"` (extra `camera`), `"picamera"`, `"rpi"` for
            the right `rpicam-vid` command, a folder, a glob or a file of pictures; or an object such as
            `runtime.testing.FakeCamera`.
        command: a program that writes frames to standard output, instead of a source; it runs without a shell.
        raw: the format of raw frames in a stream, such as `"640x480:yuv420"`; by default JPEGs are found in it.
        size: (width, height) to ask of a camera.
        silence: seconds without a frame after which a source is started again; 0 for never.
        keep_all: drop no frame, and let the source wait; by default only for files.

    Raises:
        ValueError: a value that cannot be understood.
        CameraError: the source can never give a frame.

    Example:
        >>> from runtime.testing import FakeCamera
        >>> for frame in frames(FakeCamera(["seven.png"])):
        ...     print(frame.source, frame.number, len(frame.image) > 0)
        fake 1 True
    """
    if source is None or isinstance(source, str | os.PathLike):
        name = None if source is None else os.fspath(source)
        source = open_source(name, command=command, raw=raw, size=size, silence=silence)
    return _taken(FrameReader(source, keep_all))


def _taken(reader: FrameReader) -> Iterator[Frame]:
    with reader:
        while not reader.ended:
            frame = reader.take(1.0)
            if frame is not None:
                yield frame
        reader.take(0)  # raises what has ended it
