"""The probation of a new model: what services find about it, and the way back.

A model goes back to the one before it if a service died before its first answer or three times in all, could not load
it, or got three errors (one, if it never got an answer); or if it answers "unknown" more often. That last one is a
two-proportion z-test, one-sided, at a level of 0.001, from 50 answers of each model on; and the share must be larger by
5 points, as a small difference is significant once there are thousands of answers, and does not matter.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

from ..errors import DeploymentError
from ..files import shown
from .health import MOST_DEATHS, ModelHealth, read_health
from .slot import Slot

_log = logging.getLogger(__name__)

NO_PROBATION, ON_PROBATION, KEPT, ROLLED_BACK = "none", "running", "good", "rolled back"
_LOOK_EVERY_S, _STOP_EVERY_S = 1.0, 0.2
_MOST_ERRORS = 3
_LEAST_ANSWERS = 50
_LEAST_DIFFERENCE = 0.05
#: The quantile of the normal distribution for a level of 0.001, one-sided.
_CRITICAL_Z = 3.0902


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
    while True:
        outcome = _look(slot)
        if outcome.state != ON_PROBATION:
            return outcome
        end = time.monotonic() + min(_LOOK_EVERY_S, outcome.left)
        while True:
            if stopped():
                return outcome
            rest = end - time.monotonic()
            if rest <= 0:
                break
            time.sleep(min(rest, _STOP_EVERY_S))


def _look(slot: Slot) -> ProbationOutcome:
    """Decide what can be decided now."""
    state = slot.state
    if state.current is None or state.probation is None:
        return ProbationOutcome(NO_PROBATION)
    new = _found(slot, state.current.sha256)
    old = _found(slot, state.previous.sha256) if state.previous is not None else ModelHealth()
    fault = why_back(new, old)
    if fault and state.previous is not None:
        roll_back(slot, fault)
        return ProbationOutcome(ROLLED_BACK, fault)
    left = state.probation.left
    if left:
        return ProbationOutcome(ON_PROBATION, _summary(new, old), left)
    slot.write_state(state._replace(probation=None))
    return ProbationOutcome(KEPT, f"{fault}, and there is no model to go back to" if fault else _summary(new, old))


def _found(slot: Slot, sha256: str) -> ModelHealth:
    each = (health.models[sha256] for health in read_health(slot.health) if sha256 in health.models)
    return reduce(ModelHealth.plus, each, ModelHealth())


def why_back(new: ModelHealth, old: ModelHealth) -> str:
    """Why a new model is worse than the old one; "" if nothing says so.

    Args:
        new, old: what services have found about them.
    """
    because = f": {new.reason}" if new.reason else ""
    if new.deaths_loading:
        return f"a service died before its first answer{because}"
    if new.deaths >= MOST_DEATHS:
        return f"services died {new.deaths} times{because}"
    if new.load_failures:
        return f"a service could not load it{because}"
    if new.errors >= _MOST_ERRORS or (new.errors and not new.answers):
        return f"{new.errors} errors beside {new.answers:,} answers{because}"
    if is_more_often(new.unknown, new.answers, old.unknown, old.answers):
        return f'"unknown" in {_share(new)} of {new.answers:,} answers, before in {_share(old)} of {old.answers:,}'
    return ""


def is_more_often(count: int, total: int, count_before: int, total_before: int) -> bool:
    """Whether a share has grown: by 5 points, and by the two-proportion z-test at a level of 0.001.

    Example:
        >>> is_more_often(40, 100, 10, 100), is_more_often(4, 10, 1, 10), is_more_often(14, 100, 10, 100)
        (True, False, False)
    """
    if min(total, total_before) < _LEAST_ANSWERS:
        return False
    difference = count / total - count_before / total_before
    if difference < _LEAST_DIFFERENCE:
        return False
    pooled = (count + count_before) / (total + total_before)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / total_before))
    return deviation > 0 and difference / deviation > _CRITICAL_Z


def roll_back(slot: Slot, reason: str) -> None:
    """Go back to the model before, and refuse the present one from now on.

    Args:
        slot: the slot.
        reason: why, in one line.

    Raises:
        DeploymentError: there is no model before it, or the slot cannot be written.
    """
    state = slot.state
    if state.current is None or state.previous is None:
        raise DeploymentError(f"{shown(slot.folder)}: there is no model to go back to")
    bad, good = state.current, state.previous
    slot.write_state(state.refusing(bad, reason)._replace(current=good, previous=None, probation=None))
    slot.rename(slot.previous_model, slot.model)
    _log.warning("warning: %s: rolled back to %s: %s", bad, good, reason)


def _share(found: ModelHealth) -> str:
    return f"{100 * found.unknown / found.answers:.1f} %"


def _summary(new: ModelHealth, old: ModelHealth) -> str:
    if not new.answers:
        return "no service has answered with it"
    before = f", before in {_share(old)}" if old.answers else ""
    return f'{new.answers:,} answers, "unknown" in {_share(new)}{before}, {new.errors} errors'
