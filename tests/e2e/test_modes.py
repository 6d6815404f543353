"""Every mode of every kind of network on the default target: it runs there, or is refused with the reason. Slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from exporter.candidate import CandidateBuilder
from exporter.converter import convert
from exporter.errors import ExportError
from exporter.keras_loading import load_model
from exporter.operator_support import DEFAULT_TARGET, runnable_library
from exporter.recipe import MODES, ExportConfig, Recipe
from exporter.representative_dataset import span_pixels
from exporter.representative_dataset_checks import fingerprint_images
from exporter.scoring import SplitScorer
from runtime import Contract, ImageInput
from trainer.config import TrainingConfig
from trainer.data.run_folder import RunFolder, read_run
from trainer.evaluation.scoring import ScoringWorker
from trainer.models.factory import build_model
from trainer.models.weight_standardization import to_plain_convolutions

pytestmark = pytest.mark.slow

_CLASSES = 10
_TRAIN, _TEST = 16, 4


def _ours(architecture: str, shape: tuple[int, int, int]) -> Any:
    return to_plain_convolutions(build_model(TrainingConfig(architecture), shape, _CLASSES))  # as a training saves it


def _theirs(application: Callable[..., Any], shape: tuple[int, int, int]) -> Any:
    return application(input_shape=shape, weights=None, classes=_CLASSES)


NETWORKS: dict[str, tuple[tuple[int, int, int], Callable[[tuple[int, int, int]], Any]]] = {
    "28x28 grey cnn": ((28, 28, 1), partial(_ours, "cnn")),
    "224x224 colour cnn": ((224, 224, 3), partial(_ours, "cnn")),
    "dense": ((28, 28, 1), partial(_ours, "dense")),
    "MobileNetV2": ((224, 224, 3), partial(_theirs, keras.applications.MobileNetV2)),
    "MobileNetV3Small": ((224, 224, 3), partial(_theirs, keras.applications.MobileNetV3Small)),
}


def _write_run(folder: Path, name: str) -> RunFolder:
    shape, build = NETWORKS[name]
    keras.utils.set_random_seed(0)
    build(shape).save(folder / "model.keras")
    spec = ImageInput(*shape[:2], "grey" if shape[2] == 1 else "rgb", mean=(127.0,) * shape[2], std=(64.0,) * shape[2])
    (folder / "contract.json").write_text(Contract(tuple(f"class {n}" for n in range(_CLASSES)), spec).to_json())
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (7, 7, 3), dtype=np.uint8) for _ in range(_TRAIN + _TEST)]
    images = [Image.fromarray(c).resize(shape[1::-1], Image.Resampling.BICUBIC) for c in coarse]
    np.save(folder / "images.npy", np.stack([np.asarray(i.convert("L") if shape[2] == 1 else i) for i in images]))
    splits = {
        "version": 1,
        "images": {"kind": "array", "file": "images.npy"},
        "targets": [n % _CLASSES for n in range(_TRAIN + _TEST)],
        "train": list(range(_TRAIN)),
        "validation": [],
        "test": list(range(_TRAIN, _TRAIN + _TEST)),
    }
    (folder / "splits.json").write_text(json.dumps(splits))
    return read_run(folder)


#: What does not go, and why: 16-bit kernels are few, and one of them refuses the scales of these random weights.
REFUSED = {
    ("MobileNetV2", "int16x8"): "no_integer_overflow_from_quantization",
    ("MobileNetV3Small", "int16x8"): "Quantization to 16x8-bit not yet supported for op: 'HARD_SWISH'",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_mode_runs_on_the_target_or_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    library, unproved = runnable_library(DEFAULT_TARGET)
    assert not unproved, unproved
    run = _write_run(tmp_path, name)
    model = load_model(run.model_path, run.contract)
    pixels = span_pixels(fingerprint_images(run.source, run.splits["train"], run.contract.image_input)[1])
    converter = partial(convert, model, contract=run.contract, samples=pixels)
    reference = None
    with ScoringWorker() as worker:
        scorer = SplitScorer(worker, run, library)
        builder = CandidateBuilder(run.contract, ExportConfig(selftest=False), scorer, pixels, tmp_path)
        for mode in MODES:
            try:
                candidate = builder.build(converter, model, Recipe.of(mode))
                path = builder.write(candidate)
                predictions = scorer.submit(path, "test")()
            except ExportError as error:
                if REFUSED.get((name, mode), "?") not in str(error):
                    raise
                print(f"{name:20} {mode:8} refused: {error}")
                continue
            assert (name, mode) not in REFUSED
            assert predictions.interpreter == "tflite-runtime 2.14.0"
            scores = predictions.scores
            assert np.isfinite(scores).all()
            assert scores.sum(axis=1) == pytest.approx(np.ones(_TEST), abs=0.05)
            reference = scores if reference is None else reference
            far = float(np.abs(scores - reference).max())
            took = scorer.time_calls(path)["median"]
            notes = "; ".join(candidate.notes)
            print(f"{name:20} {mode:8} {len(candidate.content):>12,} bytes  {took:9.3f} ms  {far:.4f}  {notes}")
