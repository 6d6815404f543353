"""The table that `pocketlens export` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runtime.cli.tables import columns, table_width
from runtime.files import shown
from trainer.evaluation.comparison import metric_title

from ..plausibility import LARGE_SHARE
from ..report.report import metric_texts

_WIDTH = 80
#: The verdict is this column, counted from the file's name.
_VERDICT = 4


def summary_table(report: Mapping[str, Any], timings: Mapping[str, Any]) -> Iterator[str]:
    """The report's models as the lines of a table, for a terminal of 80 columns.

    The first part has what the gates are about, and ends with their verdict. Columns that do not fit beside each other
    follow in further parts, which name the files again.
    """
    models = report["models"]
    files, *figures = zip(_columns(models), *(_row(model, timings[model["file"]]) for model in models), strict=True)
    if _hides_classes(models):
        figures.insert(_VERDICT, ("least recall", *map(_least_recall, models)))
    milliseconds = figures.pop()
    first, rest = figures[:_VERDICT], figures[_VERDICT:]
    verdict = first.pop()
    fits = table_width([files, *first, milliseconds, verdict]) <= _WIDTH
    parts: list[list[Sequence[str]]] = [[files, *first, *([milliseconds] if fits else []), verdict], [files]]
    for column in rest if fits else [*rest, milliseconds]:
        if table_width([*parts[-1], column]) > _WIDTH:
            parts.append([files])
        parts[-1].append(column)
    for number, part in enumerate(parts):
        yield from [""] * (number > 0)
        yield from columns(list(zip(*part, strict=True)))


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
    yield from ("corrupted", "drop (points)") if "corruptions" in models[0] else ()
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
        *_corrupted(model),
        f"{model['agreement']:.4f}",
        f"{model['calibration_error_untempered']:.4f}",
        f"{model['calibration_error']:.4f}" if model["temperature"] != 1 else "-",
        f"{timing['median']:.3f}",
    ]


def _corrupted(model: Mapping[str, Any]) -> list[str]:
    """The mean over all corruptions, if it was measured, and what it loses against float32."""
    found = model.get("corruptions")
    return [] if found is None else [f"{found['mean']:.4f}", f"{100 * found.get('drop', 0):.2f}"]
