"""Cameras that a library reads: V4L2 devices by linuxpy, and Raspberry Pi's cameras by picamera2."""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CameraError, describe
from ..files import shown
from ..images import Pixels
from .byte_sources import DEFAULT_SILENCE_S
from .frame import Picture, joined_planes
from .splitting import JpegSplitter, RawFormat
from .stopping import Stop

_POLL_MS = 500
#: What is asked of a device, in this order: frames that are decoded at reduced scale first.
_PREFERRED = ("MJPG", "YUYV")
#: V4L2's names of pixel formats, and the names in `RawFormat`.
_RAW = {"YU12": "yuv420", "RGB3": "rgb24", "BGR3": "bgr24", "GREY": "grey"}
_JPEG = ("MJPG", "JPEG")


class VideoDevice:
    """A V4L2 device, such as a USB camera.

    Args:
        path: such as `/dev/video0`.
        size: (width, height) to ask for; a device gives the nearest that it has.
        silence: seconds without a frame after which it is opened again; 0 for never.
    """

    reconnects = True
    is_recorded = False

    def __init__(self, path: str, size: tuple[int, int], silence: float = DEFAULT_SILENCE_S) -> None:
        self.name = path
        self.damaged = 0
        self._size = size
        self._silence = silence

    def check(self) -> None:
        """Raise CameraError if linuxpy is not installed."""
        _import("linuxpy.video.device", f"{shown(self.name)}: needs linuxpy; pip install 'pocketlens[camera]'")

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Open the device, and yield its frames; raises CameraError."""
        library = import_module("linuxpy.video.device")
        try:
            with library.Device(self.name) as device:
                capture = library.VideoCapture(device)
                self._set_format(capture)
                with capture:
                    yield from self._read(device, capture, stop)
        except CameraError:
            raise
        except Exception as error:  # linuxpy's errors share no base
            raise CameraError(f"{shown(self.name)}: {_reason(error)}") from error

    def _set_format(self, capture: Any) -> None:
        for fourcc in _PREFERRED:
            capture.set_format(*self._size, fourcc)
            if _fourcc(capture.get_format().pixel_format) == fourcc:
                return

    def _read(self, device: Any, capture: Any, stop: Stop) -> Iterator[Picture]:
        poller = select.poll()
        poller.register(device.fileno(), select.POLLIN)
        frames, last = iter(capture), time.monotonic()
        found = capture.get_format()
        fourcc = _fourcc(found.pixel_format)
        while not stop.is_set():
            if not poller.poll(_POLL_MS):
                if self._silence and time.monotonic() - last > self._silence:
                    raise CameraError(f"{shown(self.name)}: no frame for {self._silence:g} s")
                continue
            frame = next(frames, None)
            if frame is None:
                raise CameraError(f"{shown(self.name)}: the device ended")
            picture = self._picture(bytes(frame), fourcc, found)
            if picture is not None:
                last = time.monotonic()
                yield picture

    def _picture(self, data: bytes, fourcc: str, found: Any) -> Picture | None:
        """The picture of a frame's bytes; None if it is damaged."""
        if fourcc in _JPEG:
            pictures = list(JpegSplitter().feed(data))
            self.damaged += len(pictures) != 1
            return pictures[0] if pictures else None
        width, height = int(found.width), int(found.height)
        if fourcc not in _RAW and fourcc != "YUYV":
            raise CameraError(
                f"{shown(self.name)}: gives {fourcc}, which is not read; pipe it through ffmpeg, by a command"
            )
        raw = RawFormat(width, height, _RAW.get(fourcc, "yuv420"))
        row = int(found.bytes_per_line) or 2 * width
        if len(data) < (height * row if fourcc == "YUYV" else raw.frame_bytes):
            self.damaged += 1
            return None
        if fourcc == "YUYV":
            data = _planes_of_yuyv(data, row, width // 2 * 2, height // 2 * 2)
            raw = raw._replace(width=width // 2 * 2, height=height // 2 * 2)
        return raw.picture(data[: raw.frame_bytes])


class RaspberryPiCamera:
    """A Raspberry Pi's camera by picamera2, which Raspberry Pi OS brings.

    Args:
        size: (width, height) to ask for.
        silence: seconds without a frame after which it is started again; 0 for never.
    """

    name = "picamera"
    reconnects = True
    is_recorded = False

    def __init__(self, size: tuple[int, int], silence: float = DEFAULT_SILENCE_S) -> None:
        self.damaged = 0
        self._size = size
        self._silence = silence

    def check(self) -> None:
        """Raise CameraError if picamera2 cannot be imported."""
        cure = "sudo apt install python3-picamera2; a virtual environment finds it if it was made by `python3 -m venv"
        _import("picamera2", f"picamera: picamera2 cannot be imported; {cure} --system-site-packages`")

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Start the camera, and yield its frames; raises CameraError."""
        library = import_module("picamera2")
        try:
            with closing(library.Picamera2()) as camera:
                camera.configure(camera.create_video_configuration(main={"size": self._size, "format": "YUV420"}))
                width, height = camera.camera_configuration()["main"]["size"]
                camera.start()
                for array in self._arrays(camera, stop):
                    # A video's colours have the limited range, unlike a still's.
                    plain = without_padding(array, width, height)
                    yield RawFormat(width, height, "yuv420").picture(plain.tobytes())
        except CameraError:
            raise
        except Exception as error:  # picamera2 raises plain RuntimeErrors and IndexErrors
            cure = "check its cable by `rpicam-hello --list-cameras`" if isinstance(error, IndexError) else ""
            raise CameraError(f"picamera: {cure or _reason(error)}") from error

    def _arrays(self, camera: Any, stop: Stop) -> Iterator[Pixels]:
        """The arrays of a camera that was started; a camera that hangs keeps nobody waiting for ever."""
        while not stop.is_set():
            job, last = camera.capture_array("main", wait=False), time.monotonic()
            while not stop.is_set():
                try:
                    yield camera.wait(job, timeout=_POLL_MS / 1000)
                    break
                except futures.TimeoutError as error:
                    if self._silence and time.monotonic() - last > self._silence:
                        raise CameraError(f"picamera: no frame for {self._silence:g} s") from error


def without_padding(array: Pixels, width: int, height: int) -> Pixels:
    """The YUV420 array of picamera2 without the bytes behind each row: its rows may be longer than the picture is wide.

    Args:
        array: shape (1.5 height or more, stride), the planes below each other.
        width, height: of the picture.
    """
    if array.shape == (height // 2 * 3, width):
        return array
    rows = array.shape[0] // 3 * 2
    colours = array[rows:].reshape(2, rows // 2, array.shape[1] // 2)
    return joined_planes(array[:height, :width], colours[:, : height // 2, : width // 2])


def _planes_of_yuyv(data: bytes, row: int, width: int, height: int) -> bytes:
    """YUV420 of limited range from YUYV, which has colours for each row; those of two rows are averaged."""
    rows = np.frombuffer(data[: row * height], np.uint8).reshape(height, row)[:, : 2 * width]
    colours = rows[:, 1::2].reshape(height // 2, 2, width).astype(np.uint16)
    averaged = ((colours[:, 0] + colours[:, 1] + 1) // 2).astype(np.uint8)
    return rows[:, ::2].tobytes() + averaged[:, ::2].tobytes() + averaged[:, 1::2].tobytes()


def _fourcc(pixel_format: Any) -> str:
    """The four letters of V4L2's number of a pixel format."""
    return int(pixel_format).to_bytes(4, "little").decode("latin-1").strip()


def _import(module: str, problem: str) -> None:
    try:
        import_module(module)
    except Exception as error:  # a package that is broken raises anything
        raise CameraError(problem) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return "the camera is in use; end the other program (`fuser` names it)"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return "may not be opened; sudo usermod -aG video $USER, and log in again"
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        found = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
        return f"no such device; {f'there is {found}' if found else 'is the camera plugged in?'}"
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        return "the camera is gone; is it plugged in?"
    return " ".join(describe(error).removeprefix("unexpected ").split())
