"""Augmentation: images changed in ways that keep their label."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainer.config import AUGMENTATIONS
from trainer.data import Geometry, load_dataset
from trainer.fitting.augmentation import augment
from trainer.presets import complete_config

pytestmark = pytest.mark.fast

SHAPES = [(7, 8, 8, 1), (7, 28, 28, 1), (7, 40, 24, 3)]


def pictures(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in AUGMENTATIONS), AUGMENTATIONS])
def test_shape_and_type_stay_and_the_generator_decides(shape: tuple[int, ...], kinds: tuple[str, ...]) -> None:
    given = pictures(shape)
    before = given.copy()
    one, again, other = (augment(given, kinds, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.shape == shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(one, again)
    assert np.array_equal(one, other) == (not kinds)
    np.testing.assert_array_equal(one, augment(given, tuple(reversed(kinds)), np.random.default_rng(3)))


def test_a_flip_mirrors_left_and_right_in_about_half() -> None:
    given = pictures((400, 6, 9, 3))
    flipped = augment(given, ("flip",), np.random.default_rng(0))
    mirrored = np.array([np.array_equal(b, a[:, ::-1]) for a, b in zip(given, flipped, strict=True)])
    same = np.array([np.array_equal(b, a) for a, b in zip(given, flipped, strict=True)])
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250


def test_a_shift_is_of_at_most_a_fourteenth_and_repeats_the_border() -> None:
    given = pictures((300, 28, 28, 1))
    shifted = augment(given, ("shift",), np.random.default_rng(0))
    seen = set()
    for before, after in zip(given, shifted, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="edge")
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(padded[top : top + 28, left : left + 28], after)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25


def test_an_erased_part_is_one_rectangle_within_the_bounds() -> None:
    given = np.zeros((400, 28, 28, 1), np.uint8)
    erased = augment(given, ("erase",), np.random.default_rng(0))
    touched = [after[..., 0] for after in erased if after.any()]
    assert 160 < len(touched) < 240
    for after in touched:
        rows, columns = np.flatnonzero(after.any(axis=1)), np.flatnonzero(after.any(axis=0))
        area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / after.size
        assert 0.01 <= area <= 0.22  # 2 to 20 %, its sides rounded
        inside = after[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (inside > 0).mean() > 0.8  # noise: one value in 256 is 0


def test_colour_keeps_the_order_of_grey_values_and_tints_colours() -> None:
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (50, 4, 1, 3))
    changed = augment(ramp, ("colour",), np.random.default_rng(0)).astype(int)
    assert (np.diff(changed, axis=2) >= 0).all()
    assert (changed[..., 0] != changed[..., 1]).any()
    assert np.abs(changed - ramp).max() < 110
    grey = augment(ramp[..., :1], ("colour",), np.random.default_rng(0))
    assert (grey != ramp[..., :1]).any()


def test_a_digit_is_never_mirrored() -> None:
    digits = load_dataset("digits", Geometry())
    for preset in ("fast", "best"):
        config = complete_config({"architecture": "cnn"}, preset, len(digits.targets), digits.augmentation)
        assert "shift" in config.augmentation
        assert "flip" not in config.augmentation
