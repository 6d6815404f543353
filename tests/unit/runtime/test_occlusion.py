"""Which parts of a picture an answer comes from: the map, its region, and the drawing."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Classifier, Contract, FeaturesInput, ImageInput, InputError
from runtime.contract import Confidence
from runtime.heat_map import explanation_png, overlay, summary
from runtime.image_formats import PLOT_MARK
from runtime.occlusion import Explanation, count_calls, explain
from runtime.testing import FakeInterpreter
from tests.support.exports import Exported, Samples

#: Where the bright square is that decides, in pixels: rows and columns.
SQUARE = np.s_[6:10, 20:24]


class SquareInterpreter(FakeInterpreter):
    """Its second score is the mean of the square's first channel, from 0 to 1; the first is the rest to 1."""

    def __init__(self, contract: Contract, square: Any) -> None:
        super().__init__(contract.labels, [[0.0] * len(contract.labels)])
        self._contract = contract
        self._square = square

    def set_tensor(self, index: int, value: Any) -> None:
        self._shown = float(value[0][self._square][..., 0].mean())

    def get_tensor(self, index: int) -> Any:
        return np.array([[1 - self._shown, self._shown]], np.float32)


def looks_at_square(spec: ImageInput, task: str = "multiclass", square: Any = SQUARE, **contract: Any) -> Classifier:
    """A classifier of "none" and "square"."""
    described = Contract(("none", "square"), spec, task, **contract)
    return Classifier.from_interpreter(described, partial(SquareInterpreter, described, square))


def picture(height: int = 32, width: int = 32, channels: int = 1) -> npt.NDArray[np.uint8]:
    """A dark picture with the square in white."""
    pixels = np.full((height, width, channels), 20, np.uint8)
    pixels[SQUARE] = 255
    return pixels


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3), ("bgr", 3)])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_region_is_where_the_evidence_is(colour: str, channels: int, task: str) -> None:
    found = explain(looks_at_square(ImageInput(32, 32, colour), task), picture(channels=channels))
    assert (found.label, found.score) == ("square", 1.0)
    assert found.region is not None
    left, top, right, bottom = found.region.box
    assert left <= 20 < 24 <= right
    assert top <= 6 < 10 <= bottom
    assert (right - left) * (bottom - top) <= 32 * 32 / 4
    assert found.region.score_without < 0.6
    assert found.region.share == pytest.approx(1 - found.region.score_without)
    assert np.unravel_index(found.drops.argmax(), found.drops.shape) in {(3, 10), (3, 11), (4, 10), (4, 11)}
    assert found.largest_drop >= found.drops.max() > 0.3
    far = found.drops[12:, :6]
    assert not far.any(), "where nothing lies, hiding changes nothing"


def test_another_label_is_explained_if_it_is_named() -> None:
    found = explain(looks_at_square(ImageInput(32, 32, "grey")), picture(), "none")
    assert (found.label, found.score) == ("none", 0.0)
    assert found.region is None
    assert found.largest_drop == 0
    assert found.largest_rise > 0.3
    assert found.drops.min() < -0.3
    assert summary(found)[0].startswith("No part of the picture supports the label")


def test_an_even_picture_has_a_map_of_zeros() -> None:
    found = explain(looks_at_square(ImageInput(32, 32, "grey")), np.full((32, 32), 200, np.uint8))
    assert found.label == "square"
    assert not found.drops.any()
    assert found.region is None
    assert summary(found) == ["No part of the picture changes the score by more than 0."]


def test_what_changes_little_is_no_region() -> None:
    """A square a little brighter than the rest: hiding it costs less than a hundredth."""
    pixels = np.full((32, 32), 200, np.uint8)
    pixels[SQUARE] = 202
    found = explain(looks_at_square(ImageInput(32, 32, "grey")), pixels)
    assert 0 < found.largest_drop < 0.01
    assert found.full_colour == 0.01, "what does not matter is not drawn in full colour"
    assert found.region is None
    assert "by more than 0.00" in summary(found)[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (4, 4), (8, 8), (17, 100), (300, 20), (28, 28)])
def test_any_size_takes_a_bounded_number_of_calls(shape: tuple[int, int]) -> None:
    square = np.s_[: -(-shape[0] // 2), : -(-shape[1] // 2)]
    rng = np.random.default_rng(0)
    calls: list[int] = []
    classifier = looks_at_square(ImageInput(*shape, "grey"), square=square)
    found = explain(classifier, rng.integers(0, 256, shape, np.uint8), advance=calls.append)
    assert found.drops.shape == (min(16, shape[0]), min(16, shape[1]))
    assert np.isfinite(found.drops).all()
    assert sum(calls) == count_calls((*shape, 1)) <= 301
    assert found.calls in (sum(calls), sum(calls) - 1)
    if found.region is not None:
        left, top, right, bottom = found.region.box
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]


def test_the_picture_is_as_the_network_takes_it() -> None:
    """Cropped and resized, and with red first although the network takes blue first."""
    wide = Image.new("RGB", (64, 32), (200, 10, 10))
    found = explain(looks_at_square(ImageInput(32, 32, "bgr", resize="crop")), wide)
    assert found.pixels.shape == (32, 32, 3)
    assert found.pixels[0, 0].tolist() == [200, 10, 10]


def test_unknown_is_said() -> None:
    spec = ImageInput(32, 32, "grey")
    doubtful = looks_at_square(spec, confidence=Confidence(threshold=0.9))
    pixels = (picture() // 2 + 40).astype(np.uint8)
    assert explain(doubtful, pixels).is_unknown
    assert 'answers "unknown"' in summary(explain(doubtful, pixels))[0]
    assert not explain(doubtful, pixels, "square").is_unknown
    assert not explain(looks_at_square(spec), pixels).is_unknown


def test_features_and_unknown_labels_are_refused() -> None:
    plant = FakeInterpreter(["dry", "wet"], [[0.9, 0.1]], features=("moisture", "light")).classifier()
    with pytest.raises(InputError, match=r"takes 2 features .*only pictures"):
        explain(plant, [0.1, 2.0])  # type: ignore[arg-type]
    assert isinstance(plant.contract.input, FeaturesInput)
    with pytest.raises(ValueError, match=r"no label 'circle'; the model has none, square"):
        explain(looks_at_square(ImageInput(32, 32, "grey")), picture(), "circle")


def test_the_layout_of_the_classifier_counts() -> None:
    classifier = FakeInterpreter(["a", "b"], [[0.9, 0.1]], (8, 8), "rgb").classifier()
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[..., 0] = 90
    assert explain(classifier, frame, layout="bgr").pixels[0, 0].tolist() == [0, 0, 90]
    assert explain(classifier, frame).pixels[0, 0].tolist() == [90, 0, 0]


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_other_tasks_are_explained_by_real_interpreters(task_models: Path, task: str, mode: str) -> None:
    """The models answer by the mean pixel, so the bright corner of a dark picture supports the label."""
    pixels = np.zeros((4, 4), np.uint8)
    pixels[0, 0] = 255
    classifier = Classifier(task_models / f"{task}-{mode}.tflite")
    found = explain(classifier, pixels, "yes" if task == "binary" else "b")
    assert found.score == pytest.approx(float(classifier.scores(pixels)[1]), abs=1e-6)
    assert found.drops.shape == (4, 4)
    assert found.calls in (count_calls((4, 4, 1)) - 1, count_calls((4, 4, 1)))


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_a_digit_is_explained_the_same_every_time(digits_export: Exported, digits_samples: Samples, name: str) -> None:
    classifier = Classifier(getattr(digits_export, name))
    first, second = (explain(classifier, digits_samples.arrays[3]) for _ in range(2))
    assert first.as_dict() == second.as_dict()
    assert explanation_png(first, "three") == explanation_png(second, "three")
    assert first.label == classifier.classify(digits_samples.arrays[3])[0].label
    assert first.region is not None
    share = first.region.share
    assert share is not None
    assert share > 0.05, "without the part that matters most the score is lower"


def drawn(found: Explanation, title: str = "a picture") -> Image.Image:
    image = Image.open(io.BytesIO(explanation_png(found, title)))
    assert PLOT_MARK.items() <= image.info.items(), "a plot must not become an image of a data set"
    return image


def test_the_map_shows_the_evidence_in_colour() -> None:
    found = explain(looks_at_square(ImageInput(32, 32, "grey")), picture())
    colours = np.asarray(overlay(found.pixels, found.drops, None, found.full_colour, 320)).astype(int)
    supports = colours[..., 0] - colours[..., 2]  # vermilion has red, and hardly any blue
    assert supports[80, 220] > 100
    assert abs(supports[300, 20]) <= 1, "grey where nothing matters"
    against = explain(looks_at_square(ImageInput(32, 32, "grey")), picture(), "none")
    colours = np.asarray(overlay(against.pixels, against.drops, None, against.full_colour, 320)).astype(int)
    assert colours[80, 220, 2] - colours[80, 220, 0] > 100, "blue where a part speaks against the label"


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (20, 200), (200, 20), (300, 400)])
def test_pictures_of_any_shape_are_drawn(shape: tuple[int, int]) -> None:
    classifier = looks_at_square(ImageInput(*shape, "grey"), square=np.s_[:1, :1])
    image = drawn(explain(classifier, np.zeros(shape, np.uint8)))
    assert max(image.size) <= 1000
    assert min(image.size) >= 100


def test_any_label_and_name_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = explain(looks_at_square(ImageInput(32, 32, "grey")), picture())._replace(label="猫 " * 90)
    wide = drawn(found, "caf\u00e9 \u732b\n" + "x" * 900)
    from PIL import ImageFont

    try:
        small = ImageFont.load_default(10)
    except TypeError:
        return  # this is such a Pillow, and has drawn the first picture
    monkeypatch.setattr(ImageFont, "load_default", lambda: small)  # as before Pillow 10.1, without a size
    assert drawn(found, "x").width == wide.width
