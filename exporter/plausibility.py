"""Doubts about a model: signs that its input or its labels are not those that it was trained with.

Such a model converts without an error and agrees with its reference, so no gate on a loss finds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import ImageInput
from trainer.data.label_names import label_remarks
from trainer.data.run_folder import RunFolder
from trainer.evaluation.intervals import mcnemar_p_value
from trainer.keras_inspection.input_scaling import find_input_scaling

from .evaluated_model import EvaluatedModel
from .gates import Gate
from .scaling_trial import ScalingTrial, try_scalings

#: An agreement with float32 below this is too low to come from lost precision.
LEAST_AGREEMENT = 0.5
#: A drop above this explains a low agreement by itself, and has its own gate.
_SAME_ACCURACY = 0.1
#: If chance leaves more than this number of classes without a prediction, such a class is no sign of a fault.
_EXPECTED_BY_CHANCE = 0.5
#: A result counts as a sign only if chance gives it with a probability below this.
_RARELY = 0.001
#: If the largest class has this share of the test images, accuracy says little.
LARGE_SHARE = 0.75


def reference_doubts(
    reference: EvaluatedModel,
    labels: Sequence[str],
    trial: ScalingTrial | None = None,
    noun: str = ImageInput.noun,
) -> Iterator[Gate]:
    """The doubts about the float32 model, as gates that it did not pass. Multilabel has none.

    Args:
        trial: the result of trying other scalings; None without a trial.
        noun: of the contract's input.
    """
    confusion = reference.comparison.confusion
    if reference.predictions.task == "multilabel" or not confusion.sum():
        return
    accuracy = reference.comparison.accuracy
    counts, answered = confusion.sum(axis=1), confusion.sum(axis=0)
    largest = int(counts.argmax())
    share = float(counts[largest] / counts.sum())
    if share == 1:
        reason = f"all test {noun} are of class {labels[largest]!r}, so that its accuracy says nothing; add the others"
        yield Gate("chance", accuracy, share, False, reason=reason)
    elif accuracy <= share:
        reason = (
            f"answers {accuracy:.4f} of the test {noun} rightly; always answering {labels[largest]!r}, the largest "
            f"class, would give {share:.4f}"
        )
        yield Gate("chance", accuracy, share, False, reason=reason)
    unanswered = np.flatnonzero((counts > 0) & (answered == 0))
    expected = float(((1 - accuracy) ** counts[counts > 0]).sum())
    if share < 1 and len(unanswered) and expected < _EXPECTED_BY_CHANCE:
        names = ", ".join(repr(labels[place]) for place in unanswered[:5]) + ", ..." * (len(unanswered) > 5)
        reason = f"never answers {names}, of which there are test {noun}"
        yield Gate("unanswered", float(len(unanswered)), 0.0, False, reason=reason)
    pairs, gained = swapped_labels(confusion)
    if pairs:
        names = " and ".join(f"{labels[a]!r} with {labels[b]!r}" for a, b in pairs[:5])
        reason = (
            f"labels seem to be in another order than the outputs: exchanging {names} would raise its accuracy from "
            f"{accuracy:.4f} to {gained:.4f}"
        )
        yield Gate("labels", accuracy, gained, False, reason=reason)
    if trial is not None and trial.is_much_better:
        yield Gate("scaling", trial.accuracy, trial.best_accuracy, False, reason=trial.describe())


def swapped_labels(confusion: npt.NDArray[np.int64]) -> tuple[list[tuple[int, int]], float]:
    """Pairs of labels that seem to be swapped, and the accuracy after exchanging them.

    A pair counts if exchanging it would make most images of both classes correct, and chance rarely gives that. Longer
    cycles are found as pairs, one after the other.

    Args:
        confusion: counts; rows are true classes, columns predicted classes.
    """
    found = confusion.copy()
    pairs: list[tuple[int, int]] = []
    for _ in range(len(found)):
        diagonal = np.diag(found)
        right = diagonal[:, np.newaxis] + diagonal
        exchanged = found + found.T
        gains = np.triu(exchanged - 2 * right, 1)
        first, second = (int(place) for place in np.unravel_index(gains.argmax(), gains.shape))
        before, after = int(right[first, second]), int(exchanged[first, second])
        if gains[first, second] <= 0 or mcnemar_p_value(before, after) > _RARELY:
            break
        pairs.append((first, second))
        found[:, [first, second]] = found[:, [second, first]]
    return pairs, float(np.trace(found) / found.sum())


def is_weak(reference: EvaluatedModel) -> bool:
    """Whether a model's accuracy is so low that trying other scalings is worth the time."""
    confusion = reference.comparison.confusion
    if reference.predictions.task == "multilabel" or not confusion.sum():
        return False
    share = float(confusion.sum(axis=1).max() / confusion.sum())
    return reference.comparison.accuracy < (1 + share) / 2


def agreement_doubts(model: EvaluatedModel) -> Iterator[Gate]:
    """The doubt about a model that passes its gates although it rarely predicts the same as float32."""
    agreement = model.comparison.agreement
    explained = agreement >= LEAST_AGREEMENT or abs(model.comparison.drop) > _SAME_ACCURACY
    if model.is_reference or model.failed or model.predictions.task == "multilabel" or explained:
        return
    reason = (
        f"answers as float32 on {agreement:.4f} of the test split only, although both have about the same accuracy: "
        "neither answers from its input"
    )
    yield Gate("low-agreement", agreement, LEAST_AGREEMENT, False, reason=reason)


def with_doubts(models: Sequence[EvaluatedModel], doubts: Mapping[str, Sequence[Gate]]) -> list[EvaluatedModel]:
    """The models with their doubts among the gates; `doubts` is by the name of a model."""
    return [replace(model, gates=(*model.gates, *doubts.get(model.name, ()))) for model in models]


def share_warnings(reference: EvaluatedModel, labels: Sequence[str], noun: str = ImageInput.noun) -> Iterator[str]:
    """Warnings about the classes of the test images: missing ones, and one that has nearly all images."""
    counts = reference.comparison.confusion.sum(axis=1)
    if reference.predictions.task == "multilabel" or not counts.sum():
        return
    missing = [label for label, count in zip(labels, counts, strict=True) if not count]
    if missing:
        names = ", ".join(missing[:5]) + ", ..." * (len(missing) > 5)
        yield (
            f"the test {noun} show {len(labels) - len(missing)} of {len(labels)} classes; none shows {names}: the "
            f"figures say nothing of these; add {noun} of them"
        )
    largest = int(counts.argmax())
    share = counts[largest] / counts.sum()
    if share >= LARGE_SHARE:
        yield (
            f"{share:.4f} of the test {noun} are of class {labels[largest]!r}: always answering it would have that "
            f"accuracy; look at the recall of the other classes, and add test {noun} of them"
        )


def recall_warnings(model: EvaluatedModel, labels: Sequence[str], noun: str = ImageInput.noun) -> Iterator[str]:
    """A warning about the classes with so low a recall that the accuracy does not hold for them."""
    comparison = model.comparison
    if model.predictions.task == "multilabel" or not comparison.confusion.sum():
        return
    counts, right = comparison.confusion.sum(axis=1).tolist(), np.diag(comparison.confusion).tolist()
    found = [
        f"{label!r} ({hits} of {count})"
        for label, hits, count in zip(labels, right, counts, strict=True)
        if 2 * hits < count and _chance_of_at_most(hits, count, comparison.accuracy) < _RARELY
    ]
    if found:
        yield (
            f"{model.name} answers most test {noun} of {', '.join(found[:5])}{', ...' * (len(found) > 5)} wrongly, "
            f"which its accuracy of {comparison.accuracy:.4f} does not show; collect more {noun} of such a class, or "
            "give the classes the same weight in training"
        )


def _chance_of_at_most(hits: int, count: int, share: float) -> float:
    """The probability of at most so many hits in `count` trials that succeed with a probability of `share`."""
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1))


def find_doubts(
    models: Sequence[EvaluatedModel], model: Any, run: RunFolder, *, accept: bool
) -> tuple[list[EvaluatedModel], tuple[str, ...]]:
    """Find doubts about the models of an export.

    Args:
        models: the reference first.
        model: the Keras model that was converted.
        run: the run, with the contract of the files.
        accept: do not add the doubts to the gates.

    Returns:
        The models, with their doubts among the gates that they failed, and warnings, a line each.
    """
    reference, *others = models
    labels, noun = run.contract.labels, run.contract.input.noun
    found = [*reference_doubts(reference, labels, noun=noun)]
    warnings = [*_training_warnings(run), *label_remarks(labels), *share_warnings(reference, labels, noun)]
    is_image = run.contract.input.kind == "image"
    if is_image and (found or (run.is_external and is_weak(reference))):
        trial = try_scalings(model, run, run.contract.provenance.seed)
        found = [*reference_doubts(reference, labels, trial, noun)]
        warnings += [*_trial_warnings(trial, found), *_scaled_twice(model, run)]
    warnings += [warning for each in models for warning in recall_warnings(each, labels, noun)]
    doubts = {reference.name: found} | {other.name: [*agreement_doubts(other)] for other in others}
    warnings += [f"{name} {gate.reason}" for name, gates in doubts.items() for gate in gates]
    return ([*models] if accept else with_doubts(models, doubts)), tuple(warnings)


def _training_warnings(run: RunFolder) -> Iterator[str]:
    """The warnings that the training left in the run; older runs have none."""
    if not run.is_external and (run.folder / "metrics.json").is_file():
        found = run.metrics.get("warnings")
        yield from (f"training: {line}" for line in found if isinstance(line, str)) if isinstance(found, list) else ()


def _trial_warnings(trial: ScalingTrial | None, doubts: Sequence[Gate]) -> Iterator[str]:
    if trial is not None and not trial.is_much_better:
        yield trial.describe()
    if trial is None and doubts:
        yield "no other scaling was tried: that needs calibration images in one folder a class, or validation images"


def _scaled_twice(model: Any, run: RunFolder) -> Iterator[str]:
    scaling = find_input_scaling(model)
    spec = run.contract.image_input
    if scaling is not None and not scaling.fits(spec.mean, spec.std):
        yield (
            f"the network scales its input itself ({scaling.layers}), and the input is scaled before it as well: train "
            "it on plain pixels, without normalization, or without these layers"
        )
