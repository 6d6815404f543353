"""A trial goes on from its checkpoint to the same weights as at once, and is written untrained before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from runtime import Contract
from tests.support.trials import DATA, SETTINGS
from trainer.errors import TrainingError
from trainer.trials import trial


def weights(folder: Path) -> list[Any]:
    return list(keras.saving.load_model(folder / trial.MODEL).get_weights())


def test_a_pause_does_not_show_in_the_result(tmp_path: Path) -> None:
    parts, at_once = tmp_path / "parts", tmp_path / "at_once"
    first = trial.train_trial(DATA, SETTINGS, str(parts), 1)
    assert (first["epochs"], first["stopped"]) == (1, "")
    early = weights(parts)
    again = trial.train_trial(DATA, SETTINGS, str(parts), 1)  # killed after the epoch, before it was told
    assert again == first
    second = trial.train_trial(DATA, SETTINGS, str(parts), 3)
    assert second["epochs"] == 3
    whole = trial.train_trial(DATA, SETTINGS, str(at_once), 3)
    assert whole | {"seconds": 0} == second | {"seconds": 0}
    for one, other in zip(weights(parts), weights(at_once), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(early, weights(parts), strict=True))
    json.dumps(second)


def test_an_untrained_trial_has_the_layers_and_the_contract(tmp_path: Path) -> None:
    trial.write_untrained({"name": "digits", "image_size": [16, 16]}, SETTINGS, str(tmp_path))
    contract = Contract.from_json((tmp_path / "contract.json").read_text(encoding="utf-8"))
    model = keras.saving.load_model(tmp_path / trial.MODEL)
    assert contract.input.shape == model.input_shape[1:] == (16, 16, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract.json", trial.MODEL]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(TrainingError, match="widths"):
        trial.read_settings(SETTINGS | {"widths": [4, 6]})
