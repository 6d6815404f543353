"""What a search tries: every value is a training's settings, and the presets are values of the space."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from exporter.errors import ExportError
from exporter.search.space import Space
from trainer.config import SIZES, TrainingConfig
from trainer.presets import PRESETS, complete_config

pytestmark = pytest.mark.fast

IMAGES = Space(60_000, 12, (28, 20), ("grey", "rgb"), ("shift", "flip"), ("cnn", "dense"), teacher="runs/teacher")


class Draw:
    """Draws at random, or the values that it is given, and notes what it was asked for."""

    def __init__(self, seed: int, fixed: dict[str, Any] | None = None) -> None:
        self.random, self.fixed, self.names = random.Random(seed), fixed or {}, set[str]()

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._check(name, self.random.randint(low, high), low, high))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert log
        return float(self._check(name, math.exp(self.random.uniform(math.log(low), math.log(high))), low, high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.names.add(name)
        value = self.fixed.get(name, self.random.choice(choices))
        assert value in choices
        return value

    def _check(self, name: str, drawn: float, low: float, high: float) -> float:
        self.names.add(name)
        value = float(self.fixed.get(name, drawn))
        assert low <= value <= high
        return value


def config_of(space: Space, value: dict[str, Any]) -> TrainingConfig:
    settings = json.loads(json.dumps(space.settings(value)))
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    return TrainingConfig(**values)


def test_weights_are_counted_without_the_network() -> None:
    space = Space(1797, 4, (8,), ("grey",), architectures=("cnn", "dense"))
    value = {"architecture": "cnn", "width_1": 8, "width_2": 16, "width_3": 32, "blocks": 1}
    between = 9 * (8 * 16 + 16 * 32)
    assert space.least_weights(value) == between + 2 * 9 * (8**2 + 16**2 + 32**2)
    assert space.least_weights(value | {"blocks": 0}) == between
    value = {"architecture": "dense", "layers": 2, "units_1": 30, "units_2": 20}
    assert space.least_weights(value) == 600
    assert space.least_weights(value | {"layers": 0}) == 0


@pytest.mark.parametrize("seed", range(40))
def test_every_value_is_a_training(seed: int) -> None:
    value = IMAGES.suggest(Draw(seed))
    config = config_of(IMAGES, value)
    assert config.epochs == 12
    assert config.patience == 0
    assert IMAGES.geometry(value)["image_size"] in ([28, 28], [20, 20])
    assert (config.teacher is None) or not config.label_smoothing


def test_presets_erase_as_train_does() -> None:
    space = Space(60_000, 12, (28,), ("grey",), ("shift", "flip", "erase"))
    presets = space.presets()
    for value, preset in zip(presets, [*PRESETS] * (len(presets) // 2), strict=True):
        trained = complete_config({"architecture": "cnn", "epochs": 12}, preset, 60_000, ("shift", "flip"))
        assert tuple(space.settings(value)["augmentation"]) == trained.augmentation
    assert [value["augment_erase"] for value in presets[:2]] == [False, True]


def test_presets_are_values_of_the_space() -> None:
    presets = IMAGES.presets()
    assert len(presets) == 2 * (len(SIZES) + 1)
    for value in presets:
        draw = Draw(0, value)
        assert IMAGES.suggest(draw) == value
        assert draw.names <= value.keys()
    first = config_of(IMAGES, presets[0])
    assert (first.widths, first.blocks, first.label_smoothing) == ((4, 8, 16), 1, 0.05)


def test_features_have_neither_geometry_nor_augmentation() -> None:
    space = Space(500, 20, architectures=("dense",), quantization_aware=False)
    value = space.suggest(Draw(3))
    assert space.geometry(value) == {}
    assert config_of(space, value).architecture == "dense"
    assert [value["layers"] for value in space.presets()] == [1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"architectures": ("mobilenet_v2",)}, "not searched"),
        ({"architectures": ("nonsense",)}, "no architecture"),
        ({"architectures": ()}, "is empty"),
        ({"architectures": ("cnn",)}, "vectors of features"),
    ],
)
def test_spaces_that_cannot_be(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ExportError, match=problem):
        Space(500, 20, **settings)
