"""Keras callbacks of the user, and `--tensorboard`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.commands import answer, call_pocketlens
from trainer import TrainingConfig, load_dataset, train
from trainer.errors import TrainingError

CONFIG = TrainingConfig("dense", units=(16,), epochs=4)


def test_callbacks_get_each_epoch_and_change_nothing() -> None:
    data, logs = load_dataset("digits"), []
    recorder = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, figures: logs.append((epoch, dict(figures))))
    run, plain = train(data, CONFIG, callbacks=[recorder]), train(data, CONFIG)
    assert [epoch for epoch, _ in logs] == [0, 1, 2, 3]
    assert [figures["val_accuracy"] for _, figures in logs] == [row["val_accuracy"] for row in run.history]
    for one, other in zip(run.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_callback_may_stop_the_training() -> None:
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=100, patience=1)
    run = train(load_dataset("digits"), CONFIG, callbacks=[stop])
    assert (len(run.history), run.stopped) == (2, "early")


def test_a_callback_may_set_a_constant_rate() -> None:
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / 2**epoch)
    config = TrainingConfig("dense", units=(16,), epochs=3, schedule="constant", optimizer="adam")
    run = train(load_dataset("digits"), config, callbacks=[halve])
    assert [row["learning_rate"] for row in run.history] == pytest.approx([0.01, 0.005, 0.0025])


@pytest.mark.parametrize("wrong", [keras.callbacks.EarlyStopping, print])
def test_what_is_no_callback_is_refused(wrong: Any) -> None:
    with pytest.raises(TrainingError, match="`callbacks`"):
        train(load_dataset("digits"), CONFIG, callbacks=[wrong])


def test_tensorboard_gets_the_figures_or_the_error_names_the_extra(tmp_path: Path) -> None:
    quick = ("train", "--dataset", "digits", "--arch", "dense", "--units", "4", "--epochs", "1")
    command = (*quick, "--out", tmp_path / "run", "--tensorboard", tmp_path / "logs")
    if importlib.util.find_spec("tensorboard") is None:
        refused = call_pocketlens(*command)
        assert refused.returncode == 1
        assert "pip install 'pocketlens[tensorboard]'" in refused.stderr.splitlines()[-1]
        assert list(tmp_path.iterdir()) == []
        return
    answer(*command)
    for split in ("train", "validation"):
        (events,) = (tmp_path / "logs" / split).iterdir()
        assert b"epoch_accuracy" in events.read_bytes()
