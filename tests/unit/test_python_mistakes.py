"""Typical mistakes in programs, and the errors that say what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.export import export
from runtime.testing import FakeInterpreter
from tests.support.datasets import fill_class
from trainer import TrainingConfig, load_dataset, train
from trainer.data.run_folder import RunFolder, read_run
from trainer.errors import RunError, TrainingError

pytestmark = [pytest.mark.workstation]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 128}, r"units 128, expected a tuple, such as \(128,\)"),
        ({"augmentation": "flip"}, r"augmentation 'flip', expected a tuple, such as \('flip',\)"),
        ({"epochs": "5"}, "epochs '5', expected a whole number"),
        ({"epochs": 5.5}, "epochs 5.5, expected a whole number"),
        ({"epochs": True}, "epochs True, expected a whole number"),
        ({"learning_rate": "auto"}, "learning rate 'auto', expected a number"),
        ({"batch_size": None}, "batch size None, expected a whole number"),
    ],
)
def test_settings_of_another_type(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**settings)


def test_numbers_of_numpy_are_numbers() -> None:
    assert TrainingConfig(epochs=np.int64(5), learning_rate=np.float32(0.01)).epochs == 5  # type: ignore[arg-type]


def test_train_names_what_it_wants() -> None:
    untyped: Any = train
    with pytest.raises(TypeError, match="dataset is 'digits', expected a Dataset, as `load_dataset` gives it"):
        untyped("digits", TrainingConfig())
    with pytest.raises(TypeError, match=r"config is {'epochs': 1}, expected a TrainingConfig"):
        untyped(load_dataset("circles"), {"epochs": 1})


def test_export_names_what_it_wants(tmp_path: Path) -> None:
    untyped: Any = export
    with pytest.raises(TypeError, match="run is 'runs/digits', expected what `read_run` gives"):
        untyped("runs/digits", tmp_path)
    with pytest.raises(TypeError, match=r"recipes has 'int8', expected recipes, such as Recipe\.of\('int8'\)"):
        untyped(object.__new__(RunFolder), tmp_path, ["int8"])


def test_paths_are_taken_as_texts_and_as_paths(tmp_path: Path) -> None:
    for label in ("red", "green"):
        fill_class(tmp_path / "pets" / label, label, range(10))
    assert load_dataset(tmp_path / "pets").labels == load_dataset(str(tmp_path / "pets")).labels
    with pytest.raises(RunError, match=r"no run folder: it has no contract\.json"):
        read_run(str(tmp_path))


def test_labels_and_counts_of_another_type() -> None:
    classifier: Any = FakeInterpreter(["cat", "dog"], [[0.9, 0.1]]).classifier()
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="no label '7'; the model has cat, dog"):
        classifier.classify(image, allow=[7])
    with pytest.raises(ValueError, match="top is '3', expected a whole number from 1"):
        classifier.classify(image, top="3")
