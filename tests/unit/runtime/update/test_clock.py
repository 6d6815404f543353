"""Devices whose clock is wrong: 1970 at each start, or far in the future."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.errors import UpdateError
from runtime.update.clock import UpdateClock
from tests.support.updates import DAY_S, Device, FakeMachine, Publisher

pytestmark = pytest.mark.fast

BOOT, SIGNED = 60.0, 1_700_000_000.0


def test_the_latest_of_what_is_known(tmp_path: Path) -> None:
    machine = FakeMachine(BOOT)
    clock = UpdateClock(tmp_path / "clock.json", machine)
    assert clock.reference() == (BOOT, True)
    clock.learn(SIGNED, "keys")
    assert clock.reference() == (SIGNED, False)
    machine.pass_time(100)
    assert clock.reference().seconds == SIGNED + 100, "time passes without a clock"
    clock.learn(SIGNED - 1, "keys")
    clock.learn(SIGNED + 50, "keys")
    assert clock.reference().seconds == SIGNED + 100, "it never goes backwards"
    clock.save()
    machine.restart(BOOT)
    clock = UpdateClock(tmp_path / "clock.json", machine)
    assert clock.reference().seconds == SIGNED + 100 + machine.up, "a start takes time too"
    machine.time = SIGNED + 9 * DAY_S
    assert clock.reference() == (machine.time, True)


def test_a_clock_in_the_future_is_used_and_not_stored(tmp_path: Path) -> None:
    machine = FakeMachine(4e9)
    clock = UpdateClock(tmp_path / "clock.json", machine)
    clock.learn(SIGNED, "keys")
    assert clock.reference() == (4e9, True)
    clock.save()
    machine.time = SIGNED + 5
    assert UpdateClock(tmp_path / "clock.json", machine).reference() == (SIGNED + 5, True)


def test_other_keys_forget_what_the_old_ones_said(tmp_path: Path) -> None:
    clock = UpdateClock(tmp_path / "clock.json", FakeMachine(BOOT))
    clock.learn(SIGNED + 1e8, "stolen")
    clock.learn(SIGNED, "new")
    assert clock.reference().seconds == SIGNED


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"signed": "x"}', b'{"signed": 1e300}', b'{"signed": -1}', b'{"other": 1}', b"[" * 9999],
)
def test_a_damaged_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_bytes(content)
    clock = UpdateClock(path, FakeMachine(BOOT))
    clock.learn(SIGNED, "keys")
    assert clock.reference().seconds == SIGNED
    clock.save()
    assert UpdateClock(path, FakeMachine(BOOT)).reference().seconds >= SIGNED


def test_a_device_that_starts_in_1970_gets_updates(device: Device, publisher: Publisher) -> None:
    device.machine.restart(BOOT)
    publisher.add(2)
    assert device.update().status == "installed"


def test_a_device_that_starts_in_1970_is_not_frozen_for_ever(device: Device) -> None:
    """Somebody serves the same state again and again: it expires by the hours that the device has run."""
    for _ in range(6):
        device.machine.restart(BOOT)
        device.machine.pass_time(DAY_S)
        assert device.update().status == "current"
    device.machine.restart(BOOT)
    device.machine.pass_time(2 * DAY_S)
    with pytest.raises(UpdateError, match=r"expired: it is 20\d\d-.* by the signed times of this device; the"):
        device.update()


def test_a_device_that_starts_in_1970_refuses_what_expired_before_it_last_knew_the_time(
    device: Device, publisher: Publisher, first_state: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = device.machine.time + 30 * DAY_S
    monkeypatch.setattr("time.time", lambda: later)
    publisher.add(2)
    device.machine.restart(BOOT)
    assert device.update().status == "installed"
    shutil.rmtree(device.folder / "update" / "metadata")
    with pytest.raises(UpdateError, match=r"timestamp\.json is expired: .* by the signed times of this device"):
        device.update(first_state.folder)


def test_a_clock_of_2099_is_named_and_forgotten(device: Device, publisher: Publisher) -> None:
    right = device.machine.time
    publisher.add(2)
    device.machine.time = 4_070_908_800.0
    for _ in range(2):
        with pytest.raises(UpdateError, match=r"2099-01-01 .* by the clock of this device; set the clock if it is"):
            device.update()
    device.machine.time = right
    assert device.update().status == "installed"


def test_a_root_that_has_expired_is_refused(device: Device) -> None:
    device.machine.time += 800 * DAY_S
    with pytest.raises(UpdateError, match=r"root\.json is expired"):
        device.update()
