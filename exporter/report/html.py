"""`report.html`: one file that needs no network, from the report's values and figures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.evaluation.comparison import metric_title

from .report import metric_texts, scores_subject, split_sizes
from .templating import Cell, ReportTable, render

_CALIBRATION_COLUMNS = (
    "file",
    "calibration error as converted",
    "temperature",
    "calibration error with it",
    "threshold",
)
_REJECTION_COLUMNS = ("images answered", "wrong answers given", "right among the answered")
_LABEL_REJECTION_COLUMNS = ("images with a label given", "absent labels given", "right among the given labels")


@dataclass(frozen=True)
class ReportFigure:
    """A picture of the report: the section that it belongs to, what it shows, and the PNG."""

    section: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The PNG as a data URL holds it."""
        return base64.b64encode(self.png).decode()


def html_page(report: Mapping[str, Any], contract_json: str, figures: Sequence[ReportFigure]) -> str:
    """The report as an HTML page.

    Args:
        report: from `make_report`.
        contract_json: the contract as it lies in the model files.
        figures: in the order to show them, those of one section together.
    """
    models = report["models"]
    return render(
        "report.html.j2",
        title=f"{report['dataset'] or 'model'}: export report",
        task=report["task"],
        failures=[f"{model['file']} {model['gate']}" for model in models if _failed(model)],
        warnings=report["warnings"],
        inputs="Vectors" if "features" in report else "Images",
        splits=split_sizes(report),
        shares=scores_subject(report),
        models=ReportTable(list(_columns(report)), [list(_cells(model)) for model in models]),
        calibration=_calibration(report),
        threshold=_threshold(report),
        notes=[note for model in models for note in model["notes"]],
        recoveries={model["file"]: _recovery(report, model) for model in models if model["repair"]},
        figures=figures,
        representative_dataset=json.dumps(report["calibration"], indent=2),
        limits=json.dumps(report["limits"], indent=2),
        contract=contract_json,
        versions=_versions(report),
        files=ReportTable.of_texts(
            ("file", "SHA-256", "interpreter"), [(m["file"], m["sha256"], m["interpreter"]) for m in models]
        ),
        edgetpu={model["file"]: _edgetpu(model) for model in models if model["edgetpu"]},
        command=report["command"],
    )


def _failed(model: Mapping[str, Any]) -> bool:
    return bool(model["gate"].startswith("failed"))


def _columns(report: Mapping[str, Any]) -> Iterator[str]:
    yield from ("file", "bytes")
    for metric in report["models"][0]["metrics"]:
        yield from (f"test {metric_title(metric['name'])}", "95 % interval", "drop (points)", "95 % interval")
    yield from ("McNemar p", "agreement", "class that lost most", "calibration error", "gate")


def _cells(model: Mapping[str, Any]) -> Iterator[Cell]:
    worst = model["worst_class"]
    texts = [
        model["file"],
        f"{model['bytes']:,}",
        *(text for metric in metric_texts(model) for text in metric),
        f"{model['p_value']:.3g}" if model["p_value"] is not None else "",
        f"{model['agreement']:.4f}",
        f"{worst}: {100 * model['class_drop']:.2f} points" if worst is not None else "",
        f"{model['calibration_error']:.4f}",
    ]
    yield from map(Cell, texts)
    yield Cell(model["gate"], "failed" if _failed(model) else "")


def _calibration(report: Mapping[str, Any]) -> ReportTable:
    of_labels = report["task"] == "multilabel"
    columns = (*_CALIBRATION_COLUMNS, *(_LABEL_REJECTION_COLUMNS if of_labels else _REJECTION_COLUMNS))
    rows = []
    for model in report["models"]:
        shares = (model["rejection"][key] for key in ("answered", "false_accept_rate", "accuracy"))
        rows.append(
            (
                model["file"],
                f"{model['calibration_error_untempered']:.4f}",
                f"{model['temperature']:g}",
                f"{model['calibration_error']:.4f}",
                f"{model['threshold']:g}",
                *("" if share is None else f"{share:.4f}" for share in shares),
            )
        )
    return ReportTable.of_texts(columns, rows)


def _threshold(report: Mapping[str, Any]) -> str:
    if report["false_accept_rate"] is not None:
        return f"the threshold was fitted so that this share is at most {report['false_accept_rate']:g}"
    return "the threshold is one half" if report["task"] == "multilabel" else "no threshold was requested"


def _recovery(report: Mapping[str, Any], model: Mapping[str, Any]) -> ReportTable:
    columns = ("strategy", f"validation {metric_title(report['metric'])}", "drop (points)", "bytes", "gates")
    rows = []
    for attempt in model["repair"]:
        texts = (attempt["way"], f"{attempt['accuracy']:.4f}", f"{100 * attempt['drop']:.2f}", f"{attempt['bytes']:,}")
        verdict = "passed" if attempt["passed"] else "failed"
        rows.append([*map(Cell, texts), Cell(verdict, style=verdict)])
    return ReportTable(columns, rows)


def _versions(report: Mapping[str, Any]) -> ReportTable:
    used, trained_with = report["versions"], report["trained_with"]
    rows = [(name, used.get(name, ""), trained_with.get(name, "")) for name in sorted({*used, *trained_with})]
    return ReportTable.of_texts(("package", "export", "training"), rows)


def _edgetpu(model: Mapping[str, Any]) -> ReportTable:
    rows = (
        (row["operator"], row["layer"], "Edge TPU" if row["mapped"] else f"processor: {row['reason']}")
        for row in model["edgetpu"]
    )
    return ReportTable.of_texts(("operator", "layer", "runs on"), rows)
