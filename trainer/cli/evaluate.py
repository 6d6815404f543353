"""`pocketlens evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from runtime.cli.app import Command, with_options
from runtime.cli.data_options import SOURCE_OPTIONS
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.errors import UsageError
from runtime.files import shown

from .measured_model import SPLIT_OPTION, load_as_input, open_model, score
from .options import MAX_SEED, html_option, output_folder, typed_options, write_page
from .sample_index import SampleIndex, index_option

if TYPE_CHECKING:
    from runtime import Contract

    from ..data.run_folder import RunFolder
    from ..evaluation.eval_set import EvaluationSet
    from ..evaluation.metrics import Metrics
    from ..evaluation.predictions import Predictions
    from .evaluate_corruptions import CorruptedImages

#: Mistakes that --json lists.
_MAX_MISTAKES = 60


@click.command(
    "evaluate",
    cls=Command,
    quiet=True,
    requires=("sklearn", "matplotlib", "jinja2"),
    example="pocketlens evaluate runs/digits --split validation --out look/\n"
    "pocketlens evaluate models/int8.tflite --dataset photos/ --split all --json\n"
    "pocketlens evaluate runs/digits --split validation --corruptions --out look/\n"
    "pocketlens evaluate runs/digits --index test:0 --out look/\n"
    "pocketlens evaluate runs/digits --index random",
)
@click.argument("model", type=click.Path(path_type=Path), metavar="RUN|MODEL.tflite")
@with_options(
    Option(
        ("--dataset",),
        "Data set to measure on. [default: what the run was trained with]",
        metavar="NAME|DIR|CSV",
    ),
    *SOURCE_OPTIONS,
    SPLIT_OPTION,
    Option(
        ("--seed",),
        "Seed of the choice of samples in predictions.png, for --corruptions and by --index random, and of the splits "
        "of --dataset. "
        "[default: 0, another sample each time, and the model's own]",
        type=int,
        minimum=0,
        maximum=MAX_SEED,
    ),
    group="Data",
)
@with_options(
    Option(
        ("--corruptions",),
        "Also measure under noise, blur, motion, brightness, contrast, fog, rotation, JPEG and occlusion, at five "
        "severities each.",
        type=bool,
    ),
    Option(
        ("--corruption-images",),
        "Measure them on so many images, drawn in proportion to the classes. [default: 100 to 1000, by their size]",
        type=int,
        minimum=1,
        metavar="N",
    ),
    index_option(
        "Show the scores of one image instead: test:12 counts from 0 in a split, 12 in the whole data set; random is "
        "one of --split.",
    ),
    output_folder("Draw into this folder: the confusion matrix, predictions, the most confident mistakes, curves."),
    html_option("the figures, with examples,"),
    JSON_OPTION,
    group="Output",
)
def evaluate(
    model: Path,
    dataset: str | None,
    split: str,
    seed: int | None,
    corruptions: bool,
    corruption_images: int | None,
    index: SampleIndex | None,
    out: Path | None,
    html: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a trained run, or an exported model, on a split of a data set.

    A .tflite file runs as on a device, in its interpreter and without TensorFlow. On a data set with more classes a
    binary model is measured on its own question: its positive label against the rest. Choosing models by the test split
    makes its figures too good: choose by --split validation. A note (caution in --json) says so, and how many samples
    of --dataset the run was trained on.

    The figures count every prediction, whatever its score. If the model has a threshold, the output also says for how
    many samples a device answers "unknown", and how many of these would be wrong (unknown in --json).

    --corruptions measures a sample of the images again, changed at the model's input size. The figures say how it
    bears a bad lens, light or weather, and where it is weakest (corruptions in --json, corruptions.csv in --out).

    The loss is the cross-entropy of the scores, without label smoothing. For a run on its own data, the last line says
    what the curves of the training say, such as overfitting.
    """
    if index is not None:
        if html is not None or corruptions:
            refused = "--html is a page of" if html is not None else "--corruptions is a measurement on"
            raise UsageError(f"{refused} a whole split; leave --index out")
        _show_sample(model, dataset, index, split, seed, out, as_json, options)
        return
    run, contract = open_model(model)
    evaluation_set = _evaluation_set(run, contract, model, dataset, split, seed, options)
    corrupted = _corrupted_images(contract, evaluation_set, corruptions, corruption_images, seed or 0)
    evaluation_set = replace(evaluation_set, caution=evaluate.in_its_words(evaluation_set.caution))
    if evaluation_set.caution:
        print_line(f"note: {evaluation_set.caution}", error=True)
    scores, interpreter = score(run, model, evaluation_set)
    robustness = corrupted.measure(run, model) if corrupted else None
    from ..evaluation.metrics import compute_metrics, cross_entropy
    from ..evaluation.predictions import Predictions
    from .evaluate_output import draw_evaluation, print_figures, print_rest

    targets, decision = evaluation_set.chosen_targets, contract.confidence.decision
    metrics = compute_metrics(scores, targets, contract.labels, contract.task, decision)
    predictions = Predictions(scores, targets, contract.task, decision=decision)
    unknown = predictions.below_threshold(contract.confidence.threshold)
    loss = cross_entropy(predictions.scores, targets, contract.task) if contract.gives_probabilities else None
    curves = _learning_curves(run) if run and dataset is None else ""
    drawn = (contract, metrics, evaluation_set, predictions, shown(model.name), seed or 0)
    pictures = draw_evaluation(out, *drawn) if out else []
    if out and corrupted and robustness:
        pictures += corrupted.draw(out, robustness, shown(model.name))
    details = {"interpreter": interpreter, "seed": seed or 0, "loss": loss, "unknown": unknown, "curves": curves}
    details["robustness"] = robustness
    page = write_page(html, lambda: _page(contract, metrics, evaluation_set, predictions, shown(model.name), details))
    if as_json:
        result = _result(model, interpreter, metrics, evaluation_set, predictions, unknown, pictures)
        result |= {"corruptions": robustness.as_dict()} if robustness else {}
        print_json(result | {"loss": loss, "learning_curves": curves or None, "html": str(page) if page else None})
        return
    heading = f"{shown(model)} on {shown(evaluation_set.name)}, {evaluation_set.split}"
    print_wrapped(f"{heading}: {len(targets):,} samples, {interpreter}")
    print_figures(loss, metrics, contract.labels, unknown, len(targets))
    if corrupted and robustness:
        corrupted.show(robustness, shown(model.name))
    print_rest(curves, pictures, page)


def _corrupted_images(
    contract: Contract, evaluation_set: EvaluationSet, wanted: bool, count: int | None, seed: int
) -> CorruptedImages | None:
    """The images for `--corruptions`; None without it."""
    if not wanted:
        if count is not None:
            raise UsageError("--corruption-images is the number of images for --corruptions; add that, or leave it out")
        return None
    from .evaluate_corruptions import CorruptedImages

    return CorruptedImages.choose(contract, evaluation_set, count, seed)


def _page(
    contract: Contract,
    metrics: Metrics,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    name: str,
    details: dict[str, Any],
) -> str:
    from ..pages.evaluation_page import evaluation_page

    return evaluation_page(contract, metrics, evaluation_set, predictions, model=name, **details)


def _show_sample(
    model: Path,
    dataset: str | None,
    index: SampleIndex,
    split: str,
    seed: int | None,
    out: Path | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Show one sample; the arguments are those of `evaluate`."""
    from .evaluate_output import show_sample

    _check_index(index, dataset)
    run, contract = open_model(model)
    samples = _evaluation_set(run, contract, model, dataset, "all", seed, options)
    if index == SampleIndex("", None) and split != "all":
        index = SampleIndex(split, None)
    place = index.find(samples.splits, len(samples.targets), samples.name, seed)
    show_sample(model, contract, samples, place, lambda chosen: score(run, model, chosen), out, as_json)


def _learning_curves(run: RunFolder) -> str:
    from ..evaluation.learning_curves import describe_learning_curves

    return describe_learning_curves(run.history, run.metrics["best_epoch"], len(run.splits["validation"]))


def _check_index(index: SampleIndex, dataset: str | None) -> None:
    """Refuse options beside `--index` that would mean nothing."""
    typed = {"split", "seed"} & typed_options().keys()
    if index.place is None:
        typed -= {"seed"} if index.split else {"seed", "split"}
    elif index.split and dataset is not None:
        typed -= {"seed"}
    if typed:
        raise UsageError(f"--index {index.text} names one image by itself; leave --split and --seed out")


def _evaluation_set(
    run: RunFolder | None,
    contract: Contract,
    model: Path,
    dataset: str | None,
    split: str,
    seed: int | None,
    options: dict[str, Any],
) -> EvaluationSet:
    from ..evaluation.eval_set import from_dataset, from_run

    if dataset is None:
        if any(options.values()):
            raise UsageError("--data-dir and --merge are for a --dataset")
        if run is None:
            raise UsageError(f"{shown(model)}: a model file has no images with it; name some with --dataset")
        return from_run(run, split)
    data = load_as_input(contract, dataset, options)
    return from_dataset(data, contract, split, contract.provenance.seed if seed is None else seed, shown(model), run)


def _result(
    model: Path,
    interpreter: str,
    metrics: Metrics,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    unknown: dict[str, Any] | None,
    pictures: list[Path],
) -> dict[str, Any]:
    from ..evaluation.metrics import averages, percent_of_true_class

    figures = metrics.as_dict() | {"averages": averages(metrics)}
    if metrics.task != "multilabel":
        figures["confusion_percent"] = np.round(percent_of_true_class(metrics.confusion), 3).tolist()
    return {
        "model": str(model),
        "dataset": evaluation_set.name,
        "split": evaluation_set.split,
        "samples": len(evaluation_set.chosen),
        "interpreter": interpreter,
        "caution": evaluation_set.caution or None,
        **figures,
        "unknown": unknown,
        "labels": list(evaluation_set.labels),
        "mistakes": [
            evaluation_set.describe(predictions, place) for place in predictions.mistakes()[:_MAX_MISTAKES].tolist()
        ],
        "pictures": [str(picture) for picture in pictures],
    }
