"""`MODEL_CARD.md`: the facts that a person needs who receives the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime import Contract
from trainer.evaluation.comparison import metric_title
from trainer.pages.parts import PageTable
from trainer.pages.robustness_section import RobustnessSection
from trainer.pages.templating import render

from .html import TEMPLATES
from .report import metric_texts, sample_noun, scores_subject, split_sizes

#: A description of the model's output, by its task.
_ANSWERS = {
    "multiclass": "The answer is a score for each class",
    "binary": "The answer is the probability of the second of the two classes",
    "multilabel": "The answer is a probability for each label; any number of labels may be present",
}


def model_card(report: Mapping[str, Any], contract: Contract, robustness: RobustnessSection | None = None) -> str:
    """The model card in Markdown, from `make_report`'s values.

    Args:
        robustness: the section on corruptions, if they were measured.
    """
    provenance, spec = contract.provenance, contract.input
    of_labels = contract.task == "multilabel"
    return render(
        "model_card.md.j2",
        TEMPLATES,
        classifier="image classifier" if spec.kind == "image" else "classifier",
        dataset=provenance.dataset,
        date=provenance.date,
        seed=provenance.seed,
        initial_weights=report["initial_weights"],
        teacher=report["teacher"],
        passed=report["passed"],
        task=contract.task,
        labels=contract.labels,
        spec=spec,
        answer=_ANSWERS[contract.task],
        outputs=report["outputs"],
        features=list(_features(contract)),
        splits=split_sizes(report),
        samples=sample_noun(report),
        notes=[note for model in report["models"] for note in model["notes"]],
        models=_models(report),
        class_figure="Average precision" if of_labels else "Recall",
        classes=_classes(report, "average_precision" if of_labels else "recall"),
        scores=[_scores(model) for model in report["models"]],
        shares=scores_subject(report),
        warnings=report["warnings"],
        robustness=robustness,
    )


def _features(contract: Contract) -> Iterator[dict[str, str]]:
    spec = contract.input
    if spec.kind == "features":
        for name, mean, std in zip(spec.names, spec.mean, spec.std, strict=True):
            yield {"name": name, "mean": f"{mean:g}", "std": f"{std:g}"}


def _models(report: Mapping[str, Any]) -> PageTable:
    metrics = [metric_title(metric["name"]) for metric in report["models"][0]["metrics"]]
    columns = [column for metric in metrics for column in (metric, "95 % interval", "drop (points)")]
    rows = (
        (
            model["file"],
            f"{model['bytes']:,}",
            *(text for metric in metric_texts(model) for text in metric[:3]),
            f"{model['agreement']:.4f}",
            f"{model['calibration_error']:.4f}",
            model["gate"],
        )
        for model in report["models"]
    )
    return PageTable.of_texts(("file", "bytes", *columns, "agreement", "calibration error", "gate"), rows)


def _classes(report: Mapping[str, Any], key: str) -> PageTable:
    models = report["models"]
    rows = []
    for label in report["labels"]:
        values = [model[key][label] for model in models]
        rows.append((label, *(f"no {sample_noun(report)}" if value is None else f"{value:.4f}" for value in values)))
    return PageTable.of_texts(("class", *(model["file"] for model in models)), rows)


def _scores(model: Mapping[str, Any]) -> dict[str, str]:
    """The calibration of a file's scores, and the effect of its threshold; "" for no threshold."""
    temperature, threshold = model["temperature"], model["threshold"]
    return {
        "file": model["file"],
        "calibration": f"at temperature {temperature:g}" if temperature != 1 else "uncalibrated",
        "error": f"{100 * model['calibration_error']:.1f}",
        "threshold": f"{threshold:g}" if threshold else "",
        "answered": f"{100 * model['rejection']['answered']:.1f}",
    }
