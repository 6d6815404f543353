"""Installing a candidate: is it whole, does it fit, does it work on this device, and then the swap."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..contract import Contract
from ..errors import ContractError, DeploymentError, ModelFileError, PocketlensError
from ..files import shown
from ..model_file import MAX_MODEL_BYTES, read_model, sha256
from ..progress import progress
from .fit import other_answers, other_input
from .slot import PREVIOUS_NAME, Slot, unwritable
from .state import Probation, Release
from .trial import Canary, CandidateTrial, find_canaries, try_candidate

_log = logging.getLogger(__name__)

#: Canaries that a message names.
_MOST_NAMED = 3


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
        allow_new_labels: accept other labels, another order of them, or another task.
        canaries: a folder of pictures with known answers, one subfolder for each label; None for none.
        probation: seconds in which the model may be rolled back; 0 for none.

    Raises:
        DeploymentError: it is refused, or cannot be installed; the old model stays, and so does the candidate.
    """
    if candidate.parent != slot.incoming:
        raise ValueError(f"candidate is {shown(candidate)}, expected a file in {shown(slot.incoming)}")
    if slot.refused(release.sha256):
        raise DeploymentError(f"{release}: was rolled back here; it is not installed again")
    contract = _read_candidate(candidate, release)
    old = _old_contract(slot)
    if old is not None:
        _check_fit(release, contract, old, allow_new_labels)
    pictures = find_canaries(canaries, contract.labels)
    with progress(2, f"trying {release}") as bar:
        trial = _try(candidate, release, pictures)
        bar.update(1)
        before = _try_old(slot, pictures) if old is not None and pictures else None
        bar.update(1)
    _compare(release, trial, before, len(pictures))
    previous = slot.current
    # The first model has none before it; and an older release, to which a revocation leads, was known before.
    is_newer = previous is not None and not (release.app == previous.app and release.version < previous.version)
    _swap(slot, candidate, release, probation if is_newer else 0.0)
    return InstallResult(
        release,
        previous,
        trial.selftest,
        len(pictures),
        len(trial.right),
        None if before is None else len(before.right),
        slot.probation.seconds if slot.probation else 0.0,
    )


def _read_candidate(candidate: Path, release: Release) -> Contract:
    """The candidate's contract.

    Raises:
        DeploymentError: the file is not the one that the metadata describes, or no model of ours.
    """
    try:
        file = read_model(candidate)
        found = sha256(file.content)
        if found != release.sha256:
            raise DeploymentError(
                f"{shown(candidate)}: SHA-256 {found[:12]}..., its metadata says {release.sha256[:9]}...; fetch it anew"
            )
        return file.contract
    except (ModelFileError, ContractError) as error:
        raise DeploymentError(f"{error}; nothing is changed") from error


def _old_contract(slot: Slot) -> Contract | None:
    """The contract that services rely on; None where there is no model, or none that can be read."""
    if slot.current is None:
        return None
    try:
        return read_model(slot.model).contract
    except PocketlensError as error:
        _log.warning("warning: %s; nothing is compared with it", error)
        return None


def _check_fit(release: Release, new: Contract, old: Contract, allow_new_labels: bool) -> None:
    """Refuse a model that gives other answers, or takes another input, than services expect."""
    own_slot = "install it into a slot of its own"
    input_differs = other_input(new, old)
    if input_differs:
        raise DeploymentError(f"{release}: {input_differs}; {own_slot}")
    answers_differ = "" if allow_new_labels else other_answers(new, old)
    if answers_differ:
        raise DeploymentError(f"{release}: {answers_differ}; permit it by `allow_new_labels`, or {own_slot}")


def _try(candidate: Path, release: Release, pictures: tuple[Canary, ...]) -> CandidateTrial:
    try:
        return try_candidate(candidate, pictures, selftest=True)
    except DeploymentError as error:
        raise DeploymentError(f"{release}: {error}") from error


def _try_old(slot: Slot, pictures: tuple[Canary, ...]) -> CandidateTrial | None:
    """What the old model does with the canaries; None if it does not work, which any model is better than."""
    try:
        return try_candidate(slot.model, pictures, selftest=False)
    except DeploymentError as error:
        _log.warning("warning: %s", error)
        return None


def _compare(release: Release, trial: CandidateTrial, before: CandidateTrial | None, count: int) -> None:
    """Refuse a model that is right on fewer canaries than the old one, or without an old one not on all of them."""
    needed = count if before is None else len(before.right)
    if len(trial.right) >= needed:
        return
    lost = [each for each in trial.wrong if before is None or each[0] in before.right] or [*trial.wrong]
    named = ", ".join(f"{shown(canary.path)} ({canary.label}) as {answer}" for canary, answer in lost[:_MOST_NAMED])
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    than = "" if before is None else f", the installed model {needed}"
    raise DeploymentError(
        f"{release}: answers {len(trial.right)} of {count} canaries right{than}: it answers {named}{more}; the model "
        "is worse, or these canaries are wrong"
    )


def _swap(slot: Slot, candidate: Path, release: Release, probation: float) -> None:
    """Make the candidate the model: keep the old one, write the state, and rename."""
    state = slot.state
    # A model that is still on probation is no model to go back to, if there is one before it.
    keeps_previous = state.probation is not None and state.previous is not None
    old = state.previous if keeps_previous else state.current
    try:
        _put_on_disk(candidate)
        candidate.chmod(0o644)  # services have accounts of their own
        if old is not None and not keeps_previous:
            _keep(slot)
    except OSError as error:
        raise unwritable(slot.folder, error) from error
    trial = Probation.starting(probation) if probation else None
    slot.write_state(state._replace(current=release, previous=old, probation=trial))
    try:
        slot.rename(candidate, slot.model)
    except DeploymentError:
        with suppress(DeploymentError):  # the next `open_slot` sees by the model that it is the old one
            slot.write_state(state._replace(previous=None))
        raise


def _keep(slot: Slot) -> None:
    """Give the installed model a second name; where the file system knows no links, a copy."""
    beside = slot.folder / f".{PREVIOUS_NAME}.partial-link"
    beside.unlink(missing_ok=True)
    try:
        os.link(slot.model, beside)
    except OSError:
        slot.check_room(min(slot.model.stat().st_size, MAX_MODEL_BYTES))
        shutil.copyfile(slot.model, beside)
        _put_on_disk(beside)
    slot.rename(beside, slot.previous_model)
    beside.unlink(missing_ok=True)  # renaming one of two names of the same file does nothing


def _put_on_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
