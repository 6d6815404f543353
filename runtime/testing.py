"""A fake interpreter and a fake camera, for testing scripts without a model and without a camera."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .camera.frame import Picture
from .camera.stopping import Stop
from .classifier import Classifier
from .contract import Contract
from .input_spec import FeaturesInput, ImageInput


class FakeInterpreter:
    """Replaces a TensorFlow Lite interpreter: gives rows of scores, one after the other.

    Args:
        labels: the model's labels, two or more.
        scores: rows of scores, one number a label; after the last row the first comes again.
        size: (height, width) of the images that it takes.
        colour: `"grey"`, `"rgb"` or `"bgr"`.
        features: names of the features that it takes instead of an image; by default it takes images.

    Attributes:
        inputs: the input tensors so far, float32, shape (1, height, width, channels) or (1, features).

    Raises:
        ContractError: no contract can have these labels or sizes.
        ValueError: there is no row, or a row has a wrong length.

    Example:
        >>> fake = FakeInterpreter(["cat", "dog"], [[0.9, 0.1], [0.2, 0.8]])
        >>> classifier = fake.classifier()
        >>> picture = np.zeros((8, 8, 3), np.uint8)
        >>> [classifier.classify(picture)[0].label for _ in range(3)]
        ['cat', 'dog', 'cat']
        >>> fake.inputs[0].shape
        (1, 8, 8, 3)
    """

    def __init__(
        self,
        labels: Sequence[str],
        scores: Sequence[Sequence[float]],
        size: tuple[int, int] = (8, 8),
        colour: str = "rgb",
        features: Sequence[str] = (),
    ) -> None:
        spec = FeaturesInput(tuple(features)) if features else ImageInput(*size, colour)
        self._contract = Contract(tuple(labels), spec)
        self._scores = [np.array([row], np.float32) for row in scores]
        if not self._scores or any(row.shape != (1, len(labels)) for row in self._scores):
            raise ValueError(f"scores must be one or more rows of {len(labels)} scores, one a label")
        self.inputs: list[npt.NDArray[np.float32]] = []

    def classifier(self) -> Classifier:
        """A real classifier that uses this interpreter."""
        return Classifier.from_interpreter(self._contract, lambda: self)

    def allocate_tensors(self) -> None:
        """Do nothing."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("input", 0, (1, *self._contract.input.shape))]

    def get_output_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("output", 1, (1, len(self._contract.labels)))]

    def set_tensor(self, index: int, value: Any) -> None:
        """Keep the input."""
        self.inputs.append(np.array(value))

    def invoke(self) -> None:
        """Do nothing."""

    def get_tensor(self, index: int) -> Any:
        """The next row of scores."""
        return self._scores[(len(self.inputs) - 1) % len(self._scores)].copy()


def _details(name: str, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "index": index, "shape": shape, "dtype": np.float32, "quantization": (0.0, 0)}


class FakeCamera:
    """Replaces a camera: gives pictures, for `runtime.camera.frames`, or to a script that names a real camera.

    Args:
        pictures: paths, encoded pictures, or uint8 arrays (HxW or HxWx3, red, green, blue).
        fps: frames a second; by default as fast as they are taken, and none is dropped.
        rounds: how often the pictures are given.
        fails_after: numbers of pictures after which the camera seems unplugged once.

    Attributes:
        starts: how often it was started.

    Example:
        >>> from runtime.camera import frames
        >>> grey = np.zeros((480, 640), np.uint8)
        >>> [frame.image.shape for frame in frames(FakeCamera([grey], rounds=2))]
        [(480, 640), (480, 640)]
        >>> with FakeCamera([grey]).installed():
        ...     frame = next(frames("picamera"))
        >>> frame.layout, frame.image.shape
        ('yuv420', (720, 640))
    """

    name = "fake"
    reconnects = False

    def __init__(
        self, pictures: Sequence[Any], fps: float | None = None, rounds: int = 1, fails_after: Sequence[int] = ()
    ) -> None:
        self._pictures = [Path(one).read_bytes() if isinstance(one, str | os.PathLike) else one for one in pictures]
        self._period = 1 / fps if fps else 0.0
        self._rounds = rounds
        self._fails_after = set(fails_after)
        self._given = 0
        self.damaged = 0
        self.starts = 0
        self.is_recorded = fps is None

    def check(self) -> None:
        """Do nothing."""

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Yield the pictures, at their rate; after the last one it ends."""
        self.starts += 1
        end = time.monotonic()
        while self._given < self._rounds * len(self._pictures) and not stop.is_set():
            if self._given in self._fails_after:
                self._fails_after.remove(self._given)
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            picture = self._pictures[self._given % len(self._pictures)]
            self._given += 1
            end += self._period
            stop.wait(max(0.0, end - time.monotonic()))
            yield picture, None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, `picamera` and `/dev/video...` are this camera: fakes of picamera2 and linuxpy give its pictures."""
        from .fake_cameras import fake_modules

        modules = fake_modules(self)
        before = {name: sys.modules.get(name) for name in modules}
        sys.modules.update(modules)
        try:
            yield
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module
