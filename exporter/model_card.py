"""`MODEL_CARD.md`: what a person who is handed the files should know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runtime import Contract
from runtime.contract import InputSpec


def render(report: Mapping[str, Any], contract: Contract) -> str:
    """The model card, from `make_report`'s figures."""
    return "\n".join(_lines(report, contract)) + "\n"


def _plain(text: object) -> str:
    """Text from outside, its Markdown and HTML signs escaped."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", str(text))


def _lines(report: Mapping[str, Any], contract: Contract) -> Iterator[str]:
    made, kind = contract.provenance, "An image classifier" if contract.input.kind == "image" else "A classifier"
    yield f"# Model card: {_plain(made.dataset or 'classifier')}"
    yield ""
    if not report["passed"]:
        yield "**Not published: a gate failed.** See `report.html`."
        yield ""
    yield f"{kind} for {len(contract.labels)} classes: {', '.join(map(_plain, contract.labels))}."
    yield ""
    yield "## Input and output"
    yield ""
    yield f"{_input(contract.input)} The answer is a score for each class ({contract.task})."
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
    yield "## Recall of each class"
    yield ""
    yield from _recalls(report)
    yield ""
    yield "## Limits"
    yield ""
    yield (
        "The figures hold for images like the test images. The model answers with one of its classes also for "
        "a picture that shows none of them."
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


def _trust(report: Mapping[str, Any]) -> Iterator[str]:
    """What a score of each file means."""
    for model in report["models"]:
        tempered = (
            f"at temperature {model['temperature']:g}" if model["temperature"] != 1 else "as the model gives them"
        )
        error = 100 * model["calibration_error"]
        line = f"Scores of {_plain(model['file'])}, {tempered}, are {error:.1f} points from the share of right answers."
        if model["threshold"]:
            answered = 100 * model["rejection"]["answered"]
            line += f' Below {model["threshold"]:g} it answers "unknown"; {answered:.1f} % of the images reach that.'
        yield f"- {line}"


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| file | bytes | accuracy | 95 % interval | drop (points) | agreement | calibration error | gate |"
    yield "|---|---|---|---|---|---|---|---|"
    for model in report["models"]:
        low, high = model["accuracy_interval"]
        yield (
            f"| {_plain(model['file'])} | {model['bytes']:,} | {model['accuracy']:.4f} | {low:.4f} to {high:.4f} | "
            f"{100 * model['drop']:.2f} | {model['agreement']:.4f} | {model['calibration_error']:.4f} | "
            f"{_plain(model['gate'])} |"
        )


def _recalls(report: Mapping[str, Any]) -> Iterator[str]:
    models = report["models"]
    yield "| class | " + " | ".join(_plain(model["file"]) for model in models) + " |"
    yield "|---" * (len(models) + 1) + "|"
    for label in report["labels"]:
        cells = [model["recall"][label] for model in models]
        shown = ["no images" if cell is None else f"{cell:.4f}" for cell in cells]
        yield f"| {_plain(label)} | " + " | ".join(shown) + " |"
