"""The data set and the training settings that a command's options name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runtime.cli.output import print_line
from runtime.errors import UsageError
from runtime.files import shown
from runtime.input_spec import ImageInput
from runtime.native_output import quiet_tensorflow

from ..backbones import BACKBONES, BUNDLED_ARCHITECTURE, NO_WEIGHTS, check_model_file, check_weight_files
from ..config import CUSTOM_ARCHITECTURE, INSIDE, UNIT, UNSCALED, TrainingConfig
from ..errors import DatasetError, TrainingError
from ..fitting.memory import reuse_memory
from ..network_choice import (
    AUTO_ARCHITECTURE,
    FROM_NOTHING,
    LEAST_SIDE,
    MOST_SIDE,
    choose_network,
    pretrained_size,
)
from ..presets import complete_config, default_epochs
from .options import typed_options

if TYPE_CHECKING:
    from pathlib import Path

    from runtime import FeaturesInput

    from ..data import Dataset
    from ..data.image_cache import CachePlace

_log = logging.getLogger(__name__)

#: Modules that `train` and `find-lr` need.
TRAINING_REQUIRES = ("tensorflow", "sklearn", "matplotlib")
#: The architectures that an option is for.
_ARCHITECTURES_OF = {
    "size": ("cnn",),
    "widths": ("cnn",),
    "blocks": ("cnn",),
    "units": ("dense",),
    "activation": ("dense",),
    "weights": tuple(BACKBONES),
    "alpha": tuple(name for name, backbone in BACKBONES.items() if backbone.has_width),
    "head_epochs": tuple(BACKBONES),
    "fine_tune_layers": tuple(BACKBONES),
}
#: The options that are for a backbone alone, which `auto` takes where one of them is typed.
_FOR_BACKBONES = ("weights", "alpha", "head_epochs", "fine_tune_layers")
_FOR_TEACHER = ("distillation_temperature", "distillation_weight")
_FOR_INITIAL_WEIGHTS = ("head_epochs", "fine_tune_layers")
_FOR_IMAGES = (
    "image_size",
    "colour",
    "resize",
    "filter",
    "orientation",
    "size",
    "widths",
    "blocks",
    "cache",
    "weights",
    "alpha",
    "head_epochs",
    "fine_tune_layers",
)
_FEATURES_ARCHITECTURE = "dense"
#: Feature vectors are few beside images, and a step over them is small: five times the rate for images.
_FEATURES_LEARNING_RATE = 0.01
#: A training on feature vectors takes at least so many steps, unless that were more epochs than the second number.
_MIN_STEPS, _MAX_EPOCHS = 500, 200


def load_named(
    name: str,
    *,
    data_dir: Path | None,
    merge: tuple[str, ...],
    task: str | None = None,
    positive: str | None = None,
    image_size: tuple[int, int] | None = None,
    colour: str | None = None,
    resize: str = ImageInput.resize,
    filter: str = ImageInput.filter,
    orientation: str = ImageInput.orientation,
    cache: CachePlace | None = None,
) -> Dataset:
    """The data set that the options name.

    Raises:
        DatasetError: it is missing, damaged or too small, or the options do not fit it.
    """
    from ..data import Geometry, load_dataset
    from ..data.relabel import check_relabelling, choose_task, merge_classes

    # A command without these options takes the geometry from a model.
    from_user = "image_size" in click.get_current_context().params
    geometry = Geometry(image_size, colour, resize, filter, orientation, from_user)
    found = load_dataset(
        name, geometry, data_dir, cache, check_labels=partial(check_relabelling, merge=merge, positive=positive)
    )
    try:
        data = choose_task(merge_classes(found, merge), task, positive)
    except DatasetError:
        for line in found.left_out:  # files that are missing may be why the labels are not as expected
            print_line(f"left out: {shown(line)}", error=True)
        raise
    for remark in data.remarks:
        _log.info("note: %s", shown(remark))
    return data


class TrainingInputs(NamedTuple):
    """What the options of a training come to.

    Attributes:
        with_epochs: gives the settings for other epochs, and steps of each. Settings that depend on these numbers are
            chosen again, as if the numbers had been typed.
    """

    config: TrainingConfig
    dataset: Dataset
    with_epochs: Callable[[int, int], TrainingConfig]


def read_training_options(options: dict[str, Any]) -> TrainingInputs:
    """The settings and the data set that the options name; TensorFlow is made quiet, and not yet imported.

    Args:
        options: the values of `TRAINING_OPTIONS` and of `--dataset`, and further fields of `TrainingConfig`.

    Raises:
        UsageError: an option of another architecture or optimizer was typed, or a value is out of range.
        DatasetError, TrainingError: what is refused before anything heavy is imported.
    """
    reuse_memory()  # before the threads that read images have heaps of their own
    of_data = (
        "data_dir",
        "merge",
        "task",
        "positive",
        "image_size",
        "colour",
        "resize",
        "filter",
        "orientation",
        "cache",
    )
    name, data_options = options["dataset"], {key: options[key] for key in of_data}
    settings = {key: value for key, value in options.items() if key not in (*of_data, "dataset")}
    preset, arch = settings.pop("preset"), settings.pop("arch")
    settings["architecture"] = CUSTOM_ARCHITECTURE if settings["model_file"] else _implied_architecture(arch, settings)
    if name != "circles" and not name.lower().endswith(".csv"):  # features choose another architecture
        _check_typed(settings)
    # A setting out of range is refused before images are read.
    try:
        stand_in = {"architecture": FROM_NOTHING} if settings["architecture"] == AUTO_ARCHITECTURE else {}
        early = complete_config(settings | stand_in, preset, 1, ())
    except TrainingError as error:
        raise UsageError(str(error)) from error
    check_weight_files(early.weights)
    if early.model_file is not None:
        check_model_file(early.model_file)
    _choose_network(name, settings, data_options)
    data = load_named(name, **data_options)
    for line in data.left_out:
        print_line(f"left out: {shown(line)}", error=True)
    if data.input.kind == "features":
        settings = _for_features(settings, preset, data, data.input)
    elif settings["architecture"] == AUTO_ARCHITECTURE:
        settings["architecture"] = FROM_NOTHING
    _check_typed(settings)
    if data.task == "multilabel" and settings["label_smoothing"] is None:
        settings["label_smoothing"] = 0.0  # most labels are absent from most images: it would teach doubt of every one

    def completed(**fitted: int) -> TrainingConfig:
        return complete_config(settings | fitted, preset, _sample_count(settings, data), data.augmentation)

    config = completed()
    _note_unusual_size(config, data)
    config.loss_for(data.task)
    # TensorFlow takes seconds to import: only once all that can be refused without it is settled.
    quiet_tensorflow()

    return TrainingInputs(config, data, lambda epochs, steps: completed(epochs=epochs, steps_per_epoch=steps))


def _implied_architecture(arch: str, settings: dict[str, Any]) -> str:
    """The architecture of `--arch`; for `auto`, the one that another option is for, if such an option was typed."""
    typed = typed_options()
    if arch != AUTO_ARCHITECTURE:
        return arch
    if "size" in typed or settings["scaling"] in (UNIT, UNSCALED) or not settings["normalize"]:
        return FROM_NOTHING
    if any(name in typed for name in _FOR_BACKBONES):
        return BUNDLED_ARCHITECTURE
    return FROM_NOTHING if settings.get("teacher") is not None else AUTO_ARCHITECTURE  # a teacher is for small networks


def _choose_network(name: str, settings: dict[str, Any], data_options: dict[str, Any]) -> None:
    """Put the network that `auto` stands for into the settings, and the image size of `efficientnet_lite0`; say both.

    Where there are no image files to look at, `auto` stays: `cnn` for a data set with a name, `dense` for features.
    """
    if settings["architecture"] not in (AUTO_ARCHITECTURE, BUNDLED_ARCHITECTURE):
        return
    from ..data.survey import survey_images

    survey, size, reason, at = survey_images(name), data_options["image_size"], "", ""
    if survey is None:
        return
    if settings["architecture"] == AUTO_ARCHITECTURE:
        choice = choose_network(survey, size)
        settings["architecture"], reason = choice.architecture, f" (auto: {choice.reason})"
    if settings["architecture"] == BUNDLED_ARCHITECTURE and size is None:
        height, width = data_options["image_size"] = pretrained_size(survey)
        at = f" at {height}x{width} pixels"
    if reason or at:
        _log.info(f"architecture: {settings['architecture']}{at}{reason}")


def _note_unusual_size(config: TrainingConfig, data: Dataset) -> None:
    if config.architecture != BUNDLED_ARCHITECTURE or data.input.kind == "features":
        return
    height, width = data.input.shape[:2]
    if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SIDE:
        _log.info(
            f"note: {BUNDLED_ARCHITECTURE} is made for sides of {LEAST_SIDE} to {MOST_SIDE} pixels, and the input is "
            f"{height}x{width}: {'it sees little' if min(height, width) < LEAST_SIDE else 'it takes long'}"
        )


def _check_typed(settings: dict[str, Any]) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: it names the option, and what it is for.
    """
    typed, architecture = typed_options(), settings["architecture"]
    if architecture == CUSTOM_ARCHITECTURE and "arch" in typed:
        raise UsageError("--arch names a network of ours, and --model-file is your own; leave one of them out")
    chosen = "--model-file" if architecture == CUSTOM_ARCHITECTURE else f"--arch {architecture}"
    for name, architectures in _ARCHITECTURES_OF.items():
        if name in typed and architecture not in architectures:
            raise UsageError(f"{typed[name]} is for --arch {', '.join(architectures)}; {chosen} has no use for it")
    for name in _FOR_INITIAL_WEIGHTS:
        if name in typed and settings["weights"] == NO_WEIGHTS:
            raise UsageError(
                f"{typed[name]} is for a backbone that brings weights; --weights {NO_WEIGHTS} trains it whole"
            )
    _check_typed_of_training(typed, settings)


def _check_typed_of_training(typed: dict[str, str], settings: dict[str, Any]) -> None:
    for name in _FOR_TEACHER:
        if name in typed and settings["teacher"] is None:
            raise UsageError(f"{typed[name]} is for --teacher; name one, or leave it out")
    if "weight_decay" in typed and settings["optimizer"] != "adamw":
        raise UsageError(f"{typed['weight_decay']} is for --optimizer adamw; {settings['optimizer']} has none")
    if "normalize" in typed and "scaling" in typed:
        raise UsageError(f"{typed['scaling']} says how the input is scaled; leave --no-normalise out")
    if "momentum" in typed and settings["optimizer"] != "sgd":
        raise UsageError(f"{typed['momentum']} is for --optimizer sgd; {settings['optimizer']} has its own")
    if settings["units"] == () and settings["activation"] != "linear" and "activation" in typed:
        raise UsageError(
            f"{typed['activation']} is for hidden layers, and --units none has none; leave one of them out"
        )


def _for_features(settings: dict[str, Any], preset: str, data: Dataset, spec: FeaturesInput) -> dict[str, Any]:
    """The settings for a data set of features: unless others were typed, dense, a higher learning rate, enough steps.

    Raises:
        TrainingError: an option that is for images was typed.
    """
    typed = typed_options()
    has = f"{data.name} has {spec.describe()}"
    for option in _FOR_IMAGES:
        if option in typed:
            raise TrainingError(f"{typed[option]} is for images, and {has}; leave it out")
    if settings.get("augmentation"):
        raise TrainingError(f"--augment {','.join(settings['augmentation'])} is for images, and {has}; leave it out")
    if settings["scaling"] in (INSIDE, UNIT):
        raise TrainingError(
            f"--scaling {settings['scaling']} is for pixels, and {has}; use --scaling standardise or none"
        )
    architecture = settings["architecture"]
    if architecture not in (CUSTOM_ARCHITECTURE, _FEATURES_ARCHITECTURE):
        if "arch" in typed and architecture != AUTO_ARCHITECTURE:
            raise TrainingError(f"--arch {architecture} is for images, and {has}; use --arch {_FEATURES_ARCHITECTURE}")
        architecture = _FEATURES_ARCHITECTURE
    chosen = {"architecture": architecture, "augmentation": ()}
    if "learning_rate" not in typed:
        chosen["learning_rate"] = _FEATURES_LEARNING_RATE
    if settings.get("epochs") is None:
        batch_size = settings["batch_size"] or TrainingConfig.batch_size
        chosen["epochs"] = _feature_epochs(_sample_count(settings, data), batch_size, preset)
    return settings | chosen


def _sample_count(settings: dict[str, Any], data: Dataset) -> int:
    """The size of the data set, for presets: with fewer training samples that of a data set that has so many."""
    from ..data.splits import TRAINING_SHARE

    wanted, count = settings["train_samples"], len(data.targets)
    if settings["architecture"] == BUNDLED_ARCHITECTURE:  # its passes follow from what it learns from
        count -= sum(len(data.given[split]) for split in ("validation", "test") if split in data.given)
    if wanted is None:
        return count
    return min(count, max(1, round(wanted * count if isinstance(wanted, float) else wanted / TRAINING_SHARE)))


def _feature_epochs(rows: int, batch_size: int, preset: str) -> int:
    from ..data.splits import TRAINING_SHARE

    steps = math.ceil(TRAINING_SHARE * rows / batch_size)
    epochs = min(_MAX_EPOCHS, math.ceil(_MIN_STEPS / steps))
    return max(default_epochs(rows, _FEATURES_ARCHITECTURE, preset), epochs)
