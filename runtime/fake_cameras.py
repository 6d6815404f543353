"""Fakes of picamera2 and of linuxpy's video devices, which give a `FakeCamera`'s pictures; see `runtime.testing`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .camera.stopping import Stop
from .images import Pixels

if TYPE_CHECKING:
    from .testing import FakeCamera

#: The rows of a Raspberry Pi's frames are multiples of so many bytes.
_ROW_STEP = 64


def fake_modules(camera: FakeCamera) -> dict[str, ModuleType]:
    """The modules to put into `sys.modules`."""
    pi, linux = ModuleType("picamera2"), ModuleType("linuxpy.video.device")
    vars(pi)["Picamera2"] = lambda: _Picamera2(camera)
    vars(linux)["Device"] = lambda _path: _Device(camera)
    vars(linux)["VideoCapture"] = _VideoCapture
    return {"picamera2": pi, "linuxpy.video.device": linux}


class _Picamera2:
    """What Pocketlens uses of picamera2."""

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self._size = (0, 0)

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return {"main": main}

    def configure(self, configuration: dict[str, Any]) -> None:
        self._size = configuration["main"]["size"]

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": {"size": self._size}}

    def start(self) -> None:
        self._pictures = self._camera.pictures(Stop())

    def capture_array(self, _name: str, wait: bool = True) -> Any:
        job = object()
        return self.wait(job) if wait else job

    def wait(self, _job: object, timeout: float | None = None) -> Pixels:
        return _padded_yuv420(_resized(_next(self._pictures), self._size))

    def close(self) -> None:
        """Do nothing."""


class _Device:
    """A device that can always be read; what it gives waits in a pipe."""

    def __init__(self, camera: FakeCamera) -> None:
        self.camera = camera

    def __enter__(self) -> _Device:
        self._read, self._write = os.pipe()
        os.write(self._write, b"x")
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        return self._read


class _VideoCapture:
    """What Pocketlens uses of linuxpy's class; it has MJPG alone."""

    def __init__(self, device: _Device) -> None:
        self._camera = device.camera
        self._size = (0, 0)

    def set_format(self, width: int, height: int, _pixel_format: str) -> None:
        self._size = (width, height)

    def get_format(self) -> SimpleNamespace:
        width, height = self._size
        return SimpleNamespace(
            width=width, height=height, pixel_format=int.from_bytes(b"MJPG", "little"), bytes_per_line=0
        )

    def __enter__(self) -> _VideoCapture:
        return self

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""

    def __iter__(self) -> Iterator[bytes]:
        for picture, _ in self._camera.pictures(Stop()):
            if isinstance(picture, bytes) and picture.startswith(b"\xff\xd8"):
                yield picture
                continue
            buffer = io.BytesIO()
            _resized(picture, self._size).save(buffer, "JPEG", quality=95)
            yield buffer.getvalue()


def _next(pictures: Iterator[Any]) -> Any:
    try:
        return next(pictures)[0]
    except StopIteration:
        raise RuntimeError("the camera has no more pictures") from None


def _resized(picture: Any, size: tuple[int, int]) -> Image.Image:
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else Image.fromarray(picture)
    return image.convert("RGB").resize(size)


def _padded_yuv420(image: Image.Image) -> Pixels:
    """YUV420 of limited range, as picamera2 gives it: the planes below each other, their rows padded."""
    width, height = image.size
    luma, blue, red = (np.asarray(band, np.float64) for band in image.convert("YCbCr").split())
    row = -(-width // _ROW_STEP) * _ROW_STEP
    array = np.zeros((height // 2 * 3, row), np.uint8)
    array[:height, :width] = (16 + luma * 219 / 255).round()
    colours = array[height:].reshape(2, height // 2, row // 2)
    for plane, band in zip(colours, (blue, red), strict=True):
        averaged = band.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        plane[:, : width // 2] = (128 + (averaged - 128) * 224 / 255).round()
    return array
