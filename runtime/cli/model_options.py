"""The options that several commands of the device share."""

from __future__ import annotations

from ..contract import DEFAULT_TOP
from ..interpreter import AUTO, LIBRARIES
from .options import Option

#: The environment variable that names the model where no option does.
MODEL_VARIABLE = "POCKETLENS_MODEL"


def vector(text: str) -> tuple[float, ...]:
    """Numbers between commas; raises ValueError."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not numbers between commas") from error


#: Which model, and what runs it.
MODEL_OPTIONS = (
    Option(
        ("--model",),
        f"The model; without it ${MODEL_VARIABLE}, else the newest of ours in this folder.",
        name="model_path",
        metavar="FILE",
    ),
    Option(("--threads",), "Of one invocation.", type=int, default=1, minimum=1, maximum=64, show_default=True),
    Option(("--interpreter",), "The library to use.", default=AUTO, choices=(AUTO, *LIBRARIES), show_default=True),
    Option(("--delegate",), "An accelerator's library, such as libedgetpu.so.1.", metavar="LIBRARY"),
)

#: What becomes of the scores.
ANSWER_OPTIONS = (
    Option(
        ("--top",),
        f"Answers an image.  [default: {DEFAULT_TOP}; of several labels all that reach the threshold]",
        type=int,
        minimum=1,
    ),
    Option(
        ("--min-score",),
        'A lower score is no answer: "unknown".  [default: as MODEL says; 0 answers always]',
        type=float,
        minimum=0,
        maximum=1,
    ),
    Option(("--allow",), "Answer with this label only; repeatable.", multiple=True, metavar="LABEL"),
    Option(("--deny",), "Never answer with this label; repeatable.", multiple=True, metavar="LABEL"),
)
