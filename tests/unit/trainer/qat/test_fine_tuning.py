"""Quantization-aware fine-tuning on scanned digits: what it gains, which epoch it keeps, and its figures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.commands import call_pocketlens
from tests.support.qat_networks import UNEVEN
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.fitting.callbacks import EpochLogger
from trainer.qat.fine_tuning import FineTuningResult, default_fine_tuning_epochs, fine_tune
from trainer.session import TrainingSession, prepare_session
from trainer.training import train

pytestmark = pytest.mark.workstation


@pytest.fixture
def uneven(tmp_path: Path) -> TrainingConfig:
    path = tmp_path / "uneven.py"
    path.write_text(UNEVEN)
    return TrainingConfig("own", model_file=str(path), epochs=12, quantization_aware=True, quantization_aware_epochs=3)


def test_it_wins_back_what_rounding_lost(uneven: TrainingConfig) -> None:
    run = train(load_dataset("digits", Geometry()), uneven)
    told = run.quantization_aware
    assert told is not None
    assert told["kept"]
    assert told["validation_float32_before"] - told["validation_int8_before"] > 0.02
    assert told["validation_int8_after"] > told["validation_int8_before"]
    assert [row["phase"] for row in run.history] == ["whole"] * 12 + ["quantization-aware"] * 3
    assert [row["epoch"] for row in run.history] == list(range(1, 16))
    assert run.best_epoch > 12
    kept = run.history[run.best_epoch - 1]
    assert kept["val_accuracy"] == pytest.approx(told["validation_int8_after"])
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in run.model.layers)
    assert run.metrics.accuracy > 0.5


def trained_session(config: TrainingConfig) -> TrainingSession:
    """With its model trained by Keras alone, without the checks and the log of a training."""
    session = prepare_session(load_dataset("digits", Geometry()), config)
    session.model.compile("adam", session.objective.compile_options["loss"])
    session.model.fit(session.passes.batches, epochs=2, verbose=0)
    return session


def tuned(
    config: TrainingConfig, session: TrainingSession, rate: float = 1e-3, log: EpochLogger | None = None
) -> FineTuningResult:
    log, data = log or EpochLogger(1, 1, []), session.fine_tuning_data()
    return fine_tune(session.model, data, session.objective, config, log, lambda _: keras.optimizers.Adam(rate))


def test_the_same_seed_gives_the_same_weights_and_the_model_stays_as_it_is() -> None:
    config = TrainingConfig("dense", units=(12,), quantization_aware=True, quantization_aware_epochs=2)
    session = trained_session(config)
    before = session.model.get_weights()
    first, second = (tuned(config, session) for _ in range(2))
    assert first.after >= first.before
    assert first.best_epoch > 0
    for one, two, old in zip(first.network.get_weights(), second.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)
        assert (one != old).any()
    for now, old in zip(session.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, old)


@pytest.mark.parametrize(("rate", "stopped"), [(0.0, ""), (1e30, "diverged")])
def test_what_is_no_better_is_not_kept(rate: float, stopped: str) -> None:
    config = TrainingConfig("dense", units=(12,), quantization_aware=True, quantization_aware_epochs=1)
    found = tuned(config, trained_session(config), rate)
    assert (found.network, found.best_epoch, found.stopped) == (None, 0, stopped)
    assert found.after == found.before
    assert found.figures(0.5)["kept"] is False


def test_ctrl_c_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingConfig("dense", units=(12,), quantization_aware=True, quantization_aware_epochs=3)
    session, log, whole = trained_session(config), EpochLogger(1, 1, []), EpochLogger.on_epoch_begin

    def press(self: EpochLogger, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        whole(self, epoch, logs)

    monkeypatch.setattr(EpochLogger, "on_epoch_begin", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    try:
        found = tuned(config, session, log=log)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (found.stopped, found.epochs, found.best_epoch, len(log.rows)) == ("interrupted", 1, 1, 1)
    assert found.network is not None


def test_a_network_that_cannot_be_simulated_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--arch", "dense", "--activation", "gelu", "--quantization-aware", "--epochs", 500)
    result = call_pocketlens("train", "--dataset", "digits", *arguments, "--out", out)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: quantization-aware: layer 'hidden_1'")
    assert "'gelu'" in result.stderr
    assert "epoch 1/" not in result.stderr
    assert not out.exists()


def test_epochs_are_a_fifth_and_need_the_option() -> None:
    assert [default_fine_tuning_epochs(n) for n in (1, 10, 18, 150)] == [2, 2, 4, 30]
    with pytest.raises(TrainingError, match="`quantization_aware`"):
        TrainingConfig(quantization_aware_epochs=3)
