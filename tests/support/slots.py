"""Small models of two labels for slots, and a slot with one of them; TensorFlow is not needed.

`two_labels.tflite` is Flatten, then Dense(2) with a softmax, of 2 x 2 grey pixels, each 0 to 1: "light" where their
sum is above 2, otherwise "dark". Its weights stand once in the file, and are replaced here.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import Contract, ImageInput, Provenance, read_model, seal
from runtime.contract import Confidence
from runtime.deployment import Release, Slot, install, open_slot
from runtime.deployment.state import SlotState
from runtime.interpreter import choose, version_of
from runtime.selftest.format import MEMBER, GoldenOutputs, SelfTest
from runtime.selftest.runner import raw_outputs

_FLATBUFFER = Path(__file__).with_name("two_labels.tflite").read_bytes()
_WEIGHTS = np.array([[-4] * 4, [4] * 4], np.float32)
LABELS = ("dark", "light")
APP = "door"


def slot_model(
    number: int = 1,
    *,
    labels: Sequence[str] = LABELS,
    weights: npt.NDArray[np.float32] = _WEIGHTS,
    threshold: float = 0.0,
    selftest: bool = True,
    wrong_selftest: bool = False,
) -> bytes:
    """A sealed model.

    Args:
        number: makes another file of the same model.
        labels: its two labels.
        weights: (2, 4), of the labels and the pixels.
        threshold: below it the answer is "unknown".
        selftest: carry a self-test.
        wrong_selftest: one that fails.
    """
    flatbuffer = _FLATBUFFER.replace(_WEIGHTS.tobytes(), weights.astype(np.float32).tobytes())
    contract = Contract(
        tuple(labels),
        ImageInput(2, 2, "grey", std=(255.0,)),
        provenance=Provenance(seed=number),
        confidence=Confidence(threshold=threshold),
    )
    if not selftest:
        return seal(flatbuffer, contract)
    images = np.array([[[[0]] * 2] * 2, [[[255]] * 2] * 2], np.uint8)
    library = choose("auto")
    outputs, _ = raw_outputs(read_model(seal(flatbuffer, contract)), images, library)
    if wrong_selftest:
        outputs = outputs[::-1].copy()
    machine = os.uname().machine
    test = SelfTest(images, (GoldenOutputs(library, version_of(library), machine, outputs),), 1e-4, 1e-2)
    return seal(flatbuffer, contract, {MEMBER: test.to_json()})


def blind_weights() -> npt.NDArray[np.float32]:
    """Weights of a model that answers "dark" to everything."""
    return -_WEIGHTS


def unsure_weights() -> npt.NDArray[np.float32]:
    """Weights of a model that gives white both labels with half of the probability."""
    return _WEIGHTS / 2


def nan_weights() -> npt.NDArray[np.float32]:
    """Weights of a model that gives no numbers."""
    return np.full_like(_WEIGHTS, np.nan)


def release_of(content: bytes, version: int, app: str = APP) -> Release:
    """What the metadata of a model says."""
    return Release(app, version, f"{app}-{version}.tflite", hashlib.sha256(content).hexdigest())


def put(slot: Slot, content: bytes, version: int, **options: Any) -> Any:
    """Install a model."""
    candidate = slot.incoming / f"candidate-{version}"
    candidate.write_bytes(content)
    return install(slot, candidate, release_of(content, version), **options)


def filled_slot(folder: Path, *contents: bytes) -> Slot:
    """An open slot, into which models were installed one after the other, without a trial."""
    slot = open_slot(folder)
    releases = [release_of(content, version) for version, content in enumerate(contents, 1)]
    for path, content in zip((slot.model, slot.previous_model), contents[::-1], strict=False):
        path.write_bytes(content)
    slot.write_state(SlotState(releases[-1], releases[-2] if len(releases) > 1 else None))
    return slot


def picture(path: Path, level: int) -> Path:
    """A grey picture of one level, 0 to 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)
    return path


def canary_folder(folder: Path, each: int = 2) -> Path:
    """Canaries of both labels."""
    for number in range(each):
        picture(folder / "dark" / f"{number}.png", 10 + number)
        picture(folder / "light" / f"{number}.png", 240 + number)
    return folder


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds; an AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def die(*_arguments: object) -> None:
    """End this process as a model does that the interpreter cannot bear."""
    os.kill(os.getpid(), signal.SIGSEGV)
