"""Arrays of pixels in the layouts of cameras and other libraries."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Classifier, Contract, ImageError, ImageInput, load_pixels, seal
from runtime.testing import FakeInterpreter
from tests.support.external_models import LABELS, converted

RGB = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
OPAQUE = np.full((8, 8, 1), 255, np.uint8)
SPEC = ImageInput(8, 8)


def yuv420(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """As picamera2 gives it: the planes Y, U and V below each other."""
    height, width = rgb.shape[:2]
    luma, blue, red = Image.fromarray(rgb).convert("YCbCr").split()
    small = [np.asarray(plane.resize((width // 2, height // 2), Image.Resampling.BOX)) for plane in (blue, red)]
    planes: npt.NDArray[np.uint8] = np.concatenate(
        [np.asarray(luma).reshape(-1), *(plane.reshape(-1) for plane in small)]
    )
    return planes.reshape(-1, width)


@pytest.mark.parametrize(
    ("array", "layout"),
    [
        (RGB, None),
        (RGB, "rgb"),
        (RGB[:, :, ::-1], "bgr"),
        (np.concatenate([RGB, OPAQUE], -1), "rgba"),
        (np.concatenate([RGB[:, :, ::-1], OPAQUE], -1), "bgra"),
        (np.concatenate([RGB[:, :, ::-1], OPAQUE * 0], -1), "bgra"),  # a camera's unused byte
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "grey"])
def test_each_layout_gives_the_same_pixels(
    array: npt.NDArray[np.uint8], layout: str | None, size: tuple[int, int], colour: str
) -> None:
    spec = ImageInput(*size, colour)
    np.testing.assert_array_equal(load_pixels(array, spec, layout), load_pixels(Image.fromarray(RGB), spec))


@pytest.mark.parametrize("layout", [None, "bgr", "rgba", "bgra", "yuv420"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_strips_give_the_same_as_the_whole(layout: str | None, colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (60, 50) if layout == "yuv420" else (40, 50, 4 if layout in ("rgba", "bgra") else 3)
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    spec = ImageInput(9, 12, colour, background=(7, 100, 200))
    whole = load_pixels(array, spec, layout)
    monkeypatch.setattr("runtime.images._STRIP_PIXELS", 300)
    np.testing.assert_array_equal(load_pixels(array, spec, layout), whole)


def test_transparency_is_mixed_with_the_background() -> None:
    half = np.concatenate([np.full((8, 8, 3), 250, np.uint8), np.full((8, 8, 1), 128, np.uint8)], -1)
    np.testing.assert_allclose(load_pixels(half, ImageInput(8, 8, background=(50, 50, 50)), "rgba"), 150, atol=1)


@pytest.mark.parametrize("height", [8, 10])
def test_yuv420_is_read_with_its_colours(height: int) -> None:
    rgb = np.zeros((height, 12, 3), np.uint8)
    rgb[:, :6], rgb[:, 6:] = (200, 30, 60), (20, 80, 220)
    found = load_pixels(yuv420(rgb), ImageInput(height, 12), "yuv420").astype(int)
    assert np.abs(found - rgb)[:, [0, 1, 2, 3, 8, 9, 10, 11]].max() <= 3
    grey = load_pixels(yuv420(rgb), ImageInput(height, 12, "grey"), "yuv420")
    np.testing.assert_allclose(grey[..., 0], np.asarray(Image.fromarray(rgb).convert("L")), atol=1)


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), None, "four channels; say which they are by `layout=rgba` or `layout=bgra`"),
        (np.zeros((4, 4, 3), np.uint8), "rgba", "`layout=rgba` is for HxWx4"),
        (np.zeros((4, 4), np.uint8), "bgr", "`layout=bgr` is for HxWx3"),
        (np.zeros((8, 4), np.uint8), "yuv420", "an even height and width"),
        (np.zeros((6, 3), np.uint8), "yuv420", "an even height and width"),
        (np.zeros((6, 4, 3), np.uint8), "yuv420", "an even height and width"),
        (np.zeros((1, 500), np.uint8), None, r"is no image; if it holds an encoded image, give `array.tobytes\(\)`"),
        (np.zeros((500, 1), np.uint8), None, "is no image"),
        (np.zeros((500, 1, 1), np.uint8), None, "is no image"),
        (np.full((4, 4, 3), 0.5, np.float32), None, r"`\(array \* 255\).round\(\).astype\('uint8'\)`"),
        (np.full((4, 4, 3), -0.5), None, r"`\(\(array \+ 1\) \* 127.5\).round"),
        (np.full((4, 4, 3), 99.0), None, r"clip\(0, 255\)"),
        (np.zeros((4, 4), np.uint16), None, "array // 257"),
        (np.zeros((4, 4), np.int64), None, "if its values are from 0 to 255"),
        (np.zeros((4, 4), bool), None, r"\* 255"),
        (np.zeros((90_000, 600), np.uint8), "yuv420", "million, the limit"),
        (np.zeros((2, 70_000), np.uint8), None, "a side of more than"),
    ],
)
def test_what_is_no_image_is_refused_with_the_cure(array: npt.NDArray[Any], layout: str | None, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_pixels(array, SPEC, layout)


def test_a_row_of_pixels_is_an_image_for_a_model_of_rows() -> None:
    assert load_pixels(np.zeros((1, 500), np.uint8), ImageInput(1, 500, "grey")).shape == (1, 500, 1)


def test_a_call_and_a_classifier_take_a_layout() -> None:
    content = seal(converted(), Contract(LABELS, SPEC))
    plain, reversed_ = Classifier(content), Classifier(content, layout="bgr")
    frame = RGB[:, :, ::-1]
    wanted = plain.classify(RGB)
    assert wanted != plain.classify(frame)
    assert plain.classify(frame, layout="bgr") == reversed_.classify(frame) == wanted
    assert reversed_.classify(RGB, layout="rgb") == wanted
    assert reversed_.classify(Image.fromarray(RGB)) == wanted
    assert list(plain.classify_batch([frame], layout="bgr")) == list(reversed_.classify_batch([frame])) == [wanted]
    assert pickle.loads(pickle.dumps(reversed_)).classify(frame) == wanted
    np.testing.assert_array_equal(plain.scores(frame, "bgr"), plain.scores(RGB))


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(ValueError, match="`layout` is 'gbr', expected one of rgb, bgr, rgba, bgra, yuv420"):
        Classifier(seal(converted(), Contract(LABELS, SPEC)), layout="gbr")
    with pytest.raises(ValueError, match="`layout` is 'gbr'"):
        FakeInterpreter(["a", "b"], [[0.9, 0.1]]).classifier().classify(RGB, layout="gbr")
