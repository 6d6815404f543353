"""The slot: a folder with the model that services run, the one before it, and what is known about both.

    model.tflite      what runs
    previous.tflite   what ran before it
    state.json        which releases these are, the probation, and what was refused
    incoming/         candidates, which nothing runs
    health/           what each service has found about the models, a file each
    lock              held by the one updater at work

Each change is one file written beside its place, put on the disk and renamed. `state.json` is written before the model
is renamed. So after a power loss the SHA-256 of the models say what has happened, and `open_slot` makes the state fit.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..errors import DeploymentError, ModelFileError, describe
from ..file_lock import is_at, try_lock
from ..files import open_regular_file, shown, sync_folder, write_whole
from .state import MAX_STATE_BYTES, Probation, Release, SlotState

_log = logging.getLogger(__name__)

MODEL_NAME, PREVIOUS_NAME, STATE_NAME, LOCK_NAME = "model.tflite", "previous.tflite", "state.json", "lock"
INCOMING_NAME, HEALTH_NAME = "incoming", "health"
#: Services with accounts of their own write here, and none may remove another's file.
_HEALTH_MODE = 0o1777
_FOLDER_MODE = 0o755
#: Room that stays for the state and the services' health, beyond a candidate.
_SPARE_BYTES = 2**20


class Slot:
    """A slot that is open for changes, by this process alone; a context manager that closes it.

    `open_slot` makes it.

    Attributes:
        folder: the folder.
        state: what `state.json` holds.
    """

    def __init__(self, folder: Path, handle: int, state: SlotState) -> None:
        self.folder = folder
        self.state = state
        self._handle = handle

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another updater in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @property
    def model(self) -> Path:
        """What services run."""
        return self.folder / MODEL_NAME

    @property
    def previous_model(self) -> Path:
        """What a rollback goes back to."""
        return self.folder / PREVIOUS_NAME

    @property
    def incoming(self) -> Path:
        """The folder for candidates."""
        return self.folder / INCOMING_NAME

    @property
    def health(self) -> Path:
        """The folder for what services find about the models."""
        return self.folder / HEALTH_NAME

    @property
    def current(self) -> Release | None:
        """The installed model; None before the first."""
        return self.state.current

    @property
    def probation(self) -> Probation | None:
        """The probation of the installed model; None where it has none."""
        return self.state.probation

    def refused(self, sha256: str) -> bool:
        """Whether a model was installed here once and rolled back; it is not installed again."""
        return any(each.release.sha256 == sha256 for each in self.state.refused)

    def check_room(self, size: int) -> None:
        """Look for room for a candidate before it is fetched.

        Raises:
            DeploymentError: there is too little.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size + _SPARE_BYTES:
            raise DeploymentError(
                f"{shown(self.folder)}: {free:,} bytes are free, and a model needs {size + _SPARE_BYTES:,}; make room"
            )

    def write_state(self, state: SlotState) -> None:
        """Put a state on the disk, then take it over.

        Raises:
            DeploymentError: it cannot be written; the one before stays.
        """
        try:
            write_whole(self.folder / STATE_NAME, state.to_json(), durable=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.state = state

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file inside the slot, and put the names on the disk.

        Raises:
            DeploymentError: it cannot be renamed.
        """
        try:
            source.replace(target)
            sync_folder(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error


def open_slot(folder: Path) -> Slot:
    """Open a slot, and create it where there is none; what a power loss interrupted is finished or undone.

    Args:
        folder: the slot's folder; its parent must exist.

    Raises:
        DeploymentError: it cannot be created or written, another updater is at work in it, or it holds a file in the
            place of a folder.
    """
    folder = Path(folder)
    try:
        _create(folder)
        handle = _locked(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    slot = Slot(folder, handle, SlotState())
    try:
        state, is_damaged = read_state(folder), False
    except DeploymentError as error:
        _log.warning(
            "warning: %s; it is begun anew from the models that lie there, and is kept as %s.damaged", error, STATE_NAME
        )
        state, is_damaged = SlotState(), True
    try:
        if is_damaged:
            slot.rename(folder / STATE_NAME, folder / f"{STATE_NAME}.damaged")
        slot.state = state
        _recover(slot, state)
        _clear(slot)
    except OSError as error:
        slot.close()
        raise unwritable(folder, error) from error
    except BaseException:
        slot.close()
        raise
    return slot


def read_state(folder: Path) -> SlotState:
    """The state of a slot that another process may be changing; the first one where there is none.

    Raises:
        DeploymentError: it cannot be read, or is damaged.
    """
    path = folder / STATE_NAME
    try:
        with open_regular_file(path, DeploymentError) as file:
            return SlotState.from_json(file.read(MAX_STATE_BYTES))
    except DeploymentError:
        if os.path.lexists(path):
            raise
        return SlotState()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged"
        raise DeploymentError(f"{shown(path)}: {reason}") from error


def is_slot(folder: Path) -> bool:
    """Whether a folder is a slot, which has a state."""
    return (folder / STATE_NAME).is_file() and (folder / INCOMING_NAME).is_dir()


def digest_of(path: Path) -> str:
    """The SHA-256 of a model file; "" if there is none that can be read."""
    import hashlib

    digest = hashlib.sha256()
    try:
        with open_regular_file(path, ModelFileError) as file:
            while block := file.read(2**20):
                digest.update(block)
    except (OSError, ModelFileError):
        return ""
    return digest.hexdigest()


def _create(folder: Path) -> None:
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    (folder / INCOMING_NAME).mkdir(exist_ok=True)
    health = folder / HEALTH_NAME
    if not health.exists():
        health.mkdir()
        health.chmod(_HEALTH_MODE)  # whatever the umask is
    if is_new:
        folder.chmod(_FOLDER_MODE)
        sync_folder(folder.parent)


def _locked(folder: Path) -> int:
    path = folder / LOCK_NAME
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        if not try_lock(handle):
            os.close(handle)
            raise DeploymentError(f"{shown(folder)}: another update is at work there; wait for its end, or stop it")
        if is_at(handle, path):
            return handle
        os.close(handle)  # somebody has removed it meanwhile


def _recover(slot: Slot, state: SlotState) -> None:
    """Make the state fit the models that lie there: the models are right."""
    found, before = digest_of(slot.model), digest_of(slot.previous_model)
    wanted = state.current.sha256 if state.current else ""
    if wanted and found != wanted and before == wanted:  # a rollback was interrupted, or the model was removed
        slot.rename(slot.previous_model, slot.model)
        found, before = wanted, ""
    if not found:
        state = state._replace(current=None, previous=None, probation=None)
    elif found != wanted:
        old = state.previous
        by_hand = Release("", 0, MODEL_NAME, found)
        current = old if old is not None and old.sha256 == found else by_hand
        state = state._replace(current=current, previous=None, probation=None)
    elif state.previous is not None and state.previous.sha256 != before:
        state = state._replace(previous=None)
    if state.probation is not None and not state.probation.belongs_to_this_boot:
        state = state._replace(probation=Probation.starting(state.probation.seconds))
    if state != slot.state or not (slot.folder / STATE_NAME).exists():
        slot.write_state(state)


def _clear(slot: Slot) -> None:
    """Remove what killed processes have left half-written."""
    names = (MODEL_NAME, PREVIOUS_NAME, STATE_NAME)
    for name in names:
        for partial in slot.folder.glob(f".{name}.partial-*"):
            with suppress(OSError):
                partial.unlink()


def unwritable(folder: Path, error: OSError) -> DeploymentError:
    """An error of the system in a slot, in one line."""
    if isinstance(error, DeploymentError):
        return error
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return DeploymentError(f"{shown(folder)}: not a folder; name a folder for the model")
    return DeploymentError(
        f"{describe(error)}: the models are as they were" if error.filename is None else describe(error)
    )
