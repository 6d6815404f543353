"""The options that the device's commands share: which model, what runs it, what it needs to know; and loading it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..contract import DEFAULT_TOP, SCORES, TASKS
from ..errors import ModelFileError, UsageError
from ..files import shown
from ..input_spec import COLOURS, FILTERS, ORIENTATIONS, RESIZES
from ..interpreter import AUTO, LIBRARIES
from .options import Option, in_group, name_options
from .output import print_line

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..input_spec import FeaturesInput
    from ..postprocessing import Prediction

#: The environment variable that names the model if no option does.
MODEL_VARIABLE = "POCKETLENS_MODEL"


def _numbers(text: str, kind: type[Any], lengths: tuple[int, ...], wanted: str) -> tuple[Any, ...]:
    """Numbers between commas, as many as one of `lengths` says, or any number of them if it is empty."""
    try:
        numbers = tuple(kind(word) for word in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not {wanted}") from error
    if lengths and len(numbers) not in lengths:
        raise ValueError(f"{text!r} is not {wanted}")
    return numbers


def _scaling(text: str) -> tuple[float, ...]:
    return _numbers(text, float, (1, 3), "a number, or three between commas")


def _rgb(text: str) -> tuple[int, ...]:
    return _numbers(text, int, (3,), "three whole numbers between commas")


def _vector(text: str) -> tuple[float, ...]:
    return _numbers(text, float, (), "numbers between commas")


MODEL = Option(
    ("--model",),
    f"The model file.  [default: ${MODEL_VARIABLE}, else the newest model of Pocketlens in this folder]",
    name="model_path",
    metavar="FILE",
    group="Model",
)
DELEGATE = Option(
    ("--delegate",), "Library of an accelerator, such as libedgetpu.so.1. [default: no accelerator]", metavar="LIBRARY"
)
#: What runs the model.
INTERPRETER_OPTIONS = in_group(
    "Interpreter",
    Option(
        ("--threads",),
        "Number of threads for one invocation.",
        type=int,
        default=1,
        minimum=1,
        maximum=64,
        show_default=True,
    ),
    Option(("--interpreter",), "The interpreter to use.", default=AUTO, choices=(AUTO, *LIBRARIES), show_default=True),
    DELEGATE,
)
#: For models of one's own.
TRUSTED = Option(
    ("--trusted",),
    "For models of your own: skip the check of the structure and the trial in a child process, and accept loops.",
    type=bool,
    default=False,
    group="Model",
)
#: Which of the scores become answers.
ANSWER_OPTIONS = in_group(
    "Answer",
    Option(
        ("--top",),
        f"Number of answers for each image.  [default: {DEFAULT_TOP}; if several labels can be true, all that reach "
        "the threshold]",
        type=int,
        minimum=1,
    ),
    Option(
        ("--min-score",),
        'Answer "unknown" below this score.  [default: the threshold in the model; 0 never answers "unknown"]',
        type=float,
        minimum=0,
        maximum=1,
    ),
    Option(
        ("--allow",), "Answer only with this label; repeatable. [default: all labels]", multiple=True, metavar="LABEL"
    ),
    Option(
        ("--deny",), "Never answer with this label; repeatable. [default: no label]", multiple=True, metavar="LABEL"
    ),
)
#: What a model that was not made by Pocketlens does not say itself.
EXTERNAL_OPTIONS = in_group(
    "External model",
    Option(
        ("--labels",),
        "File of the labels, one a line, in the order of the outputs, or each behind its number. "
        "[default: the model's metadata]",
        metavar="FILE",
    ),
    Option(
        ("--colour",), "Colour of the model's input. [default: grey or rgb, by its channels]", choices=tuple(COLOURS)
    ),
    Option(("--resize",), "How a picture gets the size of the input. [default: stretch]", choices=RESIZES),
    Option(
        ("--filter",),
        "Resampling filter; tf-bilinear and tf-nearest are TensorFlow's. [default: hamming]",
        choices=FILTERS,
    ),
    Option(
        ("--orientation",),
        "Turn photos by their EXIF tag, or take them as they are stored. [default: exif]",
        choices=ORIENTATIONS,
    ),
    Option(
        ("--background",),
        "Colour under transparent pixels and in padding. [default: 255,255,255]",
        type=_rgb,
        metavar="R,G,B",
    ),
    Option(
        ("--mean",),
        "Mean in (pixel - mean) / std, with pixels from 0 to 255. [default: the model's metadata]",
        type=_scaling,
        metavar="N[,N,N]",
    ),
    Option(
        ("--std",),
        "Std in (pixel - mean) / std, with pixels from 0 to 255. [default: the model's metadata]",
        type=_scaling,
        metavar="N[,N,N]",
    ),
    Option(
        ("--scores",),
        "What turns the outputs into probabilities; as-is is nothing. [default: what the last operator lacks]",
        choices=SCORES[1:],
    ),
    Option(
        ("--task",),
        "What the outputs mean. [default: binary for one output and two labels, otherwise multiclass]",
        choices=TASKS,
    ),
)
FEATURES = Option(
    ("--features",),
    "One row of readings, for a model that takes readings. [default: the means of the training]",
    type=_vector,
    metavar="N,N",
)
RECURSIVE = Option(("--recursive", "-r"), "Look into subfolders too.", type=bool, default=False, group="Input")


class LoadedModel(NamedTuple):
    """A model that is ready to answer.

    Attributes:
        labels: the labels of its contract.
        classify: gives the predictions for an image or a vector, as `Classifier.classify` does.
        features: the input, if it is a vector of features; None for images.
        classifier: the classifier itself.
    """

    labels: tuple[str, ...]
    classify: Callable[[Any], list[Prediction]]
    features: FeaturesInput | None
    classifier: Classifier


def build_classifier(
    model_path: str | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    top: int | None,
    min_score: float | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    **external: Any,
) -> LoadedModel:
    """Load the model that the options describe; if none is named, print on standard error which one is used.

    Raises:
        UsageError: a name in `allow` or `deny` is no label, or `min_score` is given for a model whose scores are no
            probabilities.
        ModelFileError, ContractError, InterpreterError: as `Classifier` does.
    """
    classifier = open_classifier(named_model(model_path), threads, interpreter, delegate, **external)
    choice: dict[str, Any] = {"top": top, "min_score": min_score, "allow": allow or None, "deny": deny}
    check_choice(classifier, **choice)
    spec = classifier.contract.input
    features = spec if spec.kind == "features" else None
    return LoadedModel(classifier.contract.labels, partial(classifier.classify, **choice), features, classifier)


def check_choice(classifier: Classifier, top: int | None, min_score: float | None, **names: Any) -> None:
    """Raise UsageError where the options for answers do not fit the model."""
    # Imported here because help and usage errors need neither numpy nor Pillow.
    from ..postprocessing import choose_labels

    if min_score and not classifier.contract.gives_probabilities:
        raise UsageError("--min-score is a probability, and the scores of this model are none; leave it out.")
    try:
        choose_labels(classifier.contract.labels, **names)
    except ValueError as error:
        raise UsageError(str(error)) from error


def open_classifier(path: str, threads: int, interpreter: str, delegate: str | None, **external: Any) -> Classifier:
    """The classifier that the options describe; notes about a model of others go to standard error.

    Raises:
        ModelFileError, ContractError, InterpreterError: as `Classifier` does.
    """
    from ..classifier import Classifier
    from ..native_output import held_stderr

    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(
            path, num_threads=threads, interpreter=interpreter, delegate=delegate, **without_none(external)
        )
    print_notes(path, classifier)
    return classifier


def print_notes(path: str, classifier: Classifier) -> None:
    """Print on standard error what was decided for a model of others."""
    flags = {option.parameter: option.flags[0] for option in (*ANSWER_OPTIONS, *EXTERNAL_OPTIONS)}
    for note in classifier.notes:
        print_line(f"{shown(path)}: {name_options(note, flags)}", error=True)


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as `Classifier` takes them."""
    return {name: value for name, value in values.items() if value is not None}


def named_model(path: str | None) -> str:
    """The path itself, or the default model, which is then printed on standard error.

    Raises:
        ModelFileError: none is named, and there is none.
    """
    found = path or default_model()
    if not path:
        print_line(f"model: {shown(found)}", error=True)
    return found


def default_model() -> str:
    """The model to use if none is named.

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
