"""The chosen trial of a search becomes a run: from its checkpoint to the weights of a training at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support import trials
from tests.support.trials import DATA
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.trials import trial, whole

SETTINGS = trials.SETTINGS | {"epochs": 2}


def weights(model: Path) -> list[Any]:
    return list(keras.saving.load_model(model).get_weights())


def test_a_trial_is_trained_to_its_end_as_a_run(tmp_path: Path) -> None:
    started, at_once, run = tmp_path / "started", tmp_path / "at_once", tmp_path / "runs" / "3"
    trial.train_trial(DATA, SETTINGS, str(started), 1)
    trial.train_trial(DATA, SETTINGS, str(at_once), 2)
    checkpoint = (started / trial.CHECKPOINT).read_bytes()
    figures = whole.train_whole(DATA, SETTINGS, str(run), str(started / trial.CHECKPOINT), False)
    assert (started / trial.CHECKPOINT).read_bytes() == checkpoint  # the search may go on from it
    assert figures["epochs"] == 2
    assert 0 <= figures["test"]["accuracy"] <= 1
    found = read_run(run)
    assert len(found.splits["test"]) == 359
    assert [path.name for path in run.parent.iterdir()] == ["3"]  # nothing is left beside it
    for one, other in zip(weights(run / "model.keras"), weights(at_once / trial.MODEL), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RunError, match="holds a run already"):
        whole.train_whole(DATA, SETTINGS, str(run), None, False)
