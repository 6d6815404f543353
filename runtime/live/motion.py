"""Whether something moves in front of a camera that stands still."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..camera.frame import Frame, Region

#: The longer side of the copies that are compared, at most.
_SIDE = 80
#: Grey values by which a pixel of the copy must differ: sensors' noise, averaged over 64 pixels, stays far below.
_DIFFERENCE = 12.0
#: The background follows the picture with this time constant, so that daylight and what was left lying become still.
_FOLLOWS_IN_S = 10.0
#: The gate stays open for so long after the last motion, so that a state can settle.
_OPEN_S = 2.0
#: While nothing moves, a frame is looked at once in so many seconds: most of the cost is the decoding.
_LOOK_S = 0.2
DEFAULT_SHARE = 0.005


class MotionGate:
    """Opens while something moves: a small grey copy of each frame is held against a slowly following background.

    A change of the whole picture's brightness, as an exposure's, is no motion. The gate is open for the first two
    seconds, so that there is a first answer.

    Args:
        share: the share of the picture that must differ, above 0.
        region: the part of the picture to look at; by default all of it.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """

    def __init__(self, share: float = DEFAULT_SHARE, region: Region | None = None) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"`motion` is {share:g}, expected a share of the picture above 0, at most 1")
        self._share = share
        self._region = region
        self._background: npt.NDArray[np.float32] | None = None
        self._looked = -math.inf
        self._open_until = -math.inf

    def is_due(self, clock: float) -> bool:
        """Whether a frame of this moment is looked at; while the gate is closed, most are not."""
        return clock < self._open_until or clock - self._looked >= _LOOK_S

    def is_open(self, frame: Frame) -> bool:
        """Look at a frame; whether something moves in it, or has moved a moment ago. Raises ImageError."""
        grey = frame.small_grey(self._region, _SIDE)
        since, self._looked = frame.clock - self._looked, frame.clock
        if self._background is None or self._background.shape != grey.shape:
            self._background = grey.copy()
            self._open_until = frame.clock + _OPEN_S
            return True
        difference = grey - self._background
        self._background += difference * np.float32(1 - math.exp(-max(0.0, since) / _FOLLOWS_IN_S))
        difference -= np.median(difference)
        if np.count_nonzero(np.abs(difference) > _DIFFERENCE) >= max(1.0, self._share * grey.size):
            self._open_until = frame.clock + _OPEN_S
        return frame.clock < self._open_until
