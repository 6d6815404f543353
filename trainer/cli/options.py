"""The options of the workstation's commands, each declared once; and which of them were typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from runtime.cli.app import with_options
from runtime.cli.click_options import complete_files, option_in, output_file
from runtime.cli.data_options import CACHE_OPTION, PREPARATION_OPTIONS, SOURCE_OPTIONS, TASK_OPTIONS
from runtime.cli.options import Option, in_group
from runtime.input_spec import MAX_INPUT_SIDE

from ..config import (
    ACTIVATIONS,
    ARCHITECTURES,
    AUGMENTATIONS,
    AUTO_LOSS,
    LOSSES,
    MIXED_PRECISIONS,
    OPTIMIZERS,
    SCALINGS,
    SIZES,
    STANDARDISE,
    parse_augmentation,
)
from ..network_choice import AUTO_ARCHITECTURE
from ..presets import PRESETS

MAX_SEED = 2**31 - 1
#: How messages name parameters of the library that have another option, or none.
OPTION_NAMES = {
    "architecture": "--arch",
    "normalize=False": "--no-normalise",
    "seconds": "--minutes",
    "split=all": "evaluate --split all",
    "strategy": "--distribute",
    "target": "--out",
}


def _units(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ValueError(f"{text!r}, expected whole numbers with commas between, as in 128 or 4,4, or none")
    return tuple(int(number) for number in text.split(","))


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise ValueError(f"{text!r}, expected one number or HEIGHTxWIDTH, as in 96 or 96x128")
    height, width = int(match[1]), int(match[2] or match[1])
    if not (min(height, width) >= 1 and max(height, width) <= MAX_INPUT_SIDE):
        raise ValueError(f"{text!r}, expected a height and width from 1 to {MAX_INPUT_SIDE} pixels")
    return height, width


def _fine_tune_layers(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise ValueError(f"{text!r}, expected a number of layers, or a share as in 0.3") from error


def _train_samples(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise ValueError(f"{text!r}, expected a number of samples, or a share as in 0.1") from error


def output_folder(help_text: str) -> Option:
    """`--out` of a command that draws into a folder."""
    kind = click.Path(path_type=Path, file_okay=False)
    return Option(("--out",), f"{help_text} [default: none]", type=kind, metavar="DIR")


def html_option(subject: str) -> Option:
    """`--html` of a command that can also write its results as a page."""
    return output_file("--html", f"Also write {subject} as a page of one file, which needs no network.", suffix=".html")


def write_page(path: Path | None, page: Callable[[], str]) -> Path | None:
    """Write a page, whole or not at all, if a path was given, and give the path back.

    Raises:
        OSError: it cannot be written.
    """
    if path is not None:
        from runtime.files import write_whole

        write_whole(path, page().encode())
    return path


GEOMETRY_OPTIONS = (
    Option(
        ("--image-size",),
        "Height and width of the model's input, in pixels. [default: by data set and --arch]",
        type=_image_size,
        metavar="N|HxW",
    ),
    Option(("--colour",), "Colour of the model's input. [default: by data set]", choices=("grey", "rgb")),
    *PREPARATION_OPTIONS,
)
_NETWORK_OPTIONS = (
    Option(
        ("--arch",),
        "Architecture: cnn is our convolutional network, dense has dense layers only, and the others are pretrained "
        "backbones for transfer learning. auto takes efficientnet_lite0 for few photographs and otherwise cnn, by the "
        "number, size and colour of the images, and says why.",
        choices=(AUTO_ARCHITECTURE, *ARCHITECTURES),
        default=AUTO_ARCHITECTURE,
        show_default=True,
    ),
    Option(
        ("--size",),
        "Number of filters in each convolution (cnn only).",
        choices=SIZES,
        default="small",
        show_default=True,
    ),
    Option(
        ("--widths",),
        "Filters of the three stages, as in 8,16,32 (cnn only). [default: those of --size]",
        type=_units,
        metavar="TEXT",
    ),
    Option(
        ("--blocks",),
        "Residual blocks in each stage, 0 to 8 (cnn only). [default: those of --size]",
        type=int,
        metavar="NUMBER",
    ),
    Option(
        ("--units",),
        "Units of the hidden layers, as in 4,4; none for a linear network (dense only).",
        type=_units,
        default="128",
        show_default=True,
        metavar="TEXT",
    ),
    Option(
        ("--activation",),
        "Activation of the hidden layers (dense only).",
        choices=ACTIVATIONS,
        default="relu",
        show_default=True,
    ),
    Option(
        ("--model-file",),
        "Python file with your own build_model(input_shape, classes), which replaces --arch. Its code is run. "
        "[default: none]",
        metavar="FILE.py",
    ),
    Option(
        ("--weights",),
        "Initial weights of a backbone, for transfer learning: bundled (efficientnet_lite0, without a download), "
        "imagenet (the others, downloaded), none, a file, or a run of the same --arch. [default: bundled or imagenet]",
        metavar="NAME|FILE|RUN",
    ),
    Option(
        ("--alpha",),
        "Width multiplier of the backbone (mobilenet_v2 and mobilenet_v3_small only). [default: 1.0]",
        type=float,
        metavar="WIDTH",
    ),
    Option(
        ("--head-epochs",),
        "Transfer learning: epochs at the start in which only the new head is trained and the backbone is frozen. "
        "[default: a quarter of all]",
        type=int,
        minimum=0,
    ),
    Option(
        ("--fine-tune-layers",),
        "Fine-tuning: the topmost convolutions of the backbone that are trained after the head, as a number or a "
        "share. [default: all of efficientnet_lite0, 0.3 of others]",
        type=_fine_tune_layers,
        metavar="N|SHARE",
    ),
)
_FITTING_OPTIONS = (
    Option(
        ("--mixed-precision",),
        "Compute in 16 bits with float32 weights: in float16 on a GPU, in bfloat16 on a processor; auto does so where "
        "the machine has units for it.",
        choices=MIXED_PRECISIONS,
        default="auto",
        show_default=True,
    ),
    Option(
        ("--preset",),
        "How long to train, and with how much augmentation and label smoothing against overfitting.",
        choices=tuple(PRESETS),
        default="fast",
        show_default=True,
    ),
    Option(("--optimizer",), "Optimizer of the training.", choices=OPTIMIZERS, default="adamw", show_default=True),
    Option(("--weight-decay",), "Weight decay (adamw only).", type=float, default=0.05, show_default=True),
    Option(("--momentum",), "Momentum, 0 to below 1 (sgd only).", type=float, default=0.0, show_default=True),
    Option(
        ("--loss",),
        "Loss. A network for several classes ends in a softmax: sparse-categorical-crossentropy takes integer targets, "
        "categorical-crossentropy one-hot targets, which label smoothing needs. A network for the tasks binary and "
        "multilabel ends in sigmoids: binary-crossentropy. focal is for both, and counts easy samples less. auto "
        "chooses a crossentropy by the task and the label smoothing.",
        choices=LOSSES,
        default=AUTO_LOSS,
        show_default=True,
    ),
    Option(
        ("--label-smoothing",),
        "Label smoothing against overconfident scores, 0 to below 1. [default: by preset]",
        type=float,
        metavar="SHARE",
    ),
    Option(
        ("--augment",),
        f"Augmentation against overfitting: {','.join(AUGMENTATIONS)}, or none. [default: by data set and preset]",
        name="augmentation",
        type=parse_augmentation,
        metavar="KINDS",
    ),
    Option(
        ("--balance",),
        "Give each class the same weight, however many images it has; for the task multilabel, give each label and its "
        "absence the same weight.",
        type=bool,
        default=False,
    ),
    Option(
        ("--normalise/--no-normalise",),
        "Scale the input, as --scaling says; without it pixels go in as 0 to 255.",
        name="normalize",
        type=bool,
        default=True,
        show_default=True,
    ),
    Option(
        ("--scaling",),
        "Scaling of the input: standardise gives zero mean and unit variance, inside does so by the first layer of "
        "model.keras, unit divides pixels by 255, none leaves them as 0 to 255.",
        choices=SCALINGS,
        default=STANDARDISE,
        show_default=True,
    ),
    Option(
        ("--batch-size",),
        "Batch size: number of images in a step. [default: 64, or 32 for few images]",
        type=int,
        minimum=1,
    ),
    Option(
        ("--train-samples",),
        "Train with so many samples of the training split, or such a share of it, chosen by the seed, with each class "
        "in proportion. [default: all]",
        type=_train_samples,
        metavar="N|SHARE",
    ),
    Option(
        ("--epochs",), "Number of passes over the training images. [default: by preset and data]", type=int, minimum=1
    ),
    Option(
        ("--steps-per-epoch",), "Number of steps after which an epoch ends. [default: all images]", type=int, minimum=1
    ),
    Option(
        ("--seed",),
        "Seed of the splits, the initial weights, the order of images and the augmentation.",
        type=int,
        default=0,
        minimum=0,
        maximum=MAX_SEED,
        show_default=True,
    ),
)


def complete_dataset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell completes for a data set: names that we know, and files."""
    from ..data.datasets import DATASET_NAMES  # it imports more than help needs

    named = [CompletionItem(name) for name in DATASET_NAMES if name.startswith(incomplete)]
    return [*complete_files(ctx, param, incomplete), *named]


#: What `train` and `find-lr` share, but for `--dataset`, which they require.
TRAINING_OPTIONS = (
    *in_group("Data", SOURCE_OPTIONS[0], CACHE_OPTION, SOURCE_OPTIONS[1], *TASK_OPTIONS, *GEOMETRY_OPTIONS),
    *in_group("Network", *_NETWORK_OPTIONS),
    *in_group("Training", *_FITTING_OPTIONS),
)
_DATASET = option_in("Data")(
    "--dataset",
    required=True,
    metavar="NAME|DIR|CSV",
    help="Data set: digits, fashion-mnist, circles, a folder with one subfolder for each class, or a CSV file of "
    "images and their labels or of readings of sensors.",
    shell_complete=complete_dataset,
)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives `--dataset` and `TRAINING_OPTIONS` to a command."""
    return _DATASET(with_options(*TRAINING_OPTIONS)(function))


def typed_options() -> dict[str, str]:
    """The options that were typed for the running command: parameter to the option as people know it."""
    context = click.get_current_context()
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }
