"""The probation of a new model: what services find about it, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .slot import Slot

NONE, RUNNING, GOOD, ROLLED_BACK = "none", "running", "good", "rolled back"


class ProbationOutcome(NamedTuple):
    """How a probation stands.

    Attributes:
        state: `"none"` (no model is on probation), `"running"`, `"good"` or `"rolled back"`.
        reason: what was found, in one line.
        left: seconds until its end.
    """

    state: str
    reason: str = ""
    left: float = 0.0


def watch_probation(slot: Slot, stopped: Callable[[], bool]) -> ProbationOutcome:
    """Wait for the end of a probation, and go back to the old model where the new one fails.

    Args:
        slot: the slot.
        stopped: called several times a second; True returns `"running"` at once, after one look.

    Raises:
        DeploymentError: the slot cannot be written.
    """
    raise NotImplementedError
