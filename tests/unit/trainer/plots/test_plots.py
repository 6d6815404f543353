"""Pictures: any label can be drawn, and the same figures give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Contract, FeaturesInput
from runtime.image_formats import PLOT_MARK
from trainer.evaluation.calibration_error import reliability
from trainer.plots.calibration import draw_reliability
from trainer.plots.confusion import save_confusion, save_confusions
from trainer.plots.decision_boundary import draw_boundaries, make_plane, takes_two_features
from trainer.plots.figure import png_bytes, shorten
from trainer.plots.history import save_curves

pytestmark = pytest.mark.fast

#: What a label may hold, and a drawing library might read otherwise.
HARD_LABELS = (r"$\frac{", "$x^2$", "_hidden", "日本語", "caf\udce9\x1b[31m", "a" * 200, "100 % \\")


def confusion(classes: int) -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(0, 300, (classes, classes))


@pytest.mark.parametrize("save", [save_confusion, save_confusions])
def test_a_label_is_no_formula(save: object, tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    save(path, confusion(len(HARD_LABELS)), HARD_LABELS, "$\\frac{ of the $test$ split of caf\udce9")  # type: ignore[operator]
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert picture.info.keys() <= {"dpi", *PLOT_MARK}, "the library's version would make two equal runs differ"


def test_many_classes_stay_a_picture_of_moderate_size(tmp_path: Path) -> None:
    labels = tuple(f"class {n}" for n in range(300))
    save_confusions(tmp_path / "many.png", confusion(300), labels, "many")
    with Image.open(tmp_path / "many.png") as picture:
        assert max(picture.size) < 6000


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    figures = {"accuracy": 0.5, "val_accuracy": 0.4, "learning_rate": 0.0}
    rows = [{"epoch": e, "loss": 1 / e, "val_loss": 2 / e} | figures for e in (1, 2, 3)]
    for name in ("one.png", "two.png"):
        save_curves(tmp_path / name, rows, 2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_text_from_outside_is_cut_and_made_printable() -> None:
    assert shorten("short") == "short"
    assert shorten("a" * 30) == "a" * 23 + "…"
    assert shorten("caf\udce9") == "caf\\udce9"


@pytest.mark.parametrize("classes", [2, 12])
def test_boundaries_of_any_number_of_models_and_classes(classes: int) -> None:
    labels = (*HARD_LABELS[:2], *(f"class {n}" for n in range(classes - 2)))
    contract = Contract(labels, FeaturesInput(("$x$", "caf"), (0.0, 0.0), (1.0, 1.0)))
    rng = np.random.default_rng(0)
    vectors, targets = rng.normal(size=(40, 2)), rng.integers(0, classes, 40)
    plane = make_plane(contract, vectors, targets, np.arange(20), side=30)
    assert takes_two_features(contract)
    assert plane.grid.shape == (900, 2)
    scores = rng.dirichlet(np.ones(classes), 900).astype(np.float32)
    one, two = draw_boundaries({"caf\udce9": scores}, plane), draw_boundaries({"Keras": scores, "int8": scores}, plane)
    assert png_bytes(one) == png_bytes(draw_boundaries({"caf\udce9": scores}, plane))
    assert two.get_figwidth() > 1.5 * two.get_figheight()


def test_reliability_is_drawn_for_images_and_for_labels() -> None:
    rng = np.random.default_rng(0)
    curve = reliability(rng.dirichlet([1, 1], 50).astype(np.float32), rng.integers(0, 2, 50))
    images, labels = (
        draw_reliability({"float32": curve, "int8": curve}),
        draw_reliability({"int8": curve}, of_labels=True),
    )
    assert png_bytes(images) != png_bytes(labels)
