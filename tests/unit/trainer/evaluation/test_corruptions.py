"""Corruptions of pictures: the same pixels in any order, stronger with each severity, in every size and colour."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from runtime.images import Pixels
from tests.support.commands import ROOT
from trainer.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corrupted_versions

pytestmark = pytest.mark.fast

SIZES = [(8, 8), (9, 20), (28, 28), (96, 64), (224, 224)]


def photograph(name: str, height: int, width: int, channels: int) -> Pixels:
    with Image.open(ROOT / "tests" / "photographs" / f"{name}.jpg") as image:
        small = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    return np.asarray(small).reshape(height, width, channels)


def photographs(height: int, width: int, channels: int) -> list[Pixels]:
    return [photograph(name, height, width, channels) for name in ("cat", "espresso", "rocket", "tripod")]


def distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.float64) - other).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_picture_keeps_its_shape_and_each_severity_changes_it_more(
    name: str, channels: int, size: tuple[int, int]
) -> None:
    distances = np.zeros(1 + len(SEVERITIES))
    for pixels in photographs(*size, channels):
        before = pixels.copy()
        assert np.array_equal(corrupt(pixels, name, 0), pixels)
        for severity in SEVERITIES:
            changed = corrupt(pixels, name, severity)
            assert (changed.dtype, changed.shape) == (np.uint8, pixels.shape)
            distances[severity] += distance(changed, pixels)
        assert np.array_equal(pixels, before)  # the picture itself is left alone
    assert (np.diff(distances) >= 0).all(), distances
    # A square of 8 pixels that is a few percent wider has as many pixels; all else grows in every step.
    assert min(size) < 28 or (np.diff(distances) > 0).all(), distances
    assert distances[-1] > distances[1]


def test_any_order_gives_the_same_pixels() -> None:
    pictures = photographs(28, 28, 3)
    order = list(itertools.product(range(len(pictures)), CORRUPTIONS, SEVERITIES))
    there = {key: corrupt(pictures[key[0]], *key[1:], seed=4) for key in order}
    for key in reversed(order):
        assert np.array_equal(corrupt(pictures[key[0]].copy(), *key[1:], seed=4), there[key])
    versions = list(corrupted_versions(pictures[0], 4))
    assert len(versions) == 1 + len(CORRUPTIONS) * len(SEVERITIES)
    assert np.array_equal(versions[0], pictures[0])
    expected = [there[0, name, severity] for name in CORRUPTIONS for severity in SEVERITIES]
    assert all(np.array_equal(*pair) for pair in zip(versions[1:], expected, strict=True))
    turned = corrupted_versions(pictures[0][:, :, ::-1], 4, colour="bgr")
    assert all(np.array_equal(bgr[:, :, ::-1], rgb) for bgr, rgb in zip(turned, versions, strict=True))


def test_pictures_and_seeds_have_their_own_chance() -> None:
    grey = np.full((28, 28, 1), 100, np.uint8)
    other = grey.copy()
    other[0, 0] = 101
    noise = corrupt(grey, "noise", 3).astype(int) - grey
    assert not np.array_equal(noise, corrupt(other, "noise", 3).astype(int) - other)
    assert not np.array_equal(corrupt(grey, "noise", 3, seed=1), corrupt(grey, "noise", 3, seed=2))
    lighter = {
        bool(corrupt(np.full((8, 8, 1), value, np.uint8), "brightness", 3).mean() > value) for value in range(90)
    }
    assert lighter == {True, False}


def test_the_strength_grows_with_the_side() -> None:
    """A digit of 28 pixels is blurred by less than a pixel and a bit; a photo by more, and by the same share."""
    for name in ("blur", "motion"):
        widths = []
        for side in (28, 224):
            line = np.zeros((side, side, 1), np.uint8)
            line[:, side // 2] = 255
            spread = np.mean([corrupt(line, name, 5, seed)[side // 2, :, 0] for seed in range(20)], axis=0)
            places = np.arange(side) - side // 2
            widths.append(float(np.sqrt((spread * places**2).sum() / spread.sum())))
        assert widths[0] < 1.5
        assert 3 < widths[1] / widths[0] < 10
    flat = [np.full((side, side, 1), 127, np.uint8) for side in (28, 224)]
    small, large = (float(corrupt(pixels, "noise", 3).std()) for pixels in flat)
    assert small == pytest.approx(20 * np.sqrt(28 / 32), rel=0.1)
    assert large == pytest.approx(20 * np.sqrt(224 / 32), rel=0.1)


def test_the_occlusion_of_each_severity_holds_that_of_the_one_before() -> None:
    white = np.full((28, 40, 3), 255, np.uint8)
    hidden = [(corrupt(white, "occlusion", severity) == 127).all(axis=2) for severity in SEVERITIES]
    areas = [int(mask.sum()) for mask in hidden]
    assert areas == [round(28 * share) ** 2 for share in (0.12, 0.18, 0.24, 0.3, 0.36)]
    assert all((smaller <= larger).all() for smaller, larger in itertools.pairwise(hidden))


def test_black_and_white_pictures_stay_in_range() -> None:
    for value, name in itertools.product((0, 255), CORRUPTIONS):
        pixels = np.full((32, 32, 3), value, np.uint8)
        assert abs(float(corrupt(pixels, name, 5).mean()) - value) < 200


def test_another_name_or_severity_is_refused() -> None:
    pixels = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(ValueError, match="corruption is 'snow', expected one of noise, blur"):
        corrupt(pixels, "snow", 1)
    with pytest.raises(ValueError, match="severity is 6, expected 0 to 5"):
        corrupt(pixels, "noise", 6)
