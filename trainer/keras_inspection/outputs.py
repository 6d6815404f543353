"""What the outputs of a network are: probabilities that fit the task, logits, or neither.

The trainer asks before it trains a user's network, the exporter before it converts one.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from .graph import calls_to_output

_SAMPLES = 8
#: Largest error accepted in a sum of probabilities, and in a softmax over one unit.
_TOLERANCE, _ROUNDING = 1e-3, 1e-6
#: Operations that leave the values of scores as they are.
_NEUTRAL = ("Dropout", "Flatten", "GetItem", "Identity", "InputLayer", "Reshape", "Squeeze")


class OutputKind(Enum):
    """What the outputs of a network are, for its task."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    #: A softmax over one unit: 1 for every input.
    ALWAYS_ONE = "always one"
    #: They sum to one where each should be a probability by itself.
    SUM_TO_ONE = "sum to one"
    #: Each is between 0 and 1 where they should sum to one.
    SEPARATE = "separate"
    #: NaN or infinite.
    NOT_FINITE = "not finite"


def predict_array(model: Any, inputs: npt.NDArray[Any], batch_size: int = 32) -> Any:
    """The outputs of a network for an array of inputs, arranged as `model.predict` arranges them.

    `model.predict` makes a `tf.data` pipeline of an array. In a process with deterministic operations TensorFlow
    rewrites a step of that pipeline, and prints an error about an attribute that it does not know.

    Args:
        inputs: at least one.
    """
    starts = range(0, len(inputs), batch_size)
    batches = [model.predict_on_batch(inputs[start : start + batch_size]) for start in starts]
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


def random_inputs(input_shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A few random inputs of zero mean and unit variance, each with its opposite; the same ones each time.

    A network that ends without an activation gives a score below 0 for one of the two.
    """
    samples = np.random.default_rng(0).standard_normal((_SAMPLES // 2, *input_shape)).astype(np.float32)
    return np.concatenate([samples, -samples])


def last_activation(model: Any) -> str:
    """The name of the activation that gives a network's scores, such as `"softmax"`; "linear" if there is none.

    Returns:
        "" where the last operation does not say it, as in a model without a graph.
    """
    try:
        calls, place = calls_to_output(model)
    except ValueError:
        return ""
    while type(calls[place].layer).__name__ in _NEUTRAL and len(calls[place].inputs) == 1:
        (place,) = calls[place].inputs
    layer = calls[place].layer
    kind = type(layer).__name__
    if kind in ("Softmax", "Sigmoid"):  # a layer, or an operation of keras.ops
        return kind.lower()
    if not isinstance(layer, keras.layers.Layer) or not hasattr(layer, "activation"):
        return ""
    return str(getattr(layer.activation, "__name__", ""))


def classify_outputs(scores: npt.NDArray[Any], task: str, activation: str = "") -> OutputKind:
    """What the scores of a network are.

    Args:
        scores: for some samples, shape (n, outputs).
        task: `"multiclass"`, `"binary"` with one output, or `"multilabel"`.
        activation: from `last_activation`; "" where it is not known.
    """
    if not np.isfinite(scores).all():
        return OutputKind.NOT_FINITE
    if scores.shape[1] == 1 and _is_always_one(scores, activation):
        return OutputKind.ALWAYS_ONE
    if activation == "linear" or scores.min() < 0 or scores.max() > 1 + _TOLERANCE:
        return OutputKind.LOGITS
    sums_to_one = bool(np.allclose(scores.sum(axis=1), 1, atol=_TOLERANCE))
    if task == "multiclass":
        return OutputKind.PROBABILITIES if sums_to_one else OutputKind.SEPARATE
    # Two untrained sigmoids may give a half each, which sums to one as well.
    is_softmax = task == "multilabel" and sums_to_one and np.ptp(scores) > 0
    return OutputKind.SUM_TO_ONE if is_softmax else OutputKind.PROBABILITIES


def _is_always_one(scores: npt.NDArray[Any], activation: str) -> bool:
    """Whether it is a softmax over one unit: 1, or 0.99999994 on some processors."""
    near_one = scores.min() > 1 - _ROUNDING and scores.max() <= 1 + _TOLERANCE
    return activation == "softmax" or (activation != "sigmoid" and bool(near_one))
