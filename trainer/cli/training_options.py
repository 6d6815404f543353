"""What `train` and `find-lr` share: the data set and all settings but the learning rate."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runtime.contract import TASKS
from runtime.files import shown
from runtime.input_spec import RESIZES
from runtime.native_output import quiet_tensorflow

from ..backbones import check_weight_files
from ..config import (
    ACTIVATIONS,
    ARCHITECTURES,
    AUGMENTATIONS,
    CUSTOM,
    MIXED_PRECISIONS,
    OPTIMIZERS,
    SIZES,
    TrainingConfig,
)
from ..fitting.memory import return_large_blocks
from ..presets import PRESETS, complete_config
from .feature_options import for_features
from .typed_options import check_typed

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.image_cache import CachePlace

#: How messages name parameters that no option, or another one, stands for.
OPTION_NAMES = {
    "architecture": "--arch",
    "normalize=False": "--no-normalise",
    "seconds": "--minutes",
    "split=all": "evaluate --split all",
    "strategy": "--distribute",
    "target": "--out",
}
REQUIRES = ("tensorflow", "sklearn", "matplotlib")


def _units(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", value):
        raise click.BadParameter(f"{value!r}, expected whole numbers with commas between, as in 128 or 4,4")
    return tuple(int(n) for n in value.split(","))


def _image_size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
    if not match:
        raise click.BadParameter(f"{value!r}, expected one number or HEIGHTxWIDTH, as in 96 or 96x128")
    return int(match[1]), int(match[2] or match[1])


def _cache(_context: click.Context, _parameter: click.Parameter, value: str | None) -> CachePlace | None:
    return "none" if value == "none" else Path(value) if value else None


def _augmentation(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    kinds = () if value == "none" else tuple(value.split(","))
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise click.BadParameter(f"{kind!r}, expected {', '.join(AUGMENTATIONS)} with commas between, or none")
    return kinds


def _fine_tune_layers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | float | None:
    try:
        return None if value is None else float(value) if "." in value else int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}, expected a number of layers, or a share as in 0.3") from error


_OPTIONS = (
    click.option(
        "--dataset",
        required=True,
        metavar="NAME|DIR|CSV",
        help="digits, fashion-mnist, circles, a folder of images, or a CSV file: of path,label;label, or of readings.",
    ),
    click.option("--data-dir", type=click.Path(path_type=Path), help="Where Fashion-MNIST's four files lie."),
    click.option(
        "--cache",
        callback=_cache,
        metavar="DIR|none",
        help="Of image files: where they are kept decoded, for the next training too; none decodes them in each epoch. "
        "[default: a temporary file]",
    ),
    click.option("--merge", multiple=True, metavar="A,B=C", help="Make the classes A and B one, C; repeatable."),
    click.option("--task", type=click.Choice(TASKS), help="What is answered. [default: by data set, or binary]"),
    click.option("--positive", metavar="NAME", help="Tell this class from all the rest: the task binary."),
    click.option("--image-size", callback=_image_size, metavar="N|HxW", help="Input size. [default: by data set]"),
    click.option("--colour", type=click.Choice(["grey", "rgb"]), help="Of the input. [default: by data set]"),
    click.option(
        "--resize", type=click.Choice(RESIZES), default="stretch", show_default=True, help="To the input size."
    ),
    click.option(
        "--arch", type=click.Choice(ARCHITECTURES), default="cnn", show_default=True, help="The architecture."
    ),
    click.option("--size", type=click.Choice(SIZES), default="small", show_default=True, help="Of cnn."),
    click.option(
        "--units", default="128", show_default=True, callback=_units, help="Hidden layers of dense, as in 4,4."
    ),
    click.option(
        "--activation",
        type=click.Choice(ACTIVATIONS),
        default="relu",
        show_default=True,
        help="Of the hidden layers of dense.",
    ),
    click.option(
        "--model-file",
        metavar="FILE.py",
        help="Your own build_model(input_shape, classes) instead of --arch. The file's code is run.",
    ),
    click.option(
        "--weights",
        metavar="NAME|FILE|RUN",
        help="What mobilenet_v2 and its like begin with: imagenet (downloaded), none, a file, or a run of the same "
        "--arch. [default: imagenet]",
    ),
    click.option("--alpha", type=float, metavar="WIDTH", help="Of mobilenet_v2 and mobilenet_v3_small. [default: 1.0]"),
    click.option(
        "--head-epochs",
        type=click.IntRange(min=0),
        help="Of all epochs, those that leave such weights as they are. [default: a quarter]",
    ),
    click.option(
        "--fine-tune-layers",
        callback=_fine_tune_layers,
        metavar="N|SHARE",
        help="Topmost convolutions that are tuned then, a number or a share. [default: 0.3]",
    ),
    click.option(
        "--mixed-precision",
        type=click.Choice(MIXED_PRECISIONS),
        default="auto",
        show_default=True,
        help="Train in float16; auto: on a GPU that is quick at it.",
    ),
    click.option(
        "--preset",
        type=click.Choice(tuple(PRESETS)),
        default="fast",
        show_default=True,
        help="How long to train; best also blanks out parts of the images.",
    ),
    click.option(
        "--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True, help="The optimizer."
    ),
    click.option("--weight-decay", type=float, default=0.05, show_default=True, help="Of adamw."),
    click.option("--label-smoothing", type=float, metavar="SHARE", help="0 to below 1. [default: by preset]"),
    click.option(
        "--augment",
        "augmentation",
        callback=_augmentation,
        metavar="KINDS",
        help=f"{','.join(AUGMENTATIONS)}, or none. [default: by data set and preset]",
    ),
    click.option(
        "--balance",
        is_flag=True,
        help="Let each class count the same, however many images it has; of several labels, each and its absence.",
    ),
    click.option(
        "--normalise/--no-normalise",
        "normalize",
        default=True,
        show_default=True,
        help="Scale the input; without it: 0 to 255.",
    ),
    click.option("--batch-size", type=click.IntRange(min=1), help="Images a step. [default: 64; 32 of few images]"),
    click.option("--epochs", type=click.IntRange(min=1), help="Passes over the images. [default: by preset and data]"),
    click.option("--steps-per-epoch", type=click.IntRange(min=1), help="End a pass early. [default: all images]"),
    click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of everything random."
    ),
)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds them to a command, in the order in which `--help` is to show them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Settled(NamedTuple):
    """What the options of a training come to.

    Attributes:
        with_epochs: the settings for other epochs, and steps of each: what follows from their number is chosen anew,
            as if they had been typed.
    """

    config: TrainingConfig
    dataset: Dataset
    with_epochs: Callable[[int, int], TrainingConfig]


def settle(options: dict[str, Any]) -> Settled:
    """The settings and the data set that the options name; TensorFlow is made quiet, and not yet imported.

    Raises:
        UsageError: an option of another architecture or optimizer was typed.
        DatasetError, TrainingError: what is refused, before anything heavy is imported.
    """
    from ..data import Geometry, load_dataset
    from ..data.relabel import choose_task, merge_classes

    geometry = Geometry(options.pop("image_size"), options.pop("colour"), options.pop("resize"))
    name, data_dir, merges = options.pop("dataset"), options.pop("data_dir"), options.pop("merge")
    cache = options.pop("cache")
    task, positive = options.pop("task"), options.pop("positive")
    preset, arch = options.pop("preset"), options.pop("arch")
    given = options | {"architecture": CUSTOM if options["model_file"] else arch}
    if name != "circles" and not name.lower().endswith(".csv"):  # features choose another architecture
        check_typed(given)
    complete_config(given, preset, 1, ())  # a setting out of range is told before images are read
    check_weight_files(given["weights"])
    data = choose_task(merge_classes(load_dataset(name, geometry, data_dir, cache), merges), task, positive)
    for line in data.left_out:
        click.echo(f"left out: {shown(line)}", err=True)
    if data.input.kind == "features":
        given = for_features(given, preset, data, data.input)
    check_typed(given)
    if data.task == "multilabel" and given["label_smoothing"] is None:
        given["label_smoothing"] = 0.0  # most labels are absent from most images: it would teach doubt of every one
    return_large_blocks()
    # TensorFlow takes seconds to import: only once all that can be refused without it is settled.
    quiet_tensorflow()

    def completed(**fitted: int) -> TrainingConfig:
        return complete_config(given | fitted, preset, len(data.targets), data.augmentation)

    return Settled(completed(), data, lambda epochs, steps: completed(epochs=epochs, steps_per_epoch=steps))
