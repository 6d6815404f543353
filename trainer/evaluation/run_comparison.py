"""Runs beside each other: their figures, and what was done differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config import TrainingConfig
from ..data.run_folder import RunFolder

#: Figures of the test split that a table shows where a run has them, in this order.
_FIGURES = ("accuracy", "roc_auc", "mean_average_precision", "micro_f1")


def summary(run: RunFolder) -> dict[str, Any]:
    """One run, for a table or JSON.

    Returns:
        run, dataset, task, the figures of its test split, those of its kept epoch on validation images
        (validation_accuracy, with validation_balanced_accuracy beside it where the epoch was chosen by that; of the
        task multilabel validation_mean_average_precision alone), best_epoch, epochs, parameters, seconds, stopped.
    """
    metrics, test = run.metrics, run.metrics.get("test", {})
    best = next((row for row in run.history if row["epoch"] == metrics.get("best_epoch")), {})
    # Told by its columns: `tasks`, which says by what an epoch is chosen, would bring Keras. The accuracy that Keras
    # tells of multilabel is of each yes and no, which compares with nothing else in the row.
    precise = "val_mean_average_precision" in run.history[0]
    validated = ["mean_average_precision"] if precise else ["accuracy", "balanced_accuracy"]
    validated = [name for name in validated if f"val_{name}" in run.history[0]]
    return {
        "run": run.name,
        "dataset": run.contract.provenance.dataset,
        "task": run.contract.task,
        **{name: test[name] for name in _FIGURES if name in test},
        **{f"validation_{name}": best.get(f"val_{name}") for name in validated},
        "best_epoch": metrics.get("best_epoch"),
        "epochs": len(run.history),
        "parameters": metrics.get("parameters"),
        "seconds": round(run.seconds, 1),
        "stopped": metrics.get("stopped", ""),
    }


def differences(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """The settings, and what the runs were trained on, that are not the same in all: name to a value for each run.

    A setting that an older run does not know is taken to be what it is by default today.
    """
    described = [_described(run) for run in runs]
    names = list(dict.fromkeys(name for each in described for name in each))
    found = {name: [each.get(name) for each in described] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values[1:])}


def _described(run: RunFolder) -> dict[str, Any]:
    spec = run.contract.input
    given = {
        "dataset": run.contract.provenance.dataset,
        "task": run.contract.task,
        "labels": list(run.contract.labels),
        "input": " ".join([f"{'x'.join(map(str, spec.shape))}", getattr(spec, "colour", ""), spec.kind]).strip(),
        "merged": run.metrics.get("merged", []),
    }
    # As JSON has it: lists, no tuples.
    defaults = {
        n: list(value) if isinstance(value, tuple) else value for n, value in TrainingConfig().as_dict().items()
    }
    settings: dict[str, Any] = run.metrics["settings"]
    return given | defaults | settings
