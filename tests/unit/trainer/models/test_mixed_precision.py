"""Mixed precision: what is computed in 16 bits, and that the resulting model is float32."""

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


CPU_WITH_UNITS = "processor : 0\nflags : fpu sse avx512f avx512_bf16 avx512_vnni\n"


def policy(architecture: str, mixed_precision_setting: str) -> str:
    return mixed_precision.precision_policy(TrainingConfig(architecture, mixed_precision=mixed_precision_setting))


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, *found: dict[str, tuple[int, int]]) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind: list(found))
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", lambda gpu: gpu)


@pytest.mark.parametrize(
    ("gpus", "auto"),
    [
        ([{"compute_capability": (8, 0)}], "mixed_float16"),
        ([{"compute_capability": (8, 0)}, {"compute_capability": (6, 1)}], "float32"),
        ([{}], "float32"),
    ],
)
def test_gpus_with_units_compute_in_float16(
    gpus: list[dict[str, tuple[int, int]]], auto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, *gpus)
    assert policy("cnn", "auto") == policy("mobilenet_v2", "auto") == auto
    assert policy("cnn", "on") == "mixed_float16"
    assert policy("cnn", "off") == "float32"


@pytest.mark.parametrize(
    ("cpu", "one_dnn", "cnn"),
    [
        (CPU_WITH_UNITS, "1", "mixed_bfloat16"),
        (CPU_WITH_UNITS, "0", "float32"),
        (CPU_WITH_UNITS.replace("avx512_bf16", "amx_bf16"), "1", "mixed_bfloat16"),
        (CPU_WITH_UNITS.replace("avx512_bf16", "avx512_bf16x"), "1", "float32"),
        ("processor : 0\n", "1", "float32"),
        (None, "1", "float32"),
    ],
)
def test_a_processor_with_units_computes_cnn_in_bfloat16(
    cpu: str | None, one_dnn: str, cnn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", one_dnn)
    monkeypatch.setattr(mixed_precision, "_CPU_INFO", tmp_path / "cpuinfo")
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(cpu)
    assert policy("cnn", "auto") == cnn
    assert policy("mobilenet_v2", "auto") == policy("dense", "auto") == policy("cnn", "off") == "float32"
    assert policy("mobilenet_v2", "on") == "mixed_bfloat16"


@pytest.mark.parametrize(("name", "dtype"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")])
def test_all_but_the_scores_are_computed_in_16_bits(name: str, dtype: str) -> None:
    model = build_model(CONFIG, (8, 8, 1), 10)
    mixed = mixed_precision.with_policy(model, name)
    assert {layer.compute_dtype for layer in mixed.layers[1:-1]} == {dtype}
    assert mixed.layers[-1].compute_dtype == "float32"
    assert {str(weight.dtype) for weight in mixed.weights} == {"float32"}
    inputs = np.random.default_rng(0).standard_normal((4, 8, 8, 1)).astype(np.float32)
    scores = np.asarray(mixed(inputs))
    assert scores.dtype == np.float32
    assert 0 < np.abs(scores - np.asarray(model(inputs))).max() < 0.02


def test_the_run_is_plain_float32(tmp_path: Path) -> None:
    data = load_dataset("digits", Geometry())
    run = train(data, CONFIG)
    write_run(run, tmp_path / "run")
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["settings"]["mixed_precision"] == "on"
    assert metrics["test"]["accuracy"] > 0.3  # by chance 0.1; it learns in 16 bits too
    names = {layer.name for layer in model.layers}
    assert names == {layer.name for layer in run.model.layers}


def test_small_gradients_are_scaled_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.fitting.optimizers import make_optimizer

    assert not isinstance(make_optimizer(CONFIG, 1e-3), keras.optimizers.LossScaleOptimizer)
    pretend_gpus(monkeypatch, {"compute_capability": (8, 0)})
    optimizer = make_optimizer(CONFIG, 1e-3)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
