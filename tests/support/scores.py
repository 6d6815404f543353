"""Random scores that depend on random true labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def drawn(count: int, seed: int, levels: int | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores that are higher for positive samples, and whether each is positive; with few levels many are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.3
    scores = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    return (scores if levels is None else np.round(scores * levels) / levels).astype(np.float32), truth
