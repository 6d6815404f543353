"""What a search looks for: data set, choices and budget, as a file beside its trials from which `finish` goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime.files import read_regular_file, shown, write_whole
from trainer.config import TrainingConfig
from trainer.data.splits import TRAINING_SHARE
from trainer.presets import complete_config

from ..errors import ExportError
from ..operator_support import DEFAULT_TARGET
from .budget import Budget
from .data import SearchData
from .halving import make_rungs
from .space import Space

#: The file in the folder of a search.
PLAN_FILE = "plan.json"
_VERSION = 1
#: The key of the study's identity, which is no part of the plan.
_STUDY = "study"
_MAX_BYTES = 2**24
#: Sides of smaller inputs that are tried, as shares of the data set's own; a multiple of the step, and not below the
#: least.
_SHARES, _SIDE_STEP, _LEAST_SIDE = (0.75, 0.5), 4, 8
#: Share of the epochs at which trials are compared first, at least: the learning rate rises until then.
_FIRST_SHARE = 0.08
#: Training steps before that, at least: to compile, convert and score a network takes as long as hundreds of them.
_FIRST_STEPS = 500


@dataclass(frozen=True)
class SearchPlan:
    """What a search looks for. The defaults follow from the data set.

    Attributes:
        data: the data set, as `load_described` takes it, without a geometry.
        budget: the most that a network may cost.
        epochs: of the whole training of each trial; None for those of the preset `fast`.
        sides: sides of the input in pixels; none for the data set's own and two smaller ones.
        colours: `"grey"`, `"rgb"` or both; none for the data set's own, and grey beside rgb.
        augmentations: names from `AUGMENTATIONS`; None for those that keep the labels, and `erase`.
        architectures: from `space.SEARCHED`; none for `cnn`, or for `dense` with features.
        quantization_aware: whether training with simulated rounding is tried.
        teacher: a run folder or a `.keras` file that teaches; None for none.
        seed: of the splits, every training, and the sampler.
        target: the interpreter of the device, one of `operator_support.TARGETS`.
    """

    data: Mapping[str, Any]
    budget: Budget = field(default_factory=Budget)
    epochs: int | None = None
    sides: tuple[int, ...] = ()
    colours: tuple[str, ...] = ()
    augmentations: tuple[str, ...] | None = None
    architectures: tuple[str, ...] = ()
    quantization_aware: bool = True
    teacher: str | None = None
    seed: int = 0
    target: str = DEFAULT_TARGET

    def make_space(self, data: SearchData) -> Space:
        """The choices for the data set.

        Raises:
            ExportError: an architecture that cannot be searched or does not take this input; or sides, colours or
                augmentations for features.
        """
        is_image = data.input.kind == "image"
        for name in ("sides", "colours", "augmentations"):
            if getattr(self, name) and not is_image:
                raise ExportError(f"`{name}` is for images, and {data.name} has vectors of features; leave it out")
        architectures = self.architectures or (("cnn",) if is_image else ("dense",))
        augmentations = (*data.augmentation, "erase") if data.augmentation else ()
        augmentations = augmentations if self.augmentations is None else self.augmentations
        own = {"architecture": architectures[0]} if architectures[0] in ("cnn", "dense") else {"architecture": "cnn"}
        epochs = self.epochs or complete_config(own, "fast", len(data), augmentations).epochs
        return Space(
            images=len(data),
            epochs=epochs,
            sides=(self.sides or own_sides(data)) if is_image else (),
            colours=(self.colours or own_colours(data)) if is_image else (),
            augmentations=augmentations,
            architectures=architectures,
            quantization_aware=self.quantization_aware,
            teacher=self.teacher,
            seed=self.seed,
        )

    def write(self, folder: Path, study: str) -> None:
        """Write the plan into the folder of the search.

        Args:
            folder: of the search.
            study: its `SearchStudy.identity`.

        Raises:
            ExportError: the folder has the trials of another study, which would be lost.
        """
        try:
            theirs = _read(folder).get(_STUDY, study)
        except ExportError:  # there is no plan yet, or a damaged one
            theirs = study
        if theirs != study:
            raise ExportError(f"{shown(folder)}: it has the trials of another search; begin this one in another folder")
        document = {"version": _VERSION, _STUDY: study, **asdict(self)}
        write_whole(folder / PLAN_FILE, (json.dumps(document, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> SearchPlan:
        """The plan in the folder of a search.

        Raises:
            ExportError: there is none, or it is not as `write` makes it.
        """
        document = _read(folder)
        document.pop(_STUDY, None)
        lists = ("sides", "colours", "architectures", "augmentations")
        try:
            tuples: dict[str, Any] = {key: tuple(document.pop(key)) for key in lists if document.get(key) is not None}
            return cls(budget=Budget(**document.pop("budget")), **tuples, **document)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(folder, error) from error


def _read(folder: Path) -> dict[str, Any]:
    """The plan in a folder as a dictionary, without its version."""
    path = folder / PLAN_FILE
    if not path.is_file():
        raise ExportError(f"{shown(folder)}: no search: it has no {PLAN_FILE}; name the folder of a search")
    content, _ = read_regular_file(path, _MAX_BYTES, ExportError)
    try:
        document: dict[str, Any] = json.loads(content)
        if document.pop("version") != _VERSION:
            raise ValueError("another version")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(folder, error) from error
    return document


def _damaged(folder: Path, error: Exception) -> ExportError:
    return ExportError(f"{shown(folder / PLAN_FILE)}: not as a search writes it ({error}); begin the search anew")


def rungs_of(space: Space) -> tuple[int, ...]:
    """The epochs after which trials are compared; with few samples those of a whole training alone."""
    steps = math.ceil(TRAINING_SHARE * space.images / TrainingConfig.batch_size)
    least = max(math.ceil(_FIRST_SHARE * space.epochs), math.ceil(_FIRST_STEPS / steps))
    return make_rungs(space.epochs, least=min(least, space.epochs))


def own_sides(data: SearchData) -> tuple[int, ...]:
    """The side of a square with as many pixels as the data set's own input, and smaller ones."""
    own = round(math.sqrt(math.prod(data.input.shape[:2])))
    smaller = (_SIDE_STEP * round(share * own / _SIDE_STEP) for share in _SHARES)
    return (own, *(side for side in dict.fromkeys(smaller) if _LEAST_SIDE <= side < own))


def own_colours(data: SearchData) -> tuple[str, ...]:
    """The data set's own colour, and grey beside rgb."""
    return ("grey",) if data.input.shape[-1] == 1 else ("rgb", "grey")
