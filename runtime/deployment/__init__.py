"""What happens on the device to a new model: the slot that holds it, checks, the swap, probation and rollback.

`installation` and `probation` call the other modules. They may import the runtime's modules except `cli`, and no click.
"""

from __future__ import annotations

from .installation import InstallResult, install
from .probation import ProbationOutcome, watch_probation
from .slot import Slot, open_slot
from .state import Probation, Release

__all__ = [
    "InstallResult",
    "Probation",
    "ProbationOutcome",
    "Release",
    "Slot",
    "install",
    "open_slot",
    "watch_probation",
]
