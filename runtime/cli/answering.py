"""From the options that `classify` and `watch` share to a model that answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ModelFileError, UsageError
from ..files import shown
from .external_options import given
from .model_options import MODEL_VARIABLE

if TYPE_CHECKING:
    from ..input_spec import FeaturesInput
    from ..postprocessing import Prediction


class Answering(NamedTuple):
    """A model that is ready.

    Attributes:
        labels: of its contract.
        classify: an image or a vector, as `Classifier.classify` takes it, to predictions.
        features: what it takes, where that are features; None where it takes images.
    """

    labels: tuple[str, ...]
    classify: Callable[[Any], list[Prediction]]
    features: FeaturesInput | None


def load(
    model_path: str | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    top: int | None,
    min_score: float | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    **foreign: Any,
) -> Answering:
    """Load the model that is meant; where it was not named, say on standard error which that is.

    Raises:
        UsageError: a name in `allow` or `deny` that is no label.
        ModelFileError, ContractError, InterpreterError: as `Classifier` does.
    """
    # Here, not above: help and mistakes need neither numpy nor Pillow.
    from ..classifier import Classifier
    from ..native_output import held_stderr
    from ..postprocessing import choose_labels

    path = model_path or default_model()
    if not model_path and sys.stderr is not None:
        print(f"model: {shown(path)}", file=sys.stderr, flush=True)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(path, num_threads=threads, interpreter=interpreter, delegate=delegate, **given(foreign))
    labels = classifier.contract.labels
    try:
        choose_labels(labels, allow or None, deny)
    except ValueError as error:
        raise UsageError(str(error)) from error
    spec = classifier.contract.input
    classify = partial(classifier.classify, top=top, min_score=min_score, allow=allow or None, deny=deny)
    return Answering(labels, classify, spec if spec.kind == "features" else None)


def default_model() -> str:
    """The model that is meant where none is named.

    Raises:
        ModelFileError: there is none.
    """
    from pathlib import Path

    from ..model_file import has_seal

    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return named
    models = [path for path in Path().glob("*.tflite") if path.is_file()]
    for path in sorted(models, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if has_seal(path):
            return str(path)
    raise ModelFileError(
        f"no model: name one with --model or ${MODEL_VARIABLE}; no *.tflite of Pocketlens lies in this folder"
    )
