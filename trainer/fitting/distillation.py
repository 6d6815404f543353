"""Distillation: a network learns a larger one's scores beside the labels.

Source: G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, arXiv:1503.02531. The loss is
`(1 - w) * loss(labels) + w * T**2 * KL(teacher, student)`, with the logits of both divided by the temperature T.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from runtime.input_spec import InputSpec
from runtime.progress import progress

from ..config import TrainingConfig
from ..data import Dataset
from ..data.sources import Indices
from ..data.splits import Splits
from ..errors import TrainingError
from ..evaluation.metrics import compute_metrics, describe_chance
from ..keras_inspection.archive import load_keras_model
from ..models import mixed_precision
from ..teachers import TeacherFile, check_teacher
from .input_pipeline import Pipeline, SoftTargets

_log = logging.getLogger(__name__)

#: Training samples on which a teacher is tried before anything is learned from it.
_TRIAL_SAMPLES = 500
_BATCH = 256
#: The least probability whose logarithm is taken: of a softmax, and of a sigmoid and its complement.
_LEAST, _LEAST_SIGMOID = 1e-30, 1e-7
#: The largest probability, with what rounding adds.
_MOST = 1.001
#: Mean and std, in pixel units, that a file without a contract may want: 0 to 255, 0 to 1, -1 to 1.
_USUAL_SCALINGS = ((0.0, 1.0), (0.0, 255.0), (127.5, 127.5))

_Scaling = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_Scores = npt.NDArray[np.float32]
#: Gives the accuracy of scores, and whether they are hardly better than chance.
_Judge = Callable[[_Scores], tuple[float, bool]]


class Teacher:
    """A trained network whose scores are learned.

    Args:
        model: a Keras model that gives probabilities.
        scaling: factor and offset from a sample as the student takes it to one as the teacher does.
    """

    def __init__(self, model: Any, scaling: _Scaling) -> None:
        function = tf.function(lambda samples: model(samples, training=False))
        signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        # Constants instead of variables: several threads call it, and a strategy would give each device a copy.
        self._function = convert_variables_to_constants_v2(function.get_concrete_function(signature))
        self._factor, self._offset = scaling

    def scores(self, samples: npt.NDArray[Any]) -> _Scores:
        """Probabilities, shape (n, outputs), for samples in the student's scaling."""
        (scores,) = self._function(tf.constant(samples * self._factor + self._offset))
        return np.asarray(scores, np.float32)


def make_soft_targets(
    config: TrainingConfig, dataset: Dataset, spec: InputSpec, splits: Splits, pipeline: Pipeline
) -> SoftTargets | None:
    """The teacher's scores of training samples; None without a teacher.

    Augmented samples are shown to the teacher as the student sees them. Samples that do not change are scored once.

    Args:
        config: its `teacher` and `augmentation`.
        spec: the student's input with its scaling.
        pipeline: gives the samples that the teacher is tried on, and those that are scored once.

    Raises:
        TrainingError: the teacher is missing or made for other labels, another task or another input; it was trained on
            samples that this training measures with; or it knows nothing of the training samples.
    """
    if config.teacher is None:
        return None
    file = check_teacher(config.teacher, dataset)
    _check_splits(file, dataset, splits)
    outputs = 1 if dataset.task == "binary" else len(dataset.labels)
    trial = np.sort(np.random.default_rng(config.seed).permutation(splits.train)[:_TRIAL_SAMPLES])
    samples = pipeline.preprocessor.scale(pipeline.pixels[trial])

    def judge(scores: _Scores) -> tuple[float, bool]:
        metrics = compute_metrics(scores, dataset.targets[trial], dataset.labels, dataset.task)
        return metrics.accuracy, bool(describe_chance(metrics, dataset.labels, balanced=config.balance))

    teacher = _best_scaling(_load(file, config, spec.shape, outputs), file, spec, samples, judge)
    how = "for each augmented sample" if config.augmentation else "once, as no sample is augmented"
    _log.info(f"teacher: {file.name}; its scores are computed {how}")
    if config.augmentation:
        return lambda _chosen, samples: teacher.scores(samples)
    table = _score_once(teacher, pipeline, splits.train)
    return lambda chosen, _samples: table[chosen]


def with_soft_targets(compile_options: dict[str, Any], config: TrainingConfig, task: str) -> dict[str, Any]:
    """The arguments of `keras.Model.compile` for targets that a teacher's scores may follow.

    In training the targets are of shape (n, 2 x outputs), labels and scores; in validation, whose loss and metrics are
    those of the labels alone, of shape (n, outputs).
    """
    temperature, weight = config.distillation_temperature, config.distillation_weight
    loss = DistillationLoss(compile_options["loss"], temperature, weight, is_softmax=task == "multiclass")
    metrics = {
        name: [_OfLabels(metric) for metric in compile_options[name]]
        for name in ("metrics", "weighted_metrics")
        if name in compile_options
    }
    return compile_options | metrics | {"loss": loss}


class DistillationLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss of the labels, and the divergence of the student's scores from the teacher's.

    Args:
        hard: the loss of the labels.
        temperature: above 0.
        weight: share of the divergence, 0 to 1.
        is_softmax: whether the scores are those of classes that exclude each other; otherwise each is a sigmoid's.
    """

    def __init__(self, hard: Any, temperature: float, weight: float, *, is_softmax: bool) -> None:
        super().__init__(name="distillation")
        self._hard, self._temperature, self._weight = hard, temperature, weight
        self._divergence = self._of_classes if is_softmax else self._of_labels

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, shape (batch,), from probabilities of shape (batch, outputs)."""
        outputs = y_pred.shape[-1]
        hard = self._hard.call(y_true[:, :outputs], y_pred)
        if y_true.shape[-1] == outputs:
            return hard
        # The gradient of the divergence falls with the square of the temperature.
        soft = self._divergence(y_true[:, outputs:], y_pred) * self._temperature**2
        return (1 - self._weight) * hard + self._weight * soft

    def _of_classes(self, teacher: Any, student: Any) -> Any:
        ours, theirs = (
            ops.log_softmax(ops.log(ops.maximum(scores, _LEAST)) / self._temperature) for scores in (student, teacher)
        )
        return ops.sum(ops.exp(theirs) * (theirs - ours), axis=-1)

    def _of_labels(self, teacher: Any, student: Any) -> Any:
        ours, theirs = (self._logits(scores) for scores in (student, teacher))
        present, absent = (
            ops.sigmoid(sign * theirs) * (ops.log_sigmoid(sign * theirs) - ops.log_sigmoid(sign * ours))
            for sign in (1.0, -1.0)
        )
        return ops.mean(present + absent, axis=-1)

    def _logits(self, scores: Any) -> Any:
        scores = ops.clip(scores, _LEAST_SIGMOID, 1 - _LEAST_SIGMOID)
        return (ops.log(scores) - ops.log(1 - scores)) / self._temperature


class _OfLabels(keras.metrics.Metric):  # type: ignore[misc]
    """A metric that is given the labels alone."""

    def __init__(self, metric: Any) -> None:
        super().__init__(name=metric.name)
        self._metric = metric

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return self._metric.update_state(y_true[:, : y_pred.shape[-1]], y_pred, sample_weight)

    def result(self) -> Any:
        return self._metric.result()

    def reset_state(self) -> None:
        self._metric.reset_state()


def _check_splits(file: TeacherFile, dataset: Dataset, splits: Splits) -> None:
    """Refuse a teacher that has learned samples which this training chooses its epoch or measures with."""
    if file.run is None:
        return
    learned = set(file.run.source.digests(file.run.splits["train"]))
    # Copies that lie in several splits of this training are its data set's own.
    learned -= set(dataset.source.digests(splits.train))
    for name, split in (("test", splits.test), ("validation", splits.validation)):
        known = learned.intersection(dataset.source.digests(split))
        if known:
            raise TrainingError(
                f"teacher {file.name}: was trained on {len(known):,} of the {len(split):,} samples of this training's "
                f"{name} split, which would seem better learned than it is; train the teacher with the same data set "
                "and seed"
            )


def _load(file: TeacherFile, config: TrainingConfig, shape: tuple[int, ...], outputs: int) -> Any:
    """The teacher's network, computing in 16 bits where that is faster."""
    model = load_keras_model(file.model, TrainingError, cure="name another teacher")
    found, wanted = (
        " and ".join(map(str, shapes))
        for shapes in ([tuple(one.shape[1:]) for one in (*model.inputs, *model.outputs)], [shape, (outputs,)])
    )
    if found != wanted:
        raise TrainingError(f"teacher {file.name}: input and output of shape {found}, expected {wanted}; name another")
    policy = mixed_precision.precision_policy(config)
    depthwise = any("Depthwise" in type(layer).__name__ for layer in model.layers)
    return model if depthwise or policy == mixed_precision.FLOAT32 else mixed_precision.with_policy(model, policy)


def _best_scaling(model: Any, file: TeacherFile, spec: InputSpec, samples: npt.NDArray[Any], judge: _Judge) -> Teacher:
    """The teacher with the scaling of its contract; for a file alone the usual scaling that gives the best scores.

    Args:
        samples: training samples in the student's scaling.
        judge: judges scores for them.
    """
    tried = []
    for mean, std in _scalings(file, spec):
        own_mean, own_std, its_mean, its_std = (np.asarray(v, np.float64) for v in (spec.mean, spec.std, mean, std))
        factor, offset = own_std / its_std, (own_mean - its_mean) / its_std
        teacher = Teacher(model, (factor.astype(np.float32), offset.astype(np.float32)))
        scores = teacher.scores(samples)
        if not np.isfinite(scores).all() or scores.min() < 0 or scores.max() > _MOST:
            raise TrainingError(f"teacher {file.name}: its scores are no probabilities; name another teacher")
        tried.append((*judge(scores), teacher))
    accuracy, is_chance, teacher = max(tried, key=lambda one: one[0])
    if is_chance:
        raise TrainingError(
            f"teacher {file.name}: right on {accuracy:.4f} of {len(samples)} training samples, hardly better than "
            "chance; name another teacher"
        )
    return teacher


def _scalings(file: TeacherFile, spec: InputSpec) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Mean and std that a teacher may want."""
    if file.run:
        return [(file.run.contract.input.mean, file.run.contract.input.std)]
    if spec.kind == "features":
        return [(spec.mean, spec.std), ((0.0,), (1.0,))]
    return [(spec.mean, spec.std), *(((mean,), (std,)) for mean, std in _USUAL_SCALINGS)]


def _score_once(teacher: Teacher, pipeline: Pipeline, split: Indices) -> _Scores:
    """The scores of a split, in rows by index; the rows of other samples are 0."""
    table = np.zeros((len(pipeline.targets), pipeline.targets.shape[1]), np.float32)
    with progress(len(split), "scores of the teacher") as bar:
        for start in range(0, len(split), _BATCH):
            chosen = split[start : start + _BATCH]
            table[chosen] = teacher.scores(pipeline.preprocessor.scale(pipeline.pixels[chosen]))
            bar.update(len(chosen))
    return table
