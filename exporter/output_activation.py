"""Appends a softmax or a sigmoid to a network whose outputs are logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from runtime import Contract, make_preprocessor
from trainer.keras_inspection.outputs import OutputKind, classify_outputs, last_activation, random_inputs

from .errors import ExportError
from .recipe import OUTPUTS

_LOGITS, _PROBABILITIES = OUTPUTS
#: The number of representative images for which the scores are computed, to find out what they are.
_PROBED = 64


class CompletedModel(NamedTuple):
    """A model that gives probabilities, and a note on the appended activation; "" for none."""

    model: Any
    note: str


def complete_outputs(
    model: Any, samples: npt.NDArray[Any], contract: Contract, outputs: str | None, name: str
) -> CompletedModel:
    """A model that gives the probabilities that its task needs.

    Args:
        model: from `keras_loading.load_model`.
        samples: images of the representative dataset.
        outputs: the user's own statement, one of `OUTPUTS`; None to find it out from the scores.
        name: the model's name, for messages.

    Raises:
        ExportError: the outputs contradict `outputs`, or do not fit the task even with a softmax or a sigmoid.
    """
    if outputs not in (None, *OUTPUTS):
        raise ExportError(f"`outputs` is {outputs!r}, expected one of {', '.join(OUTPUTS)}")
    activation = last_activation(model)
    scores = _probe(model, samples, contract)
    kind = classify_outputs(scores, contract.task, activation)
    cure = "a sigmoid over one unit" if contract.task == "binary" else f"a softmax over {contract.outputs} units"
    found = f"from {scores.min():.4g} to {scores.max():.4g}"
    if kind is OutputKind.NOT_FINITE:
        raise ExportError(
            f"{name}: its scores are not numbers (NaN or infinite) for calibration images; check its scaling, or train "
            "it again in float32: numbers above 65,504 overflow in float16"
        )
    if kind is OutputKind.ALWAYS_ONE:
        raise ExportError(
            f"{name}: a softmax over one unit is 1 for every image; end it with activation='sigmoid', and train again"
        )
    if outputs == _LOGITS and activation == "softmax":
        raise ExportError(f"{name}: its last layer is a softmax, so that its scores are no logits; leave out `outputs`")
    if outputs == _PROBABILITIES and kind is not OutputKind.PROBABILITIES:
        raise ExportError(
            f"{name}: its scores ({found}) are no probabilities; give `outputs=logits`, or end it with {cure}"
        )
    if outputs is None and kind is OutputKind.SEPARATE:
        raise ExportError(
            f"{name}: its scores ({found}) are between 0 and 1 and do not sum to one, like those of sigmoids over "
            f"{contract.outputs} units; one label of {contract.outputs} needs {cure}: change the last layer "
            "and train again, or give `outputs=logits` to have a softmax appended"
        )
    if outputs == _LOGITS or kind is OutputKind.LOGITS:
        return _append(model, "sigmoid" if contract.task == "binary" else "softmax", found)
    return CompletedModel(model, "")


def _probe(model: Any, samples: npt.NDArray[Any], contract: Contract) -> npt.NDArray[Any]:
    """The model's scores for some calibration images and for random inputs, shape (n, outputs)."""
    images = make_preprocessor(contract.input).scale(samples[:_PROBED])
    inputs = np.concatenate([images, random_inputs(contract.input.shape)])
    return np.concatenate([np.asarray(model(one[np.newaxis], training=False)) for one in inputs])


def _append(model: Any, activation: str, found: str) -> CompletedModel:
    last = keras.layers.Activation(activation, name=activation)
    completed = keras.Model(model.inputs[0], last(model.outputs[0]), name="classifier")
    return CompletedModel(completed, f"the model ends in logits ({found}): a {activation} was appended to it")
