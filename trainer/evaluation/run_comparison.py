"""Runs beside each other: their metrics, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config import TrainingConfig
from ..data.run_folder import RunFolder

#: Metrics of the test split in the order of the table; each where a run has it.
_METRICS = ("accuracy", "roc_auc", "mean_average_precision", "micro_f1")


def summarize_run(run: RunFolder) -> dict[str, Any]:
    """The metrics of one run, for a table or JSON.

    Returns:
        run, dataset, task, metrics of the test split, metrics of the kept epoch on the validation split
        (validation_accuracy, with validation_balanced_accuracy where the epoch was chosen by that; for multilabel
        validation_mean_average_precision alone), best_epoch, epochs, parameters, seconds, stopped.
    """
    metrics, test = run.metrics, run.metrics.get("test", {})
    best = next((row for row in run.history if row["epoch"] == metrics.get("best_epoch")), {})
    # The columns show the metric that the epoch was chosen by; `fitting.objective` defines it, but imports Keras.
    # Keras's accuracy for multilabel counts single labels, so it cannot be compared with the other figures of the row.
    precise = "val_mean_average_precision" in run.history[0]
    validated = ["mean_average_precision"] if precise else ["accuracy", "balanced_accuracy"]
    validated = [name for name in validated if f"val_{name}" in run.history[0]]
    return {
        "run": run.name,
        "dataset": run.contract.provenance.dataset,
        "task": run.contract.task,
        **{name: test[name] for name in _METRICS if name in test},
        **{f"validation_{name}": best.get(f"val_{name}") for name in validated},
        "best_epoch": metrics.get("best_epoch"),
        "epochs": len(run.history),
        "parameters": metrics.get("parameters"),
        "seconds": round(run.seconds, 1),
        "stopped": metrics.get("stopped", ""),
    }


def setting_differences(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """Settings and data that are not the same in all runs: a value for each run by name.

    A setting that an older run does not have counts as today's default.
    """
    described = [_settings(run) for run in runs]
    names = list(dict.fromkeys(name for each in described for name in each))
    by_name = {name: [each.get(name) for each in described] for name in names}
    return {name: values for name, values in by_name.items() if any(value != values[0] for value in values[1:])}


def _settings(run: RunFolder) -> dict[str, Any]:
    spec = run.contract.input
    given = {
        "dataset": run.contract.provenance.dataset,
        "task": run.contract.task,
        "labels": list(run.contract.labels),
        "input": " ".join(filter(None, ("x".join(map(str, spec.shape)), getattr(spec, "colour", ""), spec.kind))),
        "merged": run.metrics.get("merged", []),
    }
    # Lists instead of tuples, as JSON has them.
    defaults = {
        n: list(value) if isinstance(value, tuple) else value for n, value in TrainingConfig().as_dict().items()
    }
    settings: dict[str, Any] = run.metrics["settings"]
    return given | defaults | settings
