"""Which picture is shown next: the one whose label helps most.

The margin between the model's two best scores comes first, in steps of a tenth: within a step the model is equally
unsure of all. There the picture comes first that is farthest from everything that has a label already (farthest-first
traversal: Sener and Savarese, 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach"). Without
scores the distance alone decides, without distances the order of the names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from runtime.outputs.uncertain import margin_of

_STEPS = 10
_WAITING, _SKIPPED, _DECIDED, _UNREADABLE = range(4)
#: Pictures whose distances are computed at once.
_AT_ONCE = 512

PictureValues = npt.NDArray[np.float32]


class Ranking:
    """The order of the pictures that wait for a label. Any thread may call.

    Args:
        count: the number of pictures; they are named by their places from 0.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._states = np.zeros(count, np.uint8)
        self._steps = np.zeros(count, np.int8)
        self._skips = np.zeros(count, np.int64)
        self._distances = np.zeros(count, np.float32)
        #: The picture that stands for its near copies.
        self._leaders = np.arange(count)
        self._values: PictureValues | None = None
        self._labelled: list[PictureValues] = []

    def set_scores(self, place: int, scores: Mapping[str, float]) -> None:
        """Set a picture's scores; the best two say how sure the model is."""
        with self._lock:
            self._steps[place] = min(_STEPS, int(margin_of(scores) * _STEPS)) if scores else 0

    def set_values(self, values: PictureValues, labelled: PictureValues) -> None:
        """Set what the pictures are compared by.

        Args:
            values: of each picture, shape (pictures, values).
            labelled: of pictures with a label, shape (n, values).
        """
        distances = np.full(len(values), np.inf, np.float32)
        for start in range(0, len(values), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            for low in range(0, len(labelled), _AT_ONCE):
                block = labelled[low : low + _AT_ONCE]
                squares = np.square(values[part]).sum(1)[:, None] + np.square(block).sum(1) - 2 * values[part] @ block.T
                np.minimum(distances[part], squares.min(axis=1), out=distances[part])
        with self._lock:
            self._values, self._distances = values, distances
            for place in np.flatnonzero(self._states == _DECIDED):
                self._approach(int(place))

    def set_copies(self, groups: Iterable[Sequence[int]]) -> None:
        """Set which pictures are near copies of each other; the first of a group stands for all."""
        with self._lock:
            for group in groups:
                self._leaders[list(group)] = group[0]

    def separate(self, place: int) -> None:
        """Show the near copies of a picture one by one."""
        with self._lock:
            copies = np.flatnonzero(self._leaders == self._leaders[place])
            self._leaders[copies] = copies

    def copies_of(self, place: int) -> list[int]:
        """The other pictures of a picture's group that have no label yet."""
        with self._lock:
            same = (self._leaders == self._leaders[place]) & (self._states <= _SKIPPED)
            return [int(other) for other in np.flatnonzero(same) if other != place]

    def decide(self, places: Iterable[int], *, is_labelled: bool = True) -> None:
        """Pictures have a label, or belong to no class."""
        with self._lock:
            for place in places:
                self._states[place] = _DECIDED
                if is_labelled:
                    self._approach(place)

    def skip(self, places: Iterable[int]) -> None:
        """Pictures come back after all others."""
        with self._lock:
            for place in places:
                self._states[place], self._skips[place] = _SKIPPED, self._skips.max() + 1

    def reopen(self, places: Iterable[int]) -> None:
        """Pictures wait again. Their distance to what is labelled stays: the next start computes it anew."""
        with self._lock:
            for place in places:
                self._states[place], self._skips[place] = _WAITING, 0

    def leave_out(self, place: int) -> None:
        """A picture cannot be read."""
        with self._lock:
            self._states[place] = _UNREADABLE

    def first(self, count: int) -> list[int]:
        """The pictures to show next, of each group one."""
        with self._lock:
            places = np.flatnonzero(self._states <= _SKIPPED)
            order = np.lexsort((places, -self._distances[places], self._steps[places], self._skips[places]))
            shown, groups = list[int](), set[int]()
            for place in places[order].tolist():
                if self._leaders[place] not in groups:
                    groups.add(int(self._leaders[place]))
                    shown.append(place)
                    if len(shown) == count:
                        break
            return shown

    def counts(self) -> dict[str, int]:
        """How many pictures wait, were skipped, have a decision, and cannot be read."""
        with self._lock:
            waiting, skipped, decided, unreadable = np.bincount(self._states, minlength=4).tolist()
        return {"waiting": waiting, "skipped": skipped, "decided": decided, "unreadable": unreadable}

    def _approach(self, place: int) -> None:
        """A picture has a label: others are as far from what is labelled as from it, at most."""
        if self._values is not None:
            squares = np.square(self._values - self._values[place]).sum(axis=1)
            np.minimum(self._distances, squares, out=self._distances)
