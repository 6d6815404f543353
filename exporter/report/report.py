"""The values of the report, ready for `report.json`.

No value comes from a clock, so that the same export gives the same bytes. Timings are in `timings.json`.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runtime import FeaturesInput, ImageInput
from trainer.data.run_folder import RunFolder
from trainer.evaluation.predictions import describe_outputs

from ..evaluated_model import EvaluatedModel
from ..recipe import ExportConfig

REPORT_VERSION = 2
_PACKAGES = ("pocketlens", "tensorflow", "keras", "numpy", "pillow", "matplotlib")


@dataclass(frozen=True)
class Settings:
    """The settings of an export, as the report gives them.

    Attributes:
        config: how the export was made.
        calibration: the representative dataset: samples, seed, split, and the results of its checks.
        warnings: warnings, a line each.
        command: the command that makes the same files again, or "".
    """

    config: ExportConfig
    calibration: Mapping[str, Any]
    warnings: Sequence[str] = ()
    command: str = ""


def make_report(run: RunFolder, settings: Settings, models: Mapping[str, EvaluatedModel]) -> dict[str, Any]:
    """All values of an export, ready for JSON.

    Args:
        models: the models by the names of their files.
    """
    provenance, first = run.contract.provenance, next(iter(models.values()))
    return {
        "version": REPORT_VERSION,
        "dataset": provenance.dataset,
        "task": run.contract.task,
        "outputs": describe_outputs(run.contract.task, len(run.contract.labels)),
        "metric": first.comparison.metrics[0].name,
        "labels": list(run.contract.labels),
        **({"features": list(run.contract.input.names)} if run.contract.input.kind == "features" else {}),
        "splits": {name: len(indices) for name, indices in run.splits.items()},
        "seed": provenance.seed,
        "target": settings.config.target,
        "limits": settings.config.limits.as_dict(),
        "false_accept_rate": settings.config.false_accept_rate,
        **({"threshold": settings.config.threshold.text} if settings.config.threshold else {}),
        "calibration": dict(settings.calibration),
        "warnings": list(settings.warnings),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "trained_with": dict(provenance.packages),
        "initial_weights": _of_training(run, "initial_weights"),
        "teacher": _of_training(run, "teacher"),
        "command": settings.command,
        "passed": not any(model.failed for model in models.values()),
        "models": [model.as_dict(name, run.contract.labels, first.robustness) for name, model in models.items()],
    }


def _of_training(run: RunFolder, name: str) -> str:
    """A text in a run's figures, "" where it is not known: an export does not need them."""
    if run.is_external or not (run.folder / "metrics.json").is_file():
        return ""
    return str(run.metrics.get(name, ""))


def make_timings(models: Mapping[str, EvaluatedModel]) -> dict[str, Any]:
    """The time of a call on this machine, by file: median and 95th percentile in ms."""
    return {name: dict(model.latency_ms) for name, model in models.items()}


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def split_sizes(report: Mapping[str, Any]) -> str:
    """The sizes of the splits, as in "1,295 train, 143 validation, 359 test"."""
    return ", ".join(f"{count:,} {name}" for name, count in report["splits"].items())


def sample_noun(report: Mapping[str, Any]) -> str:
    """What the samples are called: "images", or "vectors" of features."""
    return (FeaturesInput if "features" in report else ImageInput).noun


def scores_subject(report: Mapping[str, Any]) -> str:
    """The end of the phrase "the share ...", for the share that a calibrated score stands for."""
    return f"of {sample_noun(report)} that have the label" if report["task"] == "multilabel" else "of right answers"


class MetricTexts(NamedTuple):
    """One metric of a model, as people read it; `drop_interval` is "" for the reference."""

    value: str
    interval: str
    drop: str
    drop_interval: str


def metric_texts(model: Mapping[str, Any], between: str = " to ") -> Iterator[MetricTexts]:
    """The task's metrics of one model of the report; `between` joins the ends of an interval."""
    for metric in model["metrics"]:
        (low, high), drop = metric["interval"], metric["drop_interval"]
        yield MetricTexts(
            f"{metric['value']:.4f}",
            f"{low:.4f}{between}{high:.4f}",
            f"{100 * metric['drop']:.2f}",
            f"{100 * drop[0]:.2f}{between}{100 * drop[1]:.2f}" if drop else "",
        )
