"""The values of the report, ready for `report.json`, and the table that the command prints.

No value comes from a clock, so that the same export gives the same bytes. Timings are in `timings.json`.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime import FeaturesInput, ImageInput
from runtime.files import shown
from trainer.data.run_folder import RunFolder
from trainer.evaluation.comparison import metric_title
from trainer.evaluation.predictions import describe_outputs

from ..evaluated_model import EvaluatedModel
from ..plausibility import LARGE_SHARE
from ..recipe import ExportConfig

REPORT_VERSION = 2
_WIDTH = 80
#: The verdict is this column of the summary, counted from the file's name.
_VERDICT = 4
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
    provenance = run.contract.provenance
    return {
        "version": REPORT_VERSION,
        "dataset": provenance.dataset,
        "task": run.contract.task,
        "outputs": describe_outputs(run.contract.task, len(run.contract.labels)),
        "metric": next(iter(models.values())).comparison.metrics[0].name,
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
        "initial_weights": _initial_weights(run),
        "command": settings.command,
        "passed": not any(model.failed for model in models.values()),
        "models": [model.as_dict(name, run.contract.labels) for name, model in models.items()],
    }


def _initial_weights(run: RunFolder) -> str:
    """Where the network's first weights come from, if that is known: an export does not need a run's figures."""
    if run.is_external or not (run.folder / "metrics.json").is_file():
        return ""
    return str(run.metrics.get("initial_weights", ""))


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


def summary_table(report: Mapping[str, Any], timings: Mapping[str, Any]) -> Iterator[str]:
    """The report's models as the lines of a table, for a terminal of 80 columns.

    The first part has what the gates are about, and ends with their verdict. Columns that do not fit beside each other
    follow in further parts, which name the files again.
    """
    models = report["models"]
    files, *columns = zip(_columns(models), *(_row(model, timings[model["file"]]) for model in models), strict=True)
    if _hides_classes(models):
        columns.insert(_VERDICT, ("least recall", *map(_least_recall, models)))
    milliseconds = columns.pop()
    first, rest = columns[:_VERDICT], columns[_VERDICT:]
    verdict = first.pop()
    fits = _table_width([files, *first, milliseconds, verdict]) <= _WIDTH
    parts: list[list[Sequence[str]]] = [[files, *first, *([milliseconds] if fits else []), verdict], [files]]
    for column in rest if fits else [*rest, milliseconds]:
        if _table_width([*parts[-1], column]) > _WIDTH:
            parts.append([files])
        parts[-1].append(column)
    for number, part in enumerate(parts):
        yield from [""] * (number > 0)
        widths = list(map(_cell_width, part))
        for name, *cells in zip(*part, strict=True):
            yield "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])


def _cell_width(column: Sequence[str]) -> int:
    return max(map(len, column))


def _table_width(columns: Sequence[Sequence[str]]) -> int:
    return sum(map(_cell_width, columns)) + 2 * (len(columns) - 1)


def _hides_classes(models: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the accuracy hides a class: one class has most test images, or another is never predicted rightly."""
    if np.ndim(models[0]["confusion"]) != 2:
        return False
    counts = np.sum(models[0]["confusion"], axis=1)
    return bool(counts.max() >= LARGE_SHARE * counts.sum()) or any(0 in model["recall"].values() for model in models)


def _least_recall(model: Mapping[str, Any]) -> str:
    label, least = min(((k, v) for k, v in model["recall"].items() if v is not None), key=lambda item: item[1])
    return f"{least:.4f} ({shown(label)})"


def _columns(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first, *others = (metric_title(metric["name"]) for metric in models[0]["metrics"])
    yield from ("file", "bytes", f"test {first}", "drop (points)", "gate")
    yield from (f"{first}, 95 %", "drop, 95 %")
    for name in others:  # their intervals are in report.html
        yield from (name, "drop (points)")
    yield from ("agreement", "ECE", "calibrated", "ms/call")


def _row(model: Mapping[str, Any], timing: Mapping[str, float]) -> list[str]:
    first, *others = metric_texts(model, "..")
    return [
        model["file"],
        f"{model['bytes']:,}",
        first.value,
        first.drop,
        model["gate"],
        first.interval or "-",
        first.drop_interval or "-",
        *(text for metric in others for text in (metric.value, metric.drop)),
        f"{model['agreement']:.4f}",
        f"{model['calibration_error_untempered']:.4f}",
        f"{model['calibration_error']:.4f}" if model["temperature"] != 1 else "-",
        f"{timing['median']:.3f}",
    ]
