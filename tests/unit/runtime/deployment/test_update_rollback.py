"""A whole update of a device, a model that fails in its probation, and the next updates."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tuf")  # an extra
pytest.importorskip("cryptography")

from exporter.repository.admission import Admitted
from runtime import ModelFollower
from runtime.deployment.slot import read_state
from runtime.update.rings import FULL_ROLLOUT
from tests.support.slots import APP, picture, release_of, slot_model, unsure_weights, until
from tests.support.updates import Device, Publisher


def test_a_worse_model_goes_back_at_the_next_update_and_only_a_newer_one_comes(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    models = [slot_model(1), slot_model(2, weights=unsure_weights(), threshold=0.9), slot_model(3)]

    def publish(number: int) -> None:
        admitted = Admitted(models[number - 1], b"{}", "", {})
        publisher.repository.add(APP, f"{number}.tflite", admitted, rollout=FULL_ROLLOUT)

    root = publisher.folder / "metadata" / "1.root.json"
    device = Device(tmp_path / "door", publisher.folder, root, probation=600.0)
    white = picture(tmp_path / "white.png", 255)
    publish(1)
    assert device.update().status == "installed"
    with ModelFollower(device.folder / "model.tflite", check_every=0.02) as model:
        for _ in range(60):
            model.classify(white)
        publish(2)
        assert device.update().probation == 600  # whoever ran it is gone now
        until(lambda: model.sha256 == release_of(models[1], 2).sha256)
        for _ in range(60):
            assert model.classify(white)[0].label == "unknown"
    found = device.update()
    assert found.status == "rolled back"
    assert '"unknown" in 100.0 % of 60 answers, before in 0.0 % of 60' in found.reason
    assert device.model == models[0]
    assert device.update().status in ("current", "none")
    assert device.model == models[0]
    assert [each.release.version for each in read_state(device.folder).refused] == [2]
    publish(3)
    assert device.update().status == "installed"
    assert device.model == models[2]
