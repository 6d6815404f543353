"""The probation: what services find about a new model, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.deployment import Slot, open_slot, watch_probation
from runtime.deployment.health import HealthRecorder, ModelHealth, ServiceHealth, read_health
from runtime.deployment.probation import roll_back, why_back
from runtime.deployment.state import Probation
from runtime.errors import DeploymentError
from tests.support.slots import filled_slot, put, release_of, slot_model

pytestmark = pytest.mark.fast

OLD, NEW = slot_model(1), slot_model(2)
OLD_SHA, NEW_SHA = release_of(OLD, 1).sha256, release_of(NEW, 2).sha256


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    """A slot with the model NEW on probation, and OLD before it."""
    with filled_slot(tmp_path / "door", OLD, NEW) as slot:
        slot.write_state(slot.state._replace(probation=Probation.starting(600)))
        yield slot


def recorder(slot: Slot, name: str = "live-1", clock: Callable[[], float] = time.monotonic) -> HealthRecorder:
    return HealthRecorder(slot.folder, name, clock)


def look(slot: Slot) -> str:
    return watch_probation(slot, lambda: True).state


def found(slot: Slot, sha256: str = NEW_SHA) -> ModelHealth:
    (health,) = read_health(slot.health)
    return health.models[sha256]


def died(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the services that have written to a slot be dead."""
    monkeypatch.setattr("runtime.deployment.health._is_alive", lambda _health: False)


def is_rolled_back(slot: Slot) -> bool:
    return slot.model.read_bytes() == OLD and slot.refused(NEW_SHA) and slot.probation is None


def test_a_good_model_stays_after_its_time(slot: Slot) -> None:
    service = recorder(slot)
    service.loading(NEW_SHA)
    service.answered(NEW_SHA, False)
    assert look(slot) == "running"
    slot.write_state(slot.state._replace(probation=Probation.starting(0.3)))
    outcome = watch_probation(slot, lambda: False)
    assert outcome.state == "good"
    assert "1 answers" in outcome.reason
    assert slot.model.read_bytes() == NEW
    assert look(slot) == "none"


def test_a_probation_without_a_service_says_so(slot: Slot) -> None:
    slot.write_state(slot.state._replace(probation=Probation.starting(0)))
    assert watch_probation(slot, lambda: False).reason == "no service has answered with it"


def test_a_model_that_a_service_cannot_load_goes_back(slot: Slot) -> None:
    recorder(slot).load_failed(NEW_SHA, OLD_SHA, "no memory")
    outcome = watch_probation(slot, lambda: False)
    assert outcome.state == "rolled back"
    assert "no memory" in outcome.reason
    assert is_rolled_back(slot)
    slot.close()
    with open_slot(slot.folder) as again:
        assert is_rolled_back(again)
        with pytest.raises(DeploymentError, match="not installed again"):
            put(again, NEW, 2)


def test_errors_roll_back_and_one_error_among_answers_does_not(slot: Slot) -> None:
    service = recorder(slot)
    service.loading(NEW_SHA)
    service.answered(NEW_SHA, False)
    service.failed(NEW_SHA, "NaN")
    assert look(slot) == "running"
    service.failed(NEW_SHA, "NaN")
    service.failed(NEW_SHA, "NaN")
    assert look(slot) == "rolled back"
    assert is_rolled_back(slot)


def test_an_error_without_any_answer_rolls_back(slot: Slot) -> None:
    service = recorder(slot)
    service.loading(NEW_SHA)
    service.failed(NEW_SHA, "NaN")
    assert look(slot) == "rolled back"


def test_a_service_that_died_while_loading_rolls_back(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder(slot).loading(NEW_SHA)
    died(slot, monkeypatch)
    recorder(slot).loading(NEW_SHA)
    assert found(slot).deaths_loading == 1
    outcome = watch_probation(slot, lambda: True)
    assert outcome.state == "rolled back"
    assert "died" in outcome.reason


def test_a_power_loss_while_loading_counts_as_one_death_of_three(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        monkeypatch.setattr("runtime.deployment.health.boot_id", lambda number=number: f"boot {number}")
        monkeypatch.setattr("runtime.deployment.state.boot_id", lambda: slot.probation.boot if slot.probation else "")
        recorder(slot).loading(NEW_SHA)
        assert found(slot).deaths == number
        assert found(slot).deaths_loading == 0
    assert look(slot) == "running"


def test_a_service_that_keeps_dying_goes_back_by_itself(
    slot: Slot, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    died(slot, monkeypatch)
    for _ in range(3):
        service = recorder(slot)
        assert service.model_to_load(slot.model) == slot.model
        service.loading(NEW_SHA)
        service.answered(NEW_SHA, False)
    service = recorder(slot)
    assert service.model_to_load(slot.model) == slot.previous_model
    assert any("died 3 times" in line for line in messages)
    service.loading(OLD_SHA)
    service.close()
    assert recorder(slot).model_to_load(slot.model) == slot.previous_model
    assert look(slot) == "rolled back"


def test_deaths_outside_of_a_probation_count_for_nothing(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    slot.write_state(slot.state._replace(probation=None))
    died(slot, monkeypatch)
    for _ in range(5):
        recorder(slot).loading(NEW_SHA)
    slot.write_state(slot.state._replace(probation=Probation.starting(60)))
    assert look(slot) == "running"


def test_a_clean_end_is_no_death(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    died(slot, monkeypatch)
    for _ in range(4):
        service = recorder(slot)
        service.loading(NEW_SHA)
        service.close()
    assert found(slot).deaths == 0


def test_more_unknown_rolls_back_by_a_test_of_proportions(slot: Slot) -> None:
    service = recorder(slot)
    service.loading(OLD_SHA)
    for number in range(200):
        service.answered(OLD_SHA, number % 20 == 0)
    service.loading(NEW_SHA)
    for number in range(49):
        service.answered(NEW_SHA, number % 2 == 0)
    service.close()
    assert look(slot) == "running", "too few answers"
    service.loading(NEW_SHA)
    for number in range(10):
        service.answered(NEW_SHA, number % 2 == 0)
    service.close()
    outcome = watch_probation(slot, lambda: True)
    assert outcome.state == "rolled back"
    assert '"unknown" in 50.8 % of 59 answers, before in 5.0 % of 200' in outcome.reason


@pytest.mark.parametrize(
    ("new", "old", "goes_back"),
    [
        (ModelHealth(100, 30), ModelHealth(100, 10), True),
        (ModelHealth(100, 20), ModelHealth(100, 10), False),  # p = 0.024
        (ModelHealth(100_000, 11_500), ModelHealth(100_000, 10_000), False),  # significant, and small
        (ModelHealth(100, 5), ModelHealth(100, 50), False),
        (ModelHealth(40, 40), ModelHealth(100, 0), False),  # too few
        (ModelHealth(100, 100), ModelHealth(), False),  # nothing to compare with
        (ModelHealth(100, 100), ModelHealth(100, 100), False),
        (ModelHealth(100, errors=2), ModelHealth(), False),
        (ModelHealth(100, errors=3), ModelHealth(), True),
        (ModelHealth(deaths=2), ModelHealth(), False),
        (ModelHealth(deaths=3), ModelHealth(), True),
        (ModelHealth(deaths=1, deaths_loading=1), ModelHealth(), True),
        (ModelHealth(), ModelHealth(), False),
    ],
)
def test_what_sends_a_model_back(new: ModelHealth, old: ModelHealth, goes_back: bool) -> None:
    assert bool(why_back(new, old)) == goes_back


def test_services_are_counted_together(slot: Slot) -> None:
    for name in ("live-1", "watch-2", "serve-3"):
        service = recorder(slot, name)
        service.loading(NEW_SHA)
        service.answered(NEW_SHA, False)
        service.failed(NEW_SHA, "NaN")
    assert look(slot) == "rolled back"


def test_the_card_is_written_seldom(slot: Slot) -> None:
    now = [0.0]
    service = recorder(slot, clock=lambda: now[0])
    service.loading(NEW_SHA)
    writes = 0
    content = b""
    for _ in range(10 * 600):  # ten answers a second for ten minutes
        now[0] += 0.1
        service.answered(NEW_SHA, False)
        fresh = (slot.health / "live-1.json").read_bytes()
        writes += fresh != content
        content = fresh
    assert writes <= 62
    slot.write_state(slot.state._replace(probation=None))
    for _ in range(10 * 1200):
        now[0] += 1
        service.answered(NEW_SHA, False)
        fresh = (slot.health / "live-1.json").read_bytes()
        writes += fresh != content
        content = fresh
    assert writes <= 62 + 1 + 4


def test_what_strangers_write_is_passed_over(slot: Slot) -> None:
    good = ServiceHealth("x", models={NEW_SHA: ModelHealth(3)})
    (slot.health / "good.json").write_bytes(good.to_json())
    (slot.health / "bad.json").write_bytes(b'{"format": "pocketlens-health", "version": 1}')
    (slot.health / "deep.json").write_bytes(b"[" * 60_000)
    (slot.health / "huge.json").write_bytes(good.to_json().replace(b"3", b"9" * 400))
    (slot.health / "folder.json").mkdir()
    (slot.health / "loop.json").symlink_to("loop.json")
    assert [*read_health(slot.health)] == [good]
    assert look(slot) == "running"


def test_a_service_that_may_not_write_goes_on(slot: Slot, messages: list[str]) -> None:
    slot.health.rmdir()
    slot.health.write_text("in the way")
    service = recorder(slot)
    service.loading(NEW_SHA)
    for _ in range(3):
        service.failed(NEW_SHA, "NaN")
    assert len([line for line in messages if "updates learn nothing" in line]) == 1


def test_a_second_probation_of_a_model_begins_without_old_trouble(slot: Slot) -> None:
    service = recorder(slot)
    service.loading(NEW_SHA)
    service.answered(NEW_SHA, False)
    service.failed(NEW_SHA, "NaN")
    service.loading(OLD_SHA)
    service.loading(NEW_SHA)
    assert found(slot).errors == 0


def test_there_is_no_way_back_from_the_first_model(tmp_path: Path) -> None:
    with filled_slot(tmp_path / "first", OLD) as slot, pytest.raises(DeploymentError, match="no model to go back to"):
        roll_back(slot, "why")
