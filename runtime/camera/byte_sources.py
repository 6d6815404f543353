"""Sources that are streams of bytes: standard input, the output of a command, and an address of MJPEG."""

from __future__ import annotations

import base64
import http.client
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import CameraError, describe
from ..files import shown
from ..service import MANAGER_VARIABLES
from .frame import Picture
from .splitting import FrameSplitter, RawFormat, make_splitter
from .stopping import Stop

#: The environment variables with the name and the password for an address.
USER_VARIABLE, PASSWORD_VARIABLE = "POCKETLENS_CAMERA_USER", "POCKETLENS_CAMERA_PASSWORD"
#: Seconds without a frame after which a source is started again.
DEFAULT_SILENCE_S = 60.0
_CHUNK = 2**18
_POLL_MS = 500
_END_WAIT_S = 2.0
_RPI_PROGRAMS = ("rpicam-vid", "libcamera-vid")


class FrameSource(Protocol):
    """What gives frames.

    Attributes:
        name: how events and messages call it.
        reconnects: whether it is started again when it ends; otherwise its end is the end.
        is_recorded: whether its frames wait for their reader, as those of files do, so that none need be dropped.
        damaged: how many frames were passed over so far, as they were cut or garbled.
    """

    name: str
    reconnects: bool
    is_recorded: bool
    damaged: int

    def check(self) -> None:
        """Raise CameraError if it can never give a frame."""
        ...

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Yield frames until it ends or `stop` is set; raises CameraError."""
        ...


class _ByteSource:
    """What the sources of bytes share."""

    reconnects = True
    is_recorded = False

    def __init__(self, name: str, raw: RawFormat | None, silence: float) -> None:
        self.name = name
        self.damaged = 0
        self._raw = raw
        self._silence = silence
        self._last = 0.0

    def check(self) -> None:
        """Nothing can be checked beforehand."""

    def _split(self, chunk: bytes, splitter: FrameSplitter) -> Iterator[Picture]:
        """Yield the frames that a chunk completes; raises CameraError if none has come for long."""
        known = splitter.damaged
        for picture in splitter.feed(chunk):
            self._last = time.monotonic()
            yield picture
        self.damaged += splitter.damaged - known
        self._check_silence()

    def _check_silence(self) -> None:
        if self._silence and time.monotonic() - self._last > self._silence:
            raise CameraError(f"{shown(self.name)}: no frame for {self._silence:g} s")

    def _read(self, handle: int, stop: Stop) -> Iterator[Picture]:
        """The frames from a pipe or a file, until it ends."""
        splitter = make_splitter(self._raw)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        self._last = time.monotonic()
        while not stop.is_set():
            if not poller.poll(_POLL_MS):
                self._check_silence()
                continue
            chunk = os.read(handle, _CHUNK)
            if not chunk:
                return
            yield from self._split(chunk, splitter)


class StandardInput(_ByteSource):
    """Standard input; its end is the end, and it may be silent for any time.

    Args:
        raw: the format of raw frames; None for JPEGs.
        handle: the number of the open file.
    """

    reconnects = False

    def __init__(self, raw: RawFormat | None = None, handle: int = 0) -> None:
        super().__init__("standard input", raw, silence=0)
        self._handle = handle
        with suppress(OSError):
            self.is_recorded = os.path.isfile(f"/dev/fd/{handle}")  # noqa: PTH113 - no path, but an open file

    def check(self) -> None:
        """Raise CameraError if it is closed or a terminal."""
        try:
            os.fstat(self._handle)
        except OSError as error:
            raise CameraError("standard input: closed; nothing can be read from it") from error
        if os.isatty(self._handle):
            raise CameraError("standard input: a terminal; pipe frames into it, such as rpicam-vid ... -o -")

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Yield frames until the end of the input; raises CameraError."""
        try:
            yield from self._read(self._handle, stop)
        except OSError as error:
            raise CameraError(f"standard input: {describe(error)}") from error


class CommandSource(_ByteSource):
    """A program that writes frames to its standard output; what it writes to standard error stays there.

    Args:
        command: written as for a shell, and run without one.
        raw: the format of raw frames; None for JPEGs.
        name: how events call it; by default the program's name.
        silence: seconds without a frame after which it is started again; 0 for never.

    Raises:
        ValueError: the command is empty, or a quote does not close.
    """

    def __init__(
        self, command: str, raw: RawFormat | None = None, name: str = "", silence: float = DEFAULT_SILENCE_S
    ) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"{command!r} cannot be split into arguments: {error}") from error
        if not self._arguments:
            raise ValueError("the command is empty")
        super().__init__(name or self._arguments[0].rpartition("/")[2], raw, silence)

    def check(self) -> None:
        """Raise CameraError if there is no such program."""
        program = self._arguments[0]
        if shutil.which(program) is None:
            where = "no program that can be run lies there" if os.sep in program else "command not found in $PATH"
            raise CameraError(f"{shown(program)}: {where}; name a program that is installed, or its path")

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Start the program, and yield its frames until it ends; raises CameraError."""
        environment = {key: value for key, value in os.environ.items() if key not in MANAGER_VARIABLES}
        try:
            # A session of its own: Ctrl-C does not reach it, and it is ended together with its children.
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise CameraError(f"{shown(self.name)}: cannot be started: {describe(error)}") from error
        assert process.stdout is not None
        try:
            yield from self._read(process.stdout.fileno(), stop)
        finally:
            status = _ended(process)
        if not stop.is_set():
            how = f"status {status}" if status >= 0 else f"signal {-status}"
            raise CameraError(f"{shown(self.name)}: the command ended with {how}")


def _ended(process: subprocess.Popen[bytes]) -> int:
    """End a program with all that it started, and return its status; one that has ended keeps its own."""
    assert process.stdout is not None
    process.stdout.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(0.1 if number is None else _END_WAIT_S)
    return process.wait()


def raspberry_pi_command(size: tuple[int, int]) -> str:
    """The command that gives MJPEG from a Raspberry Pi's camera.

    Raises:
        CameraError: neither program is installed.
    """
    program = next(filter(shutil.which, _RPI_PROGRAMS), None)
    if program is None:
        raise CameraError(f"rpi: neither {' nor '.join(_RPI_PROGRAMS)} is installed; sudo apt install rpicam-apps")
    width, height = size
    return f"{program} --timeout 0 --nopreview --codec mjpeg --width {width} --height {height} --flush --output -"


class Address(_ByteSource):
    """An address that answers with an MJPEG stream, as network cameras and ESP32 boards do.

    The name and password for Basic authentication come from `$POCKETLENS_CAMERA_USER` and
    `$POCKETLENS_CAMERA_PASSWORD`.

    Args:
        url: begins with http:// or https://.
        raw: the format of raw frames; None for JPEGs.
        silence: seconds without a frame after which it is connected again; 0 for never.

    Raises:
        ValueError: no host, a port that is no number, or a password in the address.
    """

    def __init__(self, url: str, raw: RawFormat | None = None, silence: float = DEFAULT_SILENCE_S) -> None:
        self._parts = urlsplit(url)
        if "@" in self._parts.netloc:
            raise ValueError(
                f"{url.replace(self._parts.netloc, '...@' + self._parts.netloc.rpartition('@')[2])}: a password in an "
                f"address is seen by others; set ${USER_VARIABLE} and ${PASSWORD_VARIABLE}"
            )
        if not self._parts.hostname or not url.isprintable() or " " in url:
            raise ValueError(f"{url!r} is no address; expected http://HOST[:PORT]/PATH")
        self._port = self._parts.port  # raises ValueError
        # Many cameras have a password or a token behind the question mark, and the name is told to others.
        super().__init__(self._parts._replace(query="", fragment="").geturl(), raw, silence)

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Connect, and yield the frames until the stream ends; raises CameraError."""
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        assert self._parts.hostname is not None
        connection = kind(self._parts.hostname, self._port, timeout=min(self._silence or 3600, 3600))
        try:
            yield from self._answer(connection, stop)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if stop.is_set():
                return
            if isinstance(error, CameraError):
                raise
            reason = "timed out" if isinstance(error, TimeoutError) else describe(error)
            if isinstance(error, http.client.HTTPException):
                reason = f"no answer of HTTP ({type(error).__name__})"
            raise CameraError(f"{self.name}: {reason}") from error
        finally:
            stop.end_with(None)
            connection.close()
        if not stop.is_set():
            raise CameraError(f"{self.name}: the stream ended")

    def _answer(self, connection: http.client.HTTPConnection, stop: Stop) -> Iterator[Picture]:
        path = self._parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        headers = {"Accept": "multipart/x-mixed-replace, image/jpeg, */*", "User-Agent": "pocketlens"}
        user = os.environ.get(USER_VARIABLE)
        if user is not None:
            pair = f"{user}:{os.environ.get(PASSWORD_VARIABLE, '')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        connection.request("GET", path, headers=headers)
        stop.end_with(connection.sock)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise CameraError(f"{self.name}: {_refusal(answer)}")
        splitter = make_splitter(self._raw)
        self._last = time.monotonic()
        while not stop.is_set():
            chunk = answer.read1(_CHUNK)
            if not chunk:
                return
            yield from self._split(chunk, splitter)


def _refusal(answer: http.client.HTTPResponse) -> str:
    """What an answer other than a stream means."""
    if answer.status == http.client.UNAUTHORIZED:
        return f"asks for a password (401); set ${USER_VARIABLE} and ${PASSWORD_VARIABLE}"
    place = answer.headers.get("Location")
    if 300 <= answer.status < 400 and place:
        return f"has moved ({answer.status}); name the new address {shown(place[:500])}"
    return f"answers {answer.status} {shown(answer.reason[:100])}; a browser shows what the address is for"
