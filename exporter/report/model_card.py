"""`MODEL_CARD.md`: what a person who is handed the files should know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runtime import Contract
from runtime.contract import InputSpec
from trainer.evaluation.comparison import metric_title

from .report import metric_cells


def render(report: Mapping[str, Any], contract: Contract) -> str:
    """The model card, from `make_report`'s figures."""
    return "\n".join(_lines(report, contract)) + "\n"


def _plain(text: object) -> str:
    """Text from outside, its Markdown and HTML signs escaped."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", str(text))


def _lines(report: Mapping[str, Any], contract: Contract) -> Iterator[str]:
    made = contract.provenance
    yield f"# Model card: {_plain(made.dataset or _what(contract).partition(' ')[2])}"
    yield ""
    if not report["passed"]:
        yield "**Not published: a gate failed.** See `report.html`."
        yield ""
    yield _purpose(contract)
    yield ""
    yield "## Input and output"
    yield ""
    yield f"{_input(contract.input)} {_ANSWERS[contract.task]} ({contract.task})."
    yield ""
    yield "## Data"
    yield ""
    counts = ", ".join(f"{count:,} {name}" for name, count in report["splits"].items())
    dated = f" of {_plain(made.date)}" if made.date else ""
    yield f"{_plain(made.dataset or 'unnamed')}{dated}: {counts} images. Training seed {made.seed}."
    yield from (f"\n- {_plain(note)}" for model in report["models"] for note in model["notes"])
    yield ""
    yield "## Figures on the test images"
    yield ""
    yield from _table(report)
    yield ""
    yield f"## {_of_classes(contract)[0]} of each {'label' if contract.task == 'multilabel' else 'class'}"
    yield ""
    yield from _recalls(report, _of_classes(contract)[1])
    yield ""
    yield "## Limits"
    yield ""
    yield (
        "The figures hold for images like the test images. "
        + (
            "The model knows no other labels than these."
            if contract.task == "multilabel"
            else "The model answers with one of its classes also for a picture that shows none of them."
        )
    )
    yield ""
    yield from _trust(report)
    yield from (f"\n- {_plain(line)}" for line in report["warnings"])


def _input(spec: InputSpec) -> str:
    if spec.kind == "features":
        columns = zip(spec.names, spec.mean, spec.std, strict=True)
        scaled = ", ".join(f"{_plain(name)} ({mean:g}, {std:g})" for name, mean, std in columns)
        return (
            f"A vector of {len(spec.names)} features, each scaled as (value - mean) / std; these are, with mean and "
            f"std: {scaled}. Values far beyond the training data's are clipped by an 8-bit file."
        )
    return (
        f"{spec.height}x{spec.width} pixels, {spec.colour}; images are resized by `{spec.resize}` with the filter "
        f"`{spec.filter}`, then scaled as (pixel - mean) / std with mean {list(spec.mean)} and std {list(spec.std)}."
    )


#: What a model answers with, by its task.
_ANSWERS = {
    "multiclass": "The answer is a score for each class",
    "binary": "The answer is the probability of the second of the two classes",
    "multilabel": "The answer is a probability for each label, of which any number may be there",
}


def _what(contract: Contract) -> str:
    return "An image classifier" if contract.input.kind == "image" else "A classifier"


def _purpose(contract: Contract) -> str:
    what = _what(contract)
    labels = ", ".join(map(_plain, contract.labels))
    if contract.task == "multilabel":
        return f"{what} that names any number of {len(contract.labels)} labels: {labels}."
    return f"{what} for {len(contract.labels)} classes: {labels}."


def _of_classes(contract: Contract) -> tuple[str, str]:
    """The figure of each class, as people read it, and its key in the report."""
    return ("Average precision", "average_precision") if contract.task == "multilabel" else ("Recall", "recall")


def _trust(report: Mapping[str, Any]) -> Iterator[str]:
    """What a score of each file means."""
    for model in report["models"]:
        tempered = (
            f"at temperature {model['temperature']:g}" if model["temperature"] != 1 else "as the model gives them"
        )
        error = 100 * model["calibration_error"]
        subject = "of images that have the label" if report["task"] == "multilabel" else "of right answers"
        line = f"Scores of {_plain(model['file'])}, {tempered}, are {error:.1f} points from the share {subject}."
        if model["threshold"]:
            answered = 100 * model["rejection"]["answered"]
            line += f' Below {model["threshold"]:g} it answers "unknown"; {answered:.1f} % of the images reach that.'
        yield f"- {line}"


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    metrics = [metric_title(metric["name"]) for metric in report["models"][0]["metrics"]]
    columns = [column for metric in metrics for column in (metric, "95 % interval", "drop (points)")]
    yield f"| file | bytes | {' | '.join(columns)} | agreement | calibration error | gate |"
    yield "|---" * (5 + len(columns)) + "|"
    for model in report["models"]:
        shown = [cell for number, cell in enumerate(metric_cells(model, " to ", "")) if number % 4 < 3]
        shown += [f"{model[key]:.4f}" for key in ("agreement", "calibration_error")]
        yield f"| {_plain(model['file'])} | {model['bytes']:,} | {' | '.join(shown)} | {_plain(model['gate'])} |"


def _recalls(report: Mapping[str, Any], key: str) -> Iterator[str]:
    models = report["models"]
    yield "| class | " + " | ".join(_plain(model["file"]) for model in models) + " |"
    yield "|---" * (len(models) + 1) + "|"
    for label in report["labels"]:
        cells = [model[key][label] for model in models]
        shown = ["no images" if cell is None else f"{cell:.4f}" for cell in cells]
        yield f"| {_plain(label)} | " + " | ".join(shown) + " |"
