"""Mixed precision: what is computed in float16, and that the resulting model is float32."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.models import mixed_precision
from trainer.models.factory import build_model
from trainer.run_writer import write_run
from trainer.training import train

CONFIG = TrainingConfig("cnn", size="tiny", epochs=1, mixed_precision="on")


def test_auto_is_off_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, tuple[int, int]]] = []
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind: found)
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", lambda gpu: gpu)
    assert not mixed_precision.is_mixed("auto")
    assert mixed_precision.is_mixed("on")
    found.append({"compute_capability": (8, 0)})
    assert mixed_precision.is_mixed("auto")
    assert not mixed_precision.is_mixed("off")
    found.append({"compute_capability": (6, 1)})
    assert not mixed_precision.is_mixed("auto")
    found[:] = [{}]
    assert not mixed_precision.is_mixed("auto")


def test_all_but_the_scores_are_computed_in_float16() -> None:
    model = build_model(CONFIG, (8, 8, 1), 10)
    mixed = mixed_precision.with_policy(model, mixed_precision.MIXED_FLOAT16)
    assert {layer.compute_dtype for layer in mixed.layers[1:-1]} == {"float16"}
    assert mixed.layers[-1].compute_dtype == "float32"
    assert {str(weight.dtype) for weight in mixed.weights} == {"float32"}
    inputs = np.random.default_rng(0).standard_normal((4, 8, 8, 1)).astype(np.float32)
    scores = np.asarray(mixed(inputs))
    assert scores.dtype == np.float32
    assert 0 < np.abs(scores - np.asarray(model(inputs))).max() < 0.01


def test_the_run_is_plain_float32(tmp_path: Path) -> None:
    data = load_dataset("digits", Geometry())
    run = train(data, CONFIG)
    write_run(run, tmp_path / "run")
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["settings"]["mixed_precision"] == "on"
    assert metrics["test"]["accuracy"] > 0.3  # by chance 0.1; it learns in float16 too
    names = {layer.name for layer in model.layers}
    assert names == {layer.name for layer in run.model.layers}


def test_small_gradients_are_scaled() -> None:
    from trainer.fitting.optimizers import make_optimizer

    optimizer = make_optimizer(CONFIG, 1e-3)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
