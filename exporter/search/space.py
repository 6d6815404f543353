"""What a search tries: the choices for a data set, as settings of a training, and the presets among them.

A value of the space is a dictionary of plain values, as a study keeps it. Two values with the same settings are the
same network trained in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from trainer.config import ARCHITECTURES, STAGES_OF_SIZE, Stages
from trainer.presets import PRESETS, complete_config

from ..errors import ExportError

#: The architectures that a search can try. A backbone alone has over 400 kB in int8.
SEARCHED = ("cnn", "dense")
#: Filters of the three stages of `cnn`: the least and the most.
_WIDTHS = ((4, 64), (4, 96), (4, 160))
_MOST_BLOCKS = 2
#: The pixels of a convolution's window; a block has two convolutions.
_WINDOW = 9
_HALF_OF_TINY = Stages(4, 8, 16, 1)
_UNITS, _MOST_LAYERS = (8, 256), 2
_RATES = (5e-4, 2e-2)
_BATCHES = (32, 64, 128)
_SMOOTHING = (0.0, 0.05, 0.1)


class Suggest(Protocol):
    """Draws values; a trial of Optuna is one."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number from `low` to `high`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from `low` to `high`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""


@dataclass(frozen=True)
class Space:
    """The choices for one data set. A choice with one alternative is fixed.

    Attributes:
        images: their number, from which the presets follow.
        epochs: of the whole training of each trial.
        sides: sides of the input in pixels, the data set's own first; empty for features.
        colours: `"grey"`, `"rgb"` or both, the data set's own first; empty for features.
        augmentations: those that keep the labels; each is chosen by itself.
        architectures: from `SEARCHED`.
        quantization_aware: whether training with simulated rounding is tried.
        teacher: a run that teaches networks of the data set's own geometry; None for none.
        seed: of every training.

    Raises:
        ExportError: an architecture that cannot be searched, or one that does not take this input.
    """

    images: int
    epochs: int
    sides: tuple[int, ...] = ()
    colours: tuple[str, ...] = ()
    augmentations: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("cnn",)
    quantization_aware: bool = True
    teacher: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.architectures:
            if name not in SEARCHED:
                known = "no architecture" if name not in ARCHITECTURES else "not searched"
                raise ExportError(f"architecture {name!r}: {known}; a search tries {' and '.join(SEARCHED)}")
        if not self.architectures:
            raise ExportError(f"`architectures` is empty; give one or more of {', '.join(SEARCHED)}")
        if "cnn" in self.architectures and not self.sides:
            raise ExportError("architecture 'cnn' is for images, and these are vectors of features; give 'dense'")

    def suggest(self, trial: Suggest) -> dict[str, Any]:
        """Draw a value of the space."""
        value: dict[str, Any] = {"architecture": self._choose(trial, "architecture", self.architectures)}
        if value["architecture"] == "cnn":
            for place, (low, high) in enumerate(_WIDTHS, 1):
                value[f"width_{place}"] = trial.suggest_int(f"width_{place}", low, high, log=True)
            value["blocks"] = trial.suggest_int("blocks", 0, _MOST_BLOCKS)
        else:
            value["layers"] = trial.suggest_int("layers", 0, _MOST_LAYERS)
            for place in range(1, value["layers"] + 1):
                value[f"units_{place}"] = trial.suggest_int(f"units_{place}", *_UNITS, log=True)
        if self.sides:
            value["side"] = self._choose(trial, "side", self.sides)
            value["colour"] = self._choose(trial, "colour", self.colours)
        for kind in self.augmentations:
            value[f"augment_{kind}"] = trial.suggest_categorical(f"augment_{kind}", (False, True))
        value["learning_rate"] = trial.suggest_float("learning_rate", *_RATES, log=True)
        value["batch_size"] = trial.suggest_categorical("batch_size", _BATCHES)
        teaches = self.teacher and self._is_own_geometry(value)  # a teacher takes the same images
        value["teacher"] = self._choose(trial, "teacher", (False, True) if teaches else (False,))
        if not value["teacher"]:
            value["label_smoothing"] = trial.suggest_categorical("label_smoothing", _SMOOTHING)
        aware = (False, True) if self.quantization_aware else (False,)
        value["quantization_aware"] = self._choose(trial, "quantization_aware", aware)
        return value

    def complete(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """A value of the space from the choices that a study knows, which are those with alternatives.

        Raises:
            KeyError: a choice is not known.
        """
        return self.suggest(_Known(known))

    def least_weights(self, value: Mapping[str, Any]) -> int:
        """The number of weights between the hidden layers of a value: its network has no fewer, and most of them.

        They are computed without the network, which takes a second to build.
        """
        if value["architecture"] == "dense":
            units = [value[f"units_{place}"] for place in range(1, value["layers"] + 1)]
            return sum(before * after for before, after in pairwise(units))
        widths = [value[f"width_{place}"] for place in (1, 2, 3)]
        between = sum(before * after for before, after in pairwise(widths))
        return int(_WINDOW * (between + 2 * value["blocks"] * sum(width**2 for width in widths)))

    def settings(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `TrainingConfig` of a value, as JSON holds them."""
        names = ("architecture", "learning_rate", "batch_size", "quantization_aware")
        settings = {name: value[name] for name in names}
        if value["architecture"] == "cnn":
            settings |= {"widths": [value[f"width_{place}"] for place in (1, 2, 3)], "blocks": value["blocks"]}
        else:
            settings["units"] = [value[f"units_{place}"] for place in range(1, value["layers"] + 1)]
        if value["teacher"]:
            settings["teacher"] = self.teacher
        return settings | {
            "label_smoothing": value.get("label_smoothing", 0.0),
            "augmentation": [kind for kind in self.augmentations if value[f"augment_{kind}"]],
            "epochs": self.epochs,
            "patience": 0,  # a trial that stops by itself would be compared with others at another epoch
            "seed": self.seed,
        }

    def geometry(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The `image_size` and `colour` of a value; nothing for features."""
        return {"image_size": [value["side"]] * 2, "colour": value["colour"]} if self.sides else {}

    def presets(self) -> list[dict[str, Any]]:
        """The presets at the data set's own resolution, the smallest network first: a search begins with them.

        Below the smallest size there is one with half its filters, for budgets that no size fits.
        """
        stages = (_HALF_OF_TINY, *STAGES_OF_SIZE.values()) if "cnn" in self.architectures else (None,)
        found = [self._preset(preset, each) for each in stages for preset in PRESETS]
        return [value for place, value in enumerate(found) if value not in found[:place]]

    def smallest(self) -> list[dict[str, Any]]:
        """For each architecture the value whose network costs least: where it exceeds a budget, nothing fits."""
        found = []
        for architecture in self.architectures:
            value = self._preset("fast", _HALF_OF_TINY if architecture == "cnn" else None)
            if architecture == "cnn":
                value |= {f"width_{place}": low for place, (low, _) in enumerate(_WIDTHS, 1)} | {"blocks": 0}
            else:
                value |= {"layers": 0}
            if self.sides:
                value |= {"side": min(self.sides), "colour": "grey" if "grey" in self.colours else "rgb"}
            found.append(value)
        return found

    def _preset(self, preset: str, stages: Stages | None) -> dict[str, Any]:
        architecture = "dense" if stages is None else "cnn"
        given = {"architecture": architecture, "epochs": self.epochs}
        natural = tuple(kind for kind in self.augmentations if kind != "erase")  # a preset decides on that itself
        config = complete_config(given, preset, self.images, natural)
        value: dict[str, Any] = {"architecture": architecture}
        if stages is None:
            value |= {"layers": len(config.units)} | {f"units_{n}": units for n, units in enumerate(config.units, 1)}
        else:
            *widths, blocks = stages
            value |= {f"width_{n}": width for n, width in enumerate(widths, 1)} | {"blocks": blocks}
        if self.sides:
            value |= {"side": self.sides[0], "colour": self.colours[0]}
        value |= {f"augment_{kind}": kind in config.augmentation for kind in self.augmentations}
        return value | {
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "teacher": False,
            "label_smoothing": config.label_smoothing,
            "quantization_aware": False,
        }

    def _is_own_geometry(self, value: Mapping[str, Any]) -> bool:
        return not self.sides or (value["side"], value["colour"]) == (self.sides[0], self.colours[0])

    @staticmethod
    def _choose(trial: Suggest, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices; a study does not learn of a choice without an alternative."""
        return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


class _Known:
    """Draws what is known already; see `Suggest`."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._known[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._known[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._known[name]
