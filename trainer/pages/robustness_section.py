"""The section of a page on a model's figures under corruptions; `robustness.html.j2` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.files import shown

from ..evaluation.comparison import metric_title
from ..evaluation.corruptions import CORRUPTIONS, SEVERITIES
from ..evaluation.robustness import Robustness
from ..plots.figure import png_bytes
from ..plots.robustness import corruption_strip, draw_corruption_panels
from .parts import PageFigure, PageTable, encode_png


class RobustnessSection(NamedTuple):
    """What a page says of corruptions.

    Attributes:
        introduction: what was measured.
        findings: a sentence each, on the means, the weakest corruption and the weakest class.
        means: the mean of each corruption over the severities; of one model also each severity.
        curves: the metric by severity, a figure for each corruption.
        examples: one image under each corruption.
    """

    introduction: str
    findings: Sequence[str]
    means: PageTable
    curves: Sequence[PageFigure]
    examples: Sequence[PageFigure]


def robustness_section(
    models: Mapping[str, Robustness], example: npt.NDArray[np.uint8] | None = None
) -> RobustnessSection:
    """The section for one model, or for several beside each other, the reference first.

    Args:
        models: figures on the same images, by the name of the model.
        example: an image to show under each corruption, uint8, shape (height, width, 1 or 3), red first; None to show
            none.
    """
    first = next(iter(models.values()))
    curves = [
        PageFigure(f"{name}: {metric_title(first.metric)} by severity", png_bytes(figure))
        for name, figure in draw_corruption_panels(models).items()
    ]
    examples = [] if example is None else [_example(example, name, first.seed) for name in CORRUPTIONS]
    means = _severities(first) if len(models) == 1 else _side_by_side(models)
    return RobustnessSection(describe_images(first), [*describe_findings(models)], means, curves, examples)


def describe_images(found: Robustness) -> str:
    """What was measured, in a sentence."""
    chosen = f"All {found.total:,} images of the split"
    if found.images < found.total:
        chosen = f"{found.images:,} of the {found.total:,} images of the split, drawn in proportion to the classes,"
    low, high = found.clean_interval
    return (
        f"{chosen} were measured under {len(CORRUPTIONS)} corruptions at {len(SEVERITIES)} severities each, applied to "
        f"the image as the network sees it: at its input size. Without corruptions the "
        f"{metric_title(found.metric)} on these images is "
        f"{found.clean:.4f} (95 % interval {low:.4f} to {high:.4f})."
    )


def describe_findings(models: Mapping[str, Robustness]) -> Iterator[str]:
    """The mean, the weakest corruption and the weakest class of each model, and what it loses against the first."""
    reference, *_ = models.values()
    for name, found in models.items():
        low, high = found.mean_interval
        lost = ""
        if found is not reference:
            drop, (least, most) = reference.drop_of(found)
            lost = (
                f", {abs(100 * drop):.2f} points {'more' if drop < 0 else 'less'} than {next(iter(models))} "
                f"(95 % interval of the drop {100 * least:.2f} to {100 * most:.2f})"
            )
        weakest = found.weakest_corruption
        line = (
            f"{name}: {found.title} {found.mean:.4f} (95 % interval {low:.4f} to {high:.4f}){lost}. The weakest "
            f"corruption is {weakest} with {found.mean_of(weakest):.4f}"
        )
        of_class = found.weakest_class
        if of_class is not None:
            line += (
                f", the weakest class {shown(of_class.label)} with {of_class.mean:.4f}, without corruptions "
                f"{of_class.clean:.4f} ({of_class.images:,} image{'s' * (of_class.images != 1)})"
            )
        yield f"{line}."


def corruption_means(models: Mapping[str, Robustness]) -> tuple[list[str], list[list[str]]]:
    """The mean of each corruption over the severities: the heads and the rows, with what the others lose in points."""
    reference, *others = models.values()
    heads = ["corruption", *models, *(f"{name}: drop (points)" for name in [*models][1:])]
    rows = []
    for name in CORRUPTIONS:
        means = [found.mean_of(name) for found in models.values()]
        rows.append([name, *(f"{mean:.4f}" for mean in means), *_losses(means)])
    rows.append(["all", *(f"{found.mean:.4f}" for found in models.values())])
    rows[-1] += _losses([reference.mean, *(found.mean for found in others)])
    return heads, rows


def _losses(means: Sequence[float]) -> list[str]:
    return [f"{100 * (means[0] - mean):.2f}" for mean in means[1:]]


def _side_by_side(models: Mapping[str, Robustness]) -> PageTable:
    return PageTable.of_texts(*corruption_means(models))


def severity_table(found: Robustness) -> tuple[list[str], list[list[str]]]:
    """One model's metric under each corruption at each severity, and the mean: the heads and the rows."""
    rows = [
        [name, *(f"{value:.4f}" for value in (*values, found.mean_of(name)))]
        for name, values in found.by_corruption.items()
    ]
    by_severity = np.mean([*found.by_corruption.values()], axis=0).tolist()
    rows.append(["all", *(f"{value:.4f}" for value in (*by_severity, found.mean))])
    return ["corruption", *(f"severity {severity}" for severity in SEVERITIES), "mean"], rows


def _severities(found: Robustness) -> PageTable:
    return PageTable.of_texts(*severity_table(found))


def _example(pixels: npt.NDArray[np.uint8], name: str, seed: int) -> PageFigure:
    return PageFigure(
        f"{name}, from none to severity {SEVERITIES[-1]}", encode_png(corruption_strip(pixels, name, seed))
    )
