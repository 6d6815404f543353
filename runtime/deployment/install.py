"""Installing a candidate: is it whole, does it fit, does it work on this device, and then the swap."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .slot import Slot
from .state import Release


class InstallResult(NamedTuple):
    """What was installed.

    Attributes:
        release: the new model.
        previous: the model before it; None for the first.
        selftest: what the self-test has compared, in one line.
        canaries: how many pictures with known answers were tried.
        right: how many of them the new model answers right.
        right_before: how many of them the old model answers right; None where there is none that works.
        probation: seconds in which the model may still be rolled back; 0 for none.
    """

    release: Release
    previous: Release | None
    selftest: str
    canaries: int
    right: int
    right_before: int | None
    probation: float


def install(
    slot: Slot,
    candidate: Path,
    release: Release,
    *,
    allow_new_labels: bool = False,
    canaries: Path | None = None,
    probation: float = 0.0,
) -> InstallResult:
    """Install a candidate after it was checked; running services load it, and the model before it is kept.

    Args:
        slot: the slot.
        candidate: a verified, complete file in `slot.incoming`; it becomes the model.
        release: what the metadata says of it.
        allow_new_labels: accept other labels, or another order of them.
        canaries: a folder of pictures with known answers, one subfolder for each label; None for none.
        probation: seconds in which the model may be rolled back; 0 for none.

    Raises:
        DeploymentError: it is refused, or cannot be installed; the old model stays, and so does the candidate.
    """
    raise NotImplementedError
