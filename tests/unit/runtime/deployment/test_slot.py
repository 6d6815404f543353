"""The slot: what it remembers, who may change it, and what it makes of a power loss."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from runtime.deployment import open_slot
from runtime.deployment.slot import digest_of, is_slot, read_state
from runtime.deployment.state import Probation, Release, SlotState
from runtime.errors import DeploymentError
from tests.support.slots import release_of, slot_model

pytestmark = pytest.mark.fast

OLD, NEW = slot_model(1), slot_model(2)
OLD_RELEASE, NEW_RELEASE = release_of(OLD, 1), release_of(NEW, 2)


def write_slot(folder: Path, state: SlotState, model: bytes | None, previous: bytes | None = None) -> Path:
    open_slot(folder).close()
    (folder / "state.json").write_bytes(state.to_json())
    for name, content in (("model.tflite", model), ("previous.tflite", previous)):
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def test_a_slot_is_made_for_services_of_other_accounts(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with open_slot(tmp_path / "door") as slot:
            assert slot.current is None
            assert slot.probation is None
    finally:
        os.umask(before)
    assert is_slot(slot.folder)
    assert stat.S_IMODE(slot.folder.stat().st_mode) == 0o755
    assert stat.S_IMODE(slot.health.stat().st_mode) == 0o1777
    assert stat.S_IMODE((slot.folder / "state.json").stat().st_mode) == 0o644


def test_the_state_survives_its_file() -> None:
    state = SlotState(OLD_RELEASE, NEW_RELEASE._replace(notes={"forced": True}), Probation(60.0, "boot", 3.5))
    state = state.refusing(NEW_RELEASE, "why")
    assert SlotState.from_json(state.to_json()) == state
    assert len(state.refusing(NEW_RELEASE, "again").refused) == 1


def test_a_second_updater_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with open_slot(tmp_path / "door"), pytest.raises(DeploymentError, match="another update is at work"):
        open_slot(tmp_path / "door")
    open_slot(tmp_path / "door").close()


def test_a_file_in_the_place_of_a_slot_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "door").write_text("x")
    with pytest.raises(DeploymentError, match="not a folder"):
        open_slot(tmp_path / "door")
    with pytest.raises(DeploymentError, match="No such file"):
        open_slot(tmp_path / "missing" / "door")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(DeploymentError, match="Permission denied"):
        open_slot(tmp_path / "door")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        SlotState(OLD_RELEASE, None, Probation(9.5, "", 0)).to_json().replace(b"9.5", b"9" * 400),
        b'{"format": "pocketlens-slot", "version": 9}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_state_is_begun_anew_from_the_model(tmp_path: Path, messages: list[str], content: bytes) -> None:
    folder = write_slot(tmp_path / "door", SlotState(OLD_RELEASE), OLD)
    (folder / "state.json").write_bytes(content)
    with open_slot(folder) as slot:
        assert slot.current is not None
        assert slot.current.sha256 == OLD_RELEASE.sha256
        assert slot.model.read_bytes() == OLD
    assert (folder / "state.json.damaged").read_bytes() == content
    assert [line for line in messages if "damaged" in line and "begun anew" in line]
    assert read_state(folder).current is not None


def test_an_install_that_never_renamed_is_undone(tmp_path: Path) -> None:
    state = SlotState(NEW_RELEASE, OLD_RELEASE, Probation.starting(60))
    folder = write_slot(tmp_path / "door", state, OLD, OLD)
    with open_slot(folder) as slot:
        assert slot.current == OLD_RELEASE
        assert slot.probation is None
        assert slot.model.read_bytes() == OLD


def test_a_rollback_that_never_renamed_is_finished(tmp_path: Path) -> None:
    state = SlotState(OLD_RELEASE).refusing(NEW_RELEASE, "bad")
    folder = write_slot(tmp_path / "door", state, NEW, OLD)
    with open_slot(folder) as slot:
        assert slot.model.read_bytes() == OLD
        assert slot.current == OLD_RELEASE
        assert slot.refused(NEW_RELEASE.sha256)
        assert not slot.refused(OLD_RELEASE.sha256)
        assert not slot.previous_model.exists()


def test_a_model_put_there_by_hand_is_the_current_one(tmp_path: Path) -> None:
    folder = write_slot(tmp_path / "door", SlotState(OLD_RELEASE), NEW)
    with open_slot(folder) as slot:
        assert slot.current == Release("", 0, "model.tflite", NEW_RELEASE.sha256)
        assert "by hand" in str(slot.current)


def test_a_model_that_was_removed_can_be_installed_again(tmp_path: Path) -> None:
    folder = write_slot(tmp_path / "door", SlotState(OLD_RELEASE), None)
    with open_slot(folder) as slot:
        assert slot.current is None


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    folder = write_slot(tmp_path / "door", SlotState(OLD_RELEASE), OLD)
    (folder / ".state.json.partial-abc").write_text("x")
    with open_slot(folder):
        assert not [*folder.glob(".*partial*")]


def test_a_probation_starts_anew_with_the_machine(tmp_path: Path) -> None:
    probation = Probation(600.0, "another start", 0.0)
    folder = write_slot(tmp_path / "door", SlotState(NEW_RELEASE, OLD_RELEASE, probation), NEW, OLD)
    with open_slot(folder) as slot:
        assert slot.probation is not None
        assert slot.probation.belongs_to_this_boot
        assert 590 < slot.probation.left <= 600


def test_a_candidate_without_room_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    with open_slot(tmp_path / "door") as slot:
        slot.check_room(10)
        with pytest.raises(DeploymentError, match="bytes are free"):
            slot.check_room(2**60)


def test_the_state_is_plain_json(tmp_path: Path) -> None:
    folder = write_slot(tmp_path / "door", SlotState(OLD_RELEASE), OLD)
    document = json.loads((folder / "state.json").read_text())
    assert document["current"]["sha256"] == digest_of(folder / "model.tflite")
    assert {*document} == {"format", "version", "current", "previous", "probation", "refused"}
