"""What an answer comes from, by a model that was trained on pictures where a square in a known place decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Classifier, explain
from runtime.heat_map import summary
from tests.support.exports import Exported, Trip

pytestmark = pytest.mark.workstation

#: Rows and columns of the bright square, by class; the third class has none.
SQUARES = {"low": (15, 14), "upper": (3, 5)}
_SIDE, _SQUARE = 24, 5


def noisy(label: str, seed: int) -> npt.NDArray[np.uint8]:
    """A picture of a class."""
    pixels = np.random.default_rng((len(label), seed)).integers(95, 106, (_SIDE, _SIDE)).astype(np.uint8)
    if label in SQUARES:
        top, left = SQUARES[label]
        pixels[top : top + _SQUARE, left : left + _SQUARE] = 255
    return pixels


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    root = tmp_path_factory.mktemp("squares")
    for label in (*SQUARES, "none"):
        folder = root / "pictures" / label
        folder.mkdir(parents=True)
        for seed in range(60):
            Image.fromarray(noisy(label, seed)).save(folder / f"{seed}.png")
    settings = ("--arch", "dense", "--units", "32", "--epochs", "20")
    return Trip.make(root, "--dataset", root / "pictures", "--image-size", str(_SIDE), *settings)


@pytest.mark.parametrize("file", ["float32.tflite", "int8.tflite"])
@pytest.mark.parametrize("label", SQUARES)
def test_the_explained_part_contains_the_square_that_decides(trip: Trip, file: str, label: str) -> None:
    classifier = Classifier(trip.folder / file)
    for seed in range(1000, 1003):
        found = explain(classifier, noisy(label, seed))
        assert found.label == label
        assert found.region is not None
        box, (top, left) = found.region.box, SQUARES[label]
        assert box.left <= left < left + _SQUARE <= box.right
        assert box.top <= top < top + _SQUARE <= box.bottom
        assert (box.right - box.left) * (box.bottom - box.top) <= _SIDE * _SIDE / 4
        assert found.region.share is not None
        assert found.region.share > 0.5, "without the square the answer is another"
        row, column = np.unravel_index(found.drops.argmax(), found.drops.shape)
        assert top <= (row + 0.5) * _SIDE / 16 <= top + _SQUARE
        assert left <= (column + 0.5) * _SIDE / 16 <= left + _SQUARE


@pytest.mark.parametrize("file", ["float32.tflite", "int8.tflite"])
def test_without_evidence_the_map_is_flat(trip: Trip, file: str) -> None:
    classifier = Classifier(trip.folder / file)
    even = explain(classifier, np.full((_SIDE, _SIDE), 100, np.uint8))
    assert not even.drops.any()
    assert summary(even) == ["No part of the picture changes the score by more than 0."]
    noise = explain(classifier, noisy("none", 1000))
    assert noise.label == "none"
    assert max(noise.largest_drop, noise.largest_rise) < 0.05, "the square's is above 0.5"


def explained(folder: Path) -> int:
    """The number of figures below the heading of the explanations."""
    html = (folder / "report.html").read_text(encoding="utf-8")
    section = html.partition("<h2>Where the surest mistakes come from</h2>")[2].partition("<h2>")[0]
    return section.count("<figure>")


def test_the_report_explains_the_surest_mistakes(digits_export: Exported, binary_trip: Trip) -> None:
    assert explained(digits_export.folder) == 6
    assert 1 <= explained(binary_trip.folder) <= 6


def test_a_report_of_several_labels_explains_the_wrong_one(multilabel_trip: Trip) -> None:
    html = (multilabel_trip.folder / "report.html").read_text(encoding="utf-8")
    wrong = "is wrong on" in html
    assert bool(explained(multilabel_trip.folder)) == wrong
