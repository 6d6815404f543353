"""The start of a training: nothing is done twice, and nothing before the first step that can wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.data.relabel import choose_task
from trainer.epoch_loop import EpochLoop
from trainer.session import prepare_session

#: Tasks that differ in loss and metrics.
TRAININGS: dict[str, dict[str, Any]] = {
    "multiclass": {},
    "smoothed": {"label_smoothing": 0.1},
    "balanced": {"balance": True},
    "smoothed and balanced": {"label_smoothing": 0.1, "balance": True},
    "binary": {},
    "binary balanced": {"balance": True},
    "multilabel": {},
    "multilabel balanced": {"balance": True},
}


@pytest.mark.parametrize("training", TRAININGS)
def test_a_training_traces_its_step_once(training: str, marks_csv: Path) -> None:
    task = training.split()[0]
    if task == "multilabel":
        data = load_dataset(str(marks_csv), Geometry())
    else:
        data = load_dataset("digits", Geometry())
        data = choose_task(data, None, "8") if task == "binary" else data
    settings: dict[str, Any] = {"architecture": "dense", "units": (4,), "epochs": 2, "steps_per_epoch": 2}
    session = prepare_session(data, TrainingConfig(**settings, **TRAININGS[training]))
    traced = {"train_step": 0, "test_step": 0}
    for name in traced:
        _count_traces(session.model, name, traced)
    EpochLoop(session, data, None).run()
    assert traced == {"train_step": 1, "test_step": 1}


def _count_traces(model: Any, name: str, traced: dict[str, int]) -> None:
    """Count the calls of a method of Keras that is called only when TensorFlow traces it."""
    step = getattr(model, name)

    def counted(batch: Any) -> Any:
        traced[name] += 1
        return step(batch)

    setattr(model, name, counted)
