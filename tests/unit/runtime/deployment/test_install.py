"""Installing a candidate: what is refused leaves all as it was; what is installed is the whole model."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.deployment import Slot, install, open_slot
from runtime.deployment import trial as trials
from runtime.errors import DeploymentError
from tests.support.kills import killed_at_each_change
from tests.support.slots import (
    blind_weights,
    canary_folder,
    filled_slot,
    nan_weights,
    picture,
    put,
    release_of,
    slot_model,
)

OLD, NEW = slot_model(1), slot_model(2)
PASSED = trials.CandidateTrial("passed", (), ())


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    """A slot with the model OLD."""
    with filled_slot(tmp_path / "door", OLD) as slot:
        yield slot


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is tried, which takes time."""
    monkeypatch.setattr("runtime.deployment.installation.try_candidate", lambda *_, **__: PASSED)


def unchanged(slot: Slot) -> bool:
    return slot.model.read_bytes() == OLD and slot.current == release_of(OLD, 1) and slot.probation is None


def test_a_better_model_is_installed(slot: Slot, tmp_path: Path) -> None:
    found = put(slot, NEW, 2, canaries=canary_folder(tmp_path / "canaries"), probation=60.0)
    assert slot.model.read_bytes() == NEW
    assert slot.previous_model.read_bytes() == OLD
    assert (found.release, found.previous) == (release_of(NEW, 2), release_of(OLD, 1))
    assert (found.canaries, found.right, found.right_before) == (4, 4, 4)
    assert found.probation == 60
    assert found.selftest.startswith("passed: 2 images")
    assert not [*slot.incoming.iterdir()]
    assert slot.model.stat().st_mode & 0o777 == 0o644
    slot.close()
    with open_slot(slot.folder) as again:
        assert again.current == release_of(NEW, 2)
        assert again.probation is not None


def test_the_first_model_has_no_probation(tmp_path: Path) -> None:
    with open_slot(tmp_path / "door") as slot:
        found = put(slot, OLD, 1, probation=60.0)
        assert (found.previous, found.probation, slot.probation) == (None, 0, None)


def test_a_release_that_comes_during_a_probation_keeps_the_way_back(slot: Slot, untried: None) -> None:
    put(slot, NEW, 2, probation=60.0)
    put(slot, slot_model(3), 3, probation=60.0)
    assert slot.previous_model.read_bytes() == OLD
    assert slot.state.previous == release_of(OLD, 1)


def test_an_older_release_has_no_probation(slot: Slot, untried: None) -> None:
    put(slot, NEW, 5)
    put(slot, slot_model(3), 3, probation=60.0)
    assert slot.probation is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (slot_model(2, selftest=False), "carries no self-test"),
        (slot_model(2, wrong_selftest=True), "the self-test FAILED"),
        (slot_model(2, weights=nan_weights(), selftest=False), "carries no self-test"),
        (slot_model(2, labels=("light", "dark")), "in another order"),
        (slot_model(2, labels=("dark", "bright")), "new: bright; missing: light"),
        (NEW[:-100], "no Pocketlens seal"),
        (NEW[:100] + b"\0" + NEW[101:], "damaged"),
        (b"", "not a TensorFlow Lite model"),
    ],
)
def test_a_candidate_that_does_not_fit_leaves_all_as_it_was(slot: Slot, content: bytes, reason: str) -> None:
    with pytest.raises(DeploymentError, match=re.escape(reason)) as caught:
        put(slot, content, 2)
    assert "\n" not in str(caught.value)
    assert unchanged(slot)


def test_a_candidate_of_other_bytes_than_its_metadata_is_refused(slot: Slot) -> None:
    candidate = slot.incoming / "candidate"
    candidate.write_bytes(NEW)
    with pytest.raises(DeploymentError, match="its metadata says"):
        install(slot, candidate, release_of(OLD, 2))
    assert unchanged(slot)


def test_new_labels_are_installed_where_they_are_allowed(slot: Slot) -> None:
    content = slot_model(2, labels=("dark", "bright"))
    put(slot, content, 2, allow_new_labels=True)
    assert slot.model.read_bytes() == content


def test_a_model_that_kills_the_interpreter_does_not_kill_the_updater(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_IN_CHILD", "tests.support.slots:die")
    with pytest.raises(DeploymentError, match="SIGSEGV"):
        put(slot, NEW, 2)
    assert unchanged(slot)


def test_a_model_that_is_worse_on_the_canaries_is_refused_by_name(slot: Slot, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"2 of 4 canaries right.*light/0\.png \(light\) as dark"):
        put(slot, slot_model(2, weights=blind_weights()), 2, canaries=canary_folder(tmp_path / "canaries"))
    assert unchanged(slot)


def test_a_canary_that_the_old_model_fails_too_is_forgiven(slot: Slot, tmp_path: Path) -> None:
    canaries = canary_folder(tmp_path / "canaries")
    picture(canaries / "dark" / "odd.png", 255)
    found = put(slot, NEW, 2, canaries=canaries)
    assert (found.canaries, found.right, found.right_before) == (5, 4, 4)


def test_without_an_old_model_every_canary_must_be_right(tmp_path: Path) -> None:
    canaries = canary_folder(tmp_path / "canaries")
    picture(canaries / "dark" / "odd.png", 255)
    with open_slot(tmp_path / "door") as slot:
        with pytest.raises(DeploymentError, match="4 of 5 canaries"):
            put(slot, NEW, 1, canaries=canaries)
        assert slot.current is None
        assert not slot.model.exists()


def test_at_most_twenty_canaries_are_tried_evenly(tmp_path: Path) -> None:
    found = trials.find_canaries(canary_folder(tmp_path, 15), ("dark", "light"))
    assert len(found) == 20
    assert sum(canary.label == "dark" for canary in found) == 10


def _unknown_label(folder: Path) -> None:
    picture(canary_folder(folder) / "blue" / "x.png", 3)


def _undecodable(folder: Path) -> None:
    (canary_folder(folder) / "dark" / "z.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder.mkdir(), "no canaries"),
        (lambda folder: (folder / "dark").mkdir(parents=True), "no canaries"),
        (lambda folder: None, "No such file"),
        (lambda folder: folder.write_text("x"), "Not a directory"),
        (_unknown_label, "'blue' is no label"),
        (_undecodable, "replace this canary"),
    ],
)
def test_bad_canaries_are_one_line(slot: Slot, tmp_path: Path, make: Callable[[Path], Any], reason: str) -> None:
    make(tmp_path / "canaries")
    with pytest.raises(DeploymentError, match=reason) as caught:
        put(slot, NEW, 2, canaries=tmp_path / "canaries")
    assert "\n" not in str(caught.value)
    assert unchanged(slot)


def test_an_old_model_that_cannot_be_read_is_replaced(slot: Slot, messages: list[str]) -> None:
    slot.model.write_bytes(b"damaged")
    put(slot, NEW, 2)
    assert slot.model.read_bytes() == NEW
    assert any("nothing is compared" in line for line in messages)


def test_a_file_system_without_links_gets_a_copy(slot: Slot, untried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_link)
    put(slot, NEW, 2)
    assert (slot.model.read_bytes(), slot.previous_model.read_bytes()) == (NEW, OLD)


def test_a_disk_that_takes_no_more_leaves_all_as_it_was(slot: Slot, untried: None) -> None:
    (slot.incoming / "candidate-2").write_bytes(NEW)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(DeploymentError, match="too large"):
            install(slot, slot.incoming / "candidate-2", release_of(NEW, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert unchanged(slot)
    slot.close()
    with open_slot(slot.folder) as again:
        assert unchanged(again)
        put(again, NEW, 2)
        assert again.model.read_bytes() == NEW


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_file_system_that_fills_up_keeps_the_old_model(tmp_path: Path, untried: None) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs: {mounted.stderr.strip()}")
    try:
        with filled_slot(disk / "door", OLD) as slot:
            (slot.incoming / "candidate-2").write_bytes(NEW)
            with (disk / "filler").open("wb") as filler, suppress(OSError):
                while True:
                    os.write(filler.fileno(), b"x" * 4096)
            with pytest.raises(DeploymentError, match="No space"):
                install(slot, slot.incoming / "candidate-2", release_of(NEW, 2))
            with pytest.raises(DeploymentError, match="bytes are free"):
                slot.check_room(len(NEW))
            assert unchanged(slot)
        with open_slot(disk / "door") as again:
            assert unchanged(again)
            (disk / "filler").unlink()
            install(again, again.incoming / "candidate-2", release_of(NEW, 2))
            assert again.model.read_bytes() == NEW
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_kill_before_any_change_leaves_the_old_model_or_the_new_one(tmp_path: Path, untried: None) -> None:

    def prepare(folder: Path) -> None:
        filled_slot(folder / "door", OLD).close()

    def change(folder: Path) -> None:
        with open_slot(folder / "door") as slot:
            put(slot, NEW, 2, probation=60.0)

    for folder in killed_at_each_change(tmp_path, prepare, change):
        model = (folder / "door" / "model.tflite").read_bytes()
        assert model in (OLD, NEW)
        json.loads((folder / "door" / "state.json").read_text())
        with open_slot(folder / "door") as slot:
            assert slot.current == (release_of(OLD, 1) if model == OLD else release_of(NEW, 2))
            assert (slot.probation is not None) == (model == NEW)
            if model == OLD:
                put(slot, NEW, 2)
            assert slot.previous_model.read_bytes() == OLD
