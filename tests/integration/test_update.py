"""From the repository to a running model: verification, checks on the device, probation, going back."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tuf")
pytest.importorskip("cryptography")

from exporter.repository.admission import Admitted
from runtime.deployment.health import HealthRecorder
from runtime.errors import DeploymentError
from runtime.service import Service
from runtime.update.updating import UpdateOutcome, keep_updating
from tests.support.slots import APP, blind_weights, canary_folder, slot_model
from tests.support.updates import Device, Publisher

pytestmark = pytest.mark.fast


def publish(publisher: Publisher, content: bytes) -> None:
    publisher.repository.add(APP, "model.tflite", Admitted(content, b"{}", "", {"accuracy": "0.9700"}))


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """A repository with one release."""
    found = Publisher(tmp_path)
    publish(found, slot_model(1))
    return found


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    """A device that has the release, and two canaries of each label."""
    canaries = canary_folder(tmp_path / "canaries")
    root = publisher.folder / "metadata" / "root.json"
    made = Device(tmp_path / "device", publisher.folder, root, canaries=canaries, probation=600.0)
    outcome = made.update()
    assert (outcome.status, outcome.probation) == ("installed", 0), "there is none to go back to"
    return made


def test_a_release_that_fails_goes_back_and_stays_away(device: Device, publisher: Publisher) -> None:
    publish(publisher, slot_model(2))
    outcome = device.update()
    assert (outcome.status, str(outcome.release), str(outcome.previous)) == ("installed", "door 2", "door 1")
    assert outcome.probation == 600
    assert "4 of 4 canaries right" in outcome.reason
    assert outcome.release is not None
    assert outcome.release.notes == {"accuracy": "0.9700"}
    later = device.update()
    assert later.status == "current"
    assert 0 < later.probation <= 600
    recorder = HealthRecorder(device.folder, "live-1", time.monotonic)
    recorder.load_failed(outcome.release.sha256, "", "no memory")
    back = device.update()
    assert (back.status, str(back.release), str(back.previous)) == ("rolled back", "door 1", "door 2")
    assert "no memory" in back.reason
    assert device.model == slot_model(1)
    assert device.update().status == "current"
    publish(publisher, slot_model(3))
    assert str(device.update().release) == "door 3"


def test_a_release_on_probation_that_is_revoked(device: Device, publisher: Publisher) -> None:
    publish(publisher, slot_model(2))
    device.update()
    publisher.repository.revoke(APP)
    outcome = device.update()
    assert (outcome.status, str(outcome.release)) == ("installed", "door 1")
    assert device.model == slot_model(1)
    assert device.answers() == "light"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda: slot_model(2, labels=("cat", "dog")), "its labels are not those of the model before it"),
        (lambda: slot_model(2, weights=blind_weights()), "answers 2 of 4 canaries right, the installed model 4"),
        (lambda: slot_model(2, wrong_selftest=True), "door 2: "),
        (lambda: b"signed, and no model", "not a TensorFlow Lite model"),
    ],
)
def test_what_is_signed_and_does_not_fit(
    content: Callable[[], bytes], problem: str, device: Device, publisher: Publisher
) -> None:
    publish(publisher, content())
    for _ in range(2):
        with pytest.raises(DeploymentError, match=problem):
            device.update()
        assert device.model == slot_model(1)
        assert len([*(device.folder / "incoming").iterdir()]) == 1, "it is not fetched again and again"
    publish(publisher, slot_model(3))
    assert str(device.update().release) == "door 3"
    assert not [*(device.folder / "incoming").iterdir()]


def test_new_labels_where_they_are_permitted(device: Device, publisher: Publisher) -> None:
    publish(publisher, slot_model(2, labels=("night", "day")))
    device.settings = device.settings._replace(allow_new_labels=True, canaries=None)
    assert device.update().status == "installed"
    assert device.answers() == "day"


def test_a_disk_without_room(device: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(publisher, slot_model(2))
    usage = shutil.disk_usage(device.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=1000))
    with pytest.raises(DeploymentError, match="1,000 bytes are free"):
        device.update()
    assert device.model == slot_model(1)


def test_a_service_watches_over_the_probation(device: Device, publisher: Publisher) -> None:
    publish(publisher, slot_model(2))
    told: list[str] = []

    def tell(outcome: UpdateOutcome) -> None:
        told.append(outcome.status)
        if outcome.status == "installed":
            assert outcome.release is not None
            HealthRecorder(device.folder, "live-1", time.monotonic).load_failed(outcome.release.sha256, "", "no memory")
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    with Service({}) as service:
        keep_updating(device.settings, 3600, service, tell, device.machine)
    assert told == ["installed", "rolled back"]
