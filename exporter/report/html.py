"""`report.html`: one file that needs no network, from the report's values and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer.evaluation.comparison import metric_title
from trainer.evaluation.predictions import DECISION_THRESHOLD
from trainer.evaluation.robustness import TITLES
from trainer.pages.parts import (
    Cell,
    Matrix,
    PageFigure,
    PageTable,
    TileSheet,
    change_bars,
    class_table,
    confusion_matrix,
    flatten,
    top_confusions,
)
from trainer.pages.robustness_section import RobustnessSection
from trainer.pages.templating import render

from ..budget.predict import cost_in_words
from .report import metric_texts, sample_noun, scores_subject, split_sizes

TEMPLATES = Path(__file__).with_name("templates")


class ReportPictures(NamedTuple):
    """The pictures of a report, by section.

    Attributes:
        sizes, boundary, reliability, curves: figures; empty where there are none.
        thresholds: for each file of the tasks binary and multilabel, its curves.
        differences: for each file that differs from float32, the test images on which it does.
        mistakes: the most confident mistakes of the last file.
        explanations: the first of them, each beside the map of what its wrong answer comes from.
        robustness: the section on corruptions; None if they were not measured.
    """

    sizes: Sequence[PageFigure] = ()
    boundary: Sequence[PageFigure] = ()
    reliability: Sequence[PageFigure] = ()
    thresholds: Mapping[str, Sequence[PageFigure]] = {}
    curves: Sequence[PageFigure] = ()
    differences: Sequence[TileSheet] = ()
    mistakes: Sequence[TileSheet] = ()
    explanations: Sequence[PageFigure] = ()
    robustness: RobustnessSection | None = None


def html_page(
    report: Mapping[str, Any],
    contract: Mapping[str, Any],
    pictures: ReportPictures,
    differences: Sequence[str] = (),
) -> str:
    """The report as an HTML page.

    Args:
        report: from `make_report`.
        contract: the contract as it lies in the model files, from its JSON.
        differences: how each file's predictions differ from those of float32, a sentence each.
    """
    models = report["models"]
    of_labels = report["task"] == "multilabel"
    matrices = {} if of_labels else {model["file"]: model["confusion"] for model in models}
    return render(
        "report.html.j2",
        TEMPLATES,
        title=f"{report['dataset'] or 'model'}: export report",
        task=report["task"],
        failures=[f"{model['file']} {model['gate']}" for model in models if _failed(model)],
        warnings=report["warnings"],
        inputs=sample_noun(report),
        splits=split_sizes(report),
        shares=scores_subject(report),
        cards=[_card(report, model) for model in models],
        differences=differences,
        figures=PageTable(["", *(model["file"] for model in models)], list(_figure_rows(report))),
        threshold=_threshold(report),
        notes=[note for model in models for note in model["notes"]],
        recoveries={model["file"]: _recovery(report, model) for model in models if model["repair"]},
        matrices=_matrices(report["labels"], matrices),
        confusions=top_confusions(matrices, report["labels"], sample_noun(report)) if matrices else None,
        changed="average precision" if of_labels else "recall",
        changes={model["file"]: _changes(report, model) for model in models[1:]},
        classes=_classes(report),
        pictures=pictures,
        robustness=pictures.robustness,
        gates=PageTable(("gate", "limit", *(model["file"] for model in models)), list(_gate_rows(report))),
        representative_dataset=_pairs(report["calibration"]),
        contract=_pairs({"output": report["outputs"], **contract}),
        versions=_versions(report),
        files=PageTable.of_texts(
            ("file", "interpreter", "SHA-256"), [(m["file"], m["interpreter"], m["sha256"]) for m in models]
        ),
        edgetpu={model["file"]: _edgetpu(model) for model in models if model["edgetpu"]},
        command=report["command"],
    )


def _failed(model: Mapping[str, Any]) -> bool:
    return bool(model["gate"].startswith("failed"))


def _card(report: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict and the cost of one file."""
    texts, names = [*metric_texts(model)], [metric_title(metric["name"]) for metric in model["metrics"]]
    first = texts[0]
    figures = [(f"test {names[0]}", first.value), ("95 % interval", first.interval)]
    if first.drop_interval:
        figures += [
            ("drop against float32", f"{first.drop} points"),
            ("95 % interval of the drop", first.drop_interval),
        ]
    figures += [(f"test {name}", text.value) for name, text in zip(names[1:], texts[1:], strict=True)]
    if "corruptions" in model:
        title = TITLES[model["corruptions"]["metric"]]
        figures.append((title, f"{model['corruptions']['mean']:.4f}"))
    figures.append(("bytes", f"{model['bytes']:,}"))
    if "predicted" in model:
        time, memory, where = cost_in_words(model["predicted"])
        figures += [("predicted on", where), ("predicted time", time), ("predicted memory", memory)]
    reference = report["models"][0]
    if model is not reference:
        figures.append(("size against float32", f"{100 * model['bytes'] / reference['bytes']:.0f} %"))
    failed = _failed(model)
    mark = "✗ " if failed else "" if model["gate"] == "reference" else "✓ "
    style = "failed" if failed else "passed" if mark else "muted"
    # The finding of a latency gate has no text: its value differs from one export to the next.
    failed_gates = [gate for gate in model["gates"] if not gate["passed"]]
    remarks = [gate.get("text", "a call takes longer than the gate allows") for gate in failed_gates]
    return {
        "name": model["file"],
        "verdict": mark + model["gate"],
        "style": style,
        "figures": figures,
        "remarks": remarks,
    }


def _figure_rows(report: Mapping[str, Any]) -> Iterator[list[Cell]]:
    """All figures, a row each, with a column for each file."""
    for name, *texts in zip(*(_figures(model, report["task"]) for model in report["models"]), strict=True):
        yield [Cell(name[0]), *(Cell(text) for _, text in (name, *texts))]


def _figures(model: Mapping[str, Any], task: str) -> Iterator[tuple[str, str]]:
    yield "bytes", f"{model['bytes']:,}"
    for metric, text in zip(model["metrics"], metric_texts(model), strict=True):
        yield f"test {metric_title(metric['name'])}", text.value
        yield "95 % interval", text.interval
        yield "drop (points)", text.drop if text.drop_interval else "–"
        yield "95 % interval of the drop", text.drop_interval or "–"
    worst, rejection = model["worst_class"], model["rejection"]
    yield "agreement with float32", f"{model['agreement']:.4f}"
    yield "McNemar p", f"{model['p_value']:.3g}" if model["p_value"] is not None else "–"
    yield "class that lost most", f"{worst}: {100 * model['class_drop']:.2f} points" if worst is not None else "–"
    yield "calibration error as converted", f"{model['calibration_error_untempered']:.4f}"
    yield "temperature", f"{model['temperature']:g}"
    yield "calibration error with it", f"{model['calibration_error']:.4f}"
    if task != "multiclass":
        yield "a label is predicted from", f"{model.get('decision', DECISION_THRESHOLD):g}"
    yield "threshold", f"{model['threshold']:g}" if model["threshold"] else "none"
    names = (
        ("samples with a label given", "absent labels given", "right among the given labels")
        if task == "multilabel"
        else ("samples answered", "wrong answers given", "right among the answered")
    )
    for name, key in zip(names, ("answered", "false_accept_rate", "accuracy"), strict=True):
        yield name, "–" if rejection[key] is None else f"{rejection[key]:.4f}"


def _threshold(report: Mapping[str, Any]) -> str:
    if report["false_accept_rate"] is not None:
        return f"the threshold was fitted so that this share is at most {report['false_accept_rate']:g}"
    if report["task"] != "multilabel":
        return "no such threshold was requested"
    return f"the threshold follows the rule {report['threshold']}" if "threshold" in report else "the threshold is 0.5"


def _matrices(labels: Sequence[str], matrices: Mapping[str, Any]) -> list[Matrix]:
    found = (confusion_matrix(counts, labels, name) for name, counts in matrices.items())
    return [matrix for matrix in found if matrix is not None]


def _by_class(report: Mapping[str, Any], model: Mapping[str, Any]) -> Mapping[str, float | None]:
    """The figure of each class that the gate of one class is about."""
    found: Mapping[str, float | None] = model["average_precision" if report["task"] == "multilabel" else "recall"]
    return found


def _changes(report: Mapping[str, Any], model: Mapping[str, Any]) -> list[Any]:
    before, after = _by_class(report, report["models"][0]), _by_class(report, model)
    pairs = ((label, before[label], after[label]) for label in report["labels"])
    return change_bars({label: 100 * (b - a) for label, a, b in pairs if a is not None and b is not None})


def _classes(report: Mapping[str, Any]) -> PageTable:
    models = report["models"]
    names = [model["file"].partition(".")[0] for model in models]
    extra = {}
    if report["task"] == "multilabel":
        extra = {
            f"{name}: average precision": list(model["average_precision"].values())
            for name, model in zip(names, models, strict=True)
        }
    counts = {name: model["confusion"] for name, model in zip(names, models, strict=True)}
    return class_table(report["labels"], counts, sample_noun(report), extra)


def _gate_rows(report: Mapping[str, Any]) -> Iterator[list[Cell]]:
    """What each gate allows, and whether each file passed it."""
    models = report["models"]
    names = dict.fromkeys(gate["name"] for model in models for gate in model["gates"])
    for name in names:
        found = [next((g for g in model["gates"] if g["name"] == name), None) for model in models]
        limit = next(gate["limit"] for gate in found if gate is not None)
        cells = [Cell("not checked") if gate is None else _gate_cell(gate) for gate in found]
        yield [Cell(name), Cell(f"{limit:,g}" if limit < 1000 else f"{limit:,}"), *cells]


def _gate_cell(gate: Mapping[str, Any]) -> Cell:
    verdict = "passed" if gate["passed"] else "failed"
    value = f": {gate['value']:.4g}" if gate.get("value", 0) < 1000 and "value" in gate else ""
    return Cell(verdict + value, verdict)


def _recovery(report: Mapping[str, Any], model: Mapping[str, Any]) -> PageTable:
    columns = ("strategy", f"validation {metric_title(report['metric'])}", "drop (points)", "bytes", "gates")
    rows = []
    for attempt in model["repair"]:
        texts = (attempt["way"], f"{attempt['accuracy']:.4f}", f"{100 * attempt['drop']:.2f}", f"{attempt['bytes']:,}")
        verdict = "passed" if attempt["passed"] else "failed"
        rows.append([*map(Cell, texts), Cell(verdict, style=verdict)])
    return PageTable(columns, rows)


def _pairs(document: Mapping[str, Any]) -> PageTable:
    return PageTable.of_texts(("field", "value"), flatten(document))


def _versions(report: Mapping[str, Any]) -> PageTable:
    used, trained_with = report["versions"], report["trained_with"]
    rows = [(name, used.get(name, "–"), trained_with.get(name, "–")) for name in sorted({*used, *trained_with})]
    return PageTable.of_texts(("package", "export", "training"), rows)


def _edgetpu(model: Mapping[str, Any]) -> PageTable:
    rows = (
        (row["operator"], row["layer"], "Edge TPU" if row["mapped"] else f"processor: {row['reason']}")
        for row in model["edgetpu"]
    )
    return PageTable.of_texts(("operator", "layer", "runs on"), rows)
