"""Options of the workstation's commands that open a data set, each declared once: trainings and searches share them."""

from __future__ import annotations

from pathlib import Path

from ..contract import TASKS
from ..input_spec import FILTERS, ORIENTATIONS, RESIZES, ImageInput
from .options import Option


def _cache(text: str) -> Path | str | None:
    return "none" if text == "none" else Path(text) if text else None


#: Where the samples come from.
SOURCE_OPTIONS = (
    Option(
        ("--data-dir",),
        "Folder of Fashion-MNIST's four files. [default: $FASHION_MNIST_DIR, else downloaded]",
        type=Path,
        metavar="PATH",
    ),
    Option(
        ("--merge",),
        "Merge the classes A and B into one class, C; repeatable. [default: none]",
        multiple=True,
        metavar="A,B=C",
    ),
)
#: What their labels mean.
TASK_OPTIONS = (
    Option(
        ("--task",),
        "Task of the model: one of several classes, yes or no, or any number of labels. "
        "[default: by data set, or binary with --positive]",
        choices=TASKS,
    ),
    Option(
        ("--positive",),
        "Tell this class from all others, which is the task binary. [default: no class]",
        metavar="NAME",
    ),
)
#: How an image becomes the model's input, but for its size and colour.
PREPARATION_OPTIONS = (
    Option(
        ("--resize",),
        "How images get the input size: stretched, padded, or cropped.",
        choices=RESIZES,
        default=ImageInput.resize,
        show_default=True,
    ),
    Option(
        ("--filter",),
        "Resampling filter; tf-bilinear and tf-nearest give the pixels of tf.image.resize.",
        choices=FILTERS,
        default=ImageInput.filter,
        show_default=True,
    ),
    Option(
        ("--orientation",),
        "Turn images by their EXIF tag, as viewers do, or take them as they are stored.",
        choices=ORIENTATIONS,
        default=ImageInput.orientation,
        show_default=True,
    ),
)
CACHE_OPTION = Option(
    ("--cache",),
    "Folder that keeps decoded image files, for the next training too; none decodes them in each epoch. "
    "[default: a temporary file]",
    type=_cache,
    metavar="DIR|none",
)
