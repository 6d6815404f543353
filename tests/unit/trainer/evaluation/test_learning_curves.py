"""The sentence about the curves of a training, for curves of each kind."""

from __future__ import annotations

import pytest

from trainer.evaluation.learning_curves import describe_learning_curves

pytestmark = pytest.mark.fast


def curves(*rows: tuple[float, float, float, float]) -> list[dict[str, float]]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [{"epoch": epoch, **dict(zip(names, row, strict=True))} for epoch, row in enumerate(rows, 1)]


def test_a_gap_and_a_rising_validation_loss_are_overfitting_from_an_epoch_on() -> None:
    history = curves((0.9, 0.7, 0.8, 0.72), (0.5, 0.9, 0.4, 0.94), (0.2, 0.96, 0.42, 0.95), (0.1, 0.968, 0.5, 0.952))
    found = describe_learning_curves(history, 2, 6000)
    assert found.startswith("overfitting from epoch 3 on: training accuracy 0.968, validation 0.952")
    assert "epoch 2 was kept" in found


def test_curves_of_other_kinds_have_other_sentences() -> None:
    improving = curves((0.9, 0.5, 0.8, 0.52), (0.7, 0.6, 0.7, 0.61), (0.5, 0.7, 0.5, 0.71))
    assert describe_learning_curves(improving, 3, 1000).startswith("still improving at the end")
    flat = curves((0.3, 0.9, 0.31, 0.9), (0.2, 0.93, 0.22, 0.93), (0.2, 0.93, 0.22, 0.93), (0.2, 0.93, 0.221, 0.93))
    assert describe_learning_curves(flat, 3, 1000).startswith("no overfitting: training accuracy 0.930")
    ahead = curves((0.5, 0.9, 0.5, 0.85), (0.4, 0.92, 0.45, 0.86), (0.3, 0.95, 0.44, 0.86))
    assert "ahead of the validation by more than chance" in describe_learning_curves(ahead, 3, 1000)
    assert describe_learning_curves(ahead[:2], 2, 1000).startswith("too few epochs (2)")
    # On ten samples the same gap says nothing.
    assert describe_learning_curves(ahead, 3, 10).startswith("still improving")
    precise = [
        {"epoch": e, "loss": 1.0, "mean_average_precision": 0.5, "val_loss": 1.0, "val_mean_average_precision": 0.5}
        for e in (1, 2, 3)
    ]
    assert "training mean average precision 0.500" in describe_learning_curves(precise, 1, 50)
