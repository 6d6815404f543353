"""Keeping the frames that the model is least sure of, and a random share beside them, for a later training.

The random share shows what the device sees. Without it, a training on the kept frames would take the rare for the
usual. Both are chosen by one rule: the frames with the smallest keys stay, which for the least sure is the distance
between the two best scores, and for the others a random number (bottom-k sampling: each frame has the same chance,
however many follow). The keys are in the files, so that a restart goes on with the same choice.
"""

from __future__ import annotations

import json
import math
import queue
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..errors import ImageError
from ..files import shown
from ..images import load_pixels
from ..input_spec import ImageInput
from .event import Event
from .outputs import RepeatedWarning
from .pictures import BoundFolder, file_stem
from .sink import OutputError

UNCERTAIN, RANDOM = "uncertain", "random"
#: The share of the folder that is chosen at random.
RANDOM_SHARE = 0.2
#: Bytes of the folder where a number of frames is the limit.
DEFAULT_FOLDER_BYTES = 200 * 10**6
#: Fingerprints have 64 bits; pictures of which so few differ count as copies of each other.
_COPY_BITS = 6
#: After a copy was found, no frame is looked at for so long: nothing moves before the camera.
_PAUSE_AFTER_COPY_S = 1.0
#: Frames that wait to be written; further ones are passed over.
_WAITING = 4
_RESCAN_S = 60.0
_SIDECAR = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{3}}Z-({UNCERTAIN}|{RANDOM})-[0-9a-f]{{4}}-.+\.json")
_MAX_SIDECAR_BYTES = 2**20


class _Kept(NamedTuple):
    """A frame in the folder: its key, its name without suffix, its bytes, its fingerprint."""

    key: float
    stem: str
    size: int
    fingerprint: int


class _Shelf:
    """The frames of one kind: those with the smallest keys, up to a number of frames or of bytes."""

    def __init__(self, frames: int | None, size: int) -> None:
        self._frames = frames
        self._size = size
        self.kept: list[_Kept] = []
        self.bound = math.inf

    def add(self, kept: _Kept) -> list[_Kept]:
        """Add a frame; returns the frames that must go."""
        self.kept.append(kept)
        removed = []
        while len(self.kept) > (self._frames or math.inf) or sum(one.size for one in self.kept) > self._size:
            worst = max(self.kept)
            self.kept.remove(worst)
            removed.append(worst)
            self.bound = min(self.bound, worst.key)
        return removed


class UncertainFrames:
    """Keeps frames in a folder, with a JSON file beside each that has its scores; a `Recorder`.

    Args:
        folder: the folder. Frames that are taken out of it make room for new ones.
        frames: the most frames; None sets no limit.
        size: the most bytes.
        chance: the source of random numbers.
        model: the SHA-256 of the model file that answers, for the JSON files; or a function that gives it, as a model
            may be replaced.
    """

    takes_pictures = True

    def __init__(
        self,
        folder: str,
        frames: int | None = None,
        size: int | None = None,
        chance: random.Random | None = None,
        model: str | Callable[[], str] = "",
    ) -> None:
        self._folder = BoundFolder(folder)
        self._frames = frames
        self._size = DEFAULT_FOLDER_BYTES if size is None else size
        self._chance = chance or random.Random()
        self._model = model
        self._device = socket.gethostname()
        self._trouble = RepeatedWarning()
        self._waiting: queue.Queue[tuple[Event, bytes, Mapping[str, float], str] | None] = queue.Queue(_WAITING)
        self._shelves = self._empty_shelves()
        self._quiet_until = -math.inf
        self._next_scan = -math.inf
        self._thread = threading.Thread(target=self._run, name="pocketlens-uncertain", daemon=True)
        self._thread.start()

    def see(self, event: Event, picture: Callable[[], bytes | None] | None) -> None:
        """Look at an answer; only what may be kept is queued, and nothing waits for the disk."""
        keys = {UNCERTAIN: margin_of(event.scores), RANDOM: self._chance.random()}
        if not any(key < self._shelves[kind].bound for kind, key in keys.items()):
            return
        if time.monotonic() < self._quiet_until or self._waiting.full():
            return
        with suppress(ImageError, queue.Full):  # the answer itself says what is wrong with a picture
            data = event.picture if event.picture is not None or picture is None else picture()
            if data is not None:
                model = self._model if isinstance(self._model, str) else self._model()
                self._waiting.put_nowait((event, data, keys, model))

    def close(self, timeout: float) -> None:
        """Write what waits, for so many seconds at most."""
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        for event, data, keys, model in iter(self._waiting.get, None):
            try:
                if time.monotonic() >= self._next_scan:
                    self._scan()
                self._keep(event, data, keys, model)
                self._trouble.end(f"{shown(self._folder.path)}: frames are kept again")
            except (OutputError, ImageError) as error:
                self._next_scan = -math.inf
                self._trouble.warn(str(error))

    def _keep(self, event: Event, data: bytes, keys: Mapping[str, float], model: str) -> None:
        fingerprint = fingerprint_of(data)
        for shelf in self._shelves.values():
            if any((one.fingerprint ^ fingerprint).bit_count() <= _COPY_BITS for one in shelf.kept):
                self._quiet_until = time.monotonic() + _PAUSE_AFTER_COPY_S
                return
        # A frame that both rules choose counts as random: only then is each frame's chance the same.
        for kind in (RANDOM, UNCERTAIN):
            if keys[kind] < self._shelves[kind].bound:
                self._put(kind, event, data, keys, fingerprint, model)
                return

    def _put(
        self, kind: str, event: Event, data: bytes, keys: Mapping[str, float], fingerprint: int, model: str
    ) -> None:
        stem = file_stem(event, f"{kind}-{self._chance.getrandbits(16):04x}")
        document = {
            **event.as_dict(),
            "kind": kind,
            "key": keys[kind],
            "margin": keys[UNCERTAIN],
            "fingerprint": f"{fingerprint:016x}",
            "model": model,
            "device": self._device,
        }
        sidecar = json.dumps(document).encode()
        kept = _Kept(keys[kind], stem, len(data) + len(sidecar), fingerprint)
        removed = self._shelves[kind].add(kept)
        for one in removed:
            if one is not kept:
                self._folder.remove(f"{one.stem}.json", f"{one.stem}.jpg")
        if kept not in removed:
            self._folder.write(f"{stem}.jpg", data)
            self._folder.write(f"{stem}.json", sidecar)  # last: a sidecar has its picture

    def _scan(self) -> None:
        """Look at what is in the folder: at the start, and as its owner may have taken frames out."""
        sidecars = dict(self._folder.files(_SIDECAR))
        known = {one.stem for shelf in self._shelves.values() for one in shelf.kept}
        if {name.removesuffix(".json") for name in sidecars} != known:
            self._shelves = self._empty_shelves()
            pictures = dict(self._folder.files(re.compile(r".+\.jpg")))
            for name, size in sidecars.items():
                stem = name.removesuffix(".json")
                try:
                    kind, key, fingerprint = _read_sidecar(self._folder.read(name, _MAX_SIDECAR_BYTES))
                except (ValueError, KeyError, TypeError, OutputError):
                    continue  # not ours
                for one in self._shelves[kind].add(
                    _Kept(key, stem, size + pictures.get(f"{stem}.jpg", 0), fingerprint)
                ):
                    self._folder.remove(f"{one.stem}.json", f"{one.stem}.jpg")
        self._next_scan = time.monotonic() + _RESCAN_S

    def _empty_shelves(self) -> dict[str, _Shelf]:
        shelves = {}
        for kind, share in ((UNCERTAIN, 1 - RANDOM_SHARE), (RANDOM, RANDOM_SHARE)):
            frames = None if self._frames is None else max(1, round(self._frames * share))
            shelves[kind] = _Shelf(frames, int(self._size * share))
        return shelves


def margin_of(scores: Mapping[str, float]) -> float:
    """The distance between the two best scores; a small one means that the model is not sure.

    Example:
        >>> margin_of({"open": 0.625, "closed": 0.25, "unclear": 0.125})
        0.375
    """
    best = second = 0.0
    for score in scores.values():
        if score > best:
            best, second = score, best
        elif score > second:
            second = score
    return best - second


def fingerprint_of(data: bytes) -> int:
    """64 bits that hardly differ between pictures that look alike: whether each pixel of a small grey copy is brighter
    than the one at its right ("difference hash").

    Raises:
        ImageError: it is no picture.
    """
    pixels = load_pixels(data, ImageInput(8, 9, "grey"))[:, :, 0].astype(np.int16)
    bits = (pixels[:, :-1] > pixels[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _read_sidecar(data: bytes) -> tuple[str, float, int]:
    document: Any = json.loads(data)
    kind, key = document["kind"], float(document["key"])
    if kind not in (UNCERTAIN, RANDOM) or not math.isfinite(key):
        raise ValueError("not a frame of ours")
    return kind, key, int(document["fingerprint"], 16)
