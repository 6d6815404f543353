"""Pictures: any label can be drawn, and the same figures give the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from cycler import cycler
from PIL import Image

from runtime import Contract, FeaturesInput
from runtime.image_formats import PLOT_MARK
from tests.support.commands import ROOT
from trainer.evaluation.calibration_error import reliability
from trainer.evaluation.metrics import compute_metrics
from trainer.evaluation.predictions import Predictions
from trainer.plots.calibration import draw_reliability
from trainer.plots.confusion import save_confusion, save_confusions
from trainer.plots.decision_boundary import draw_boundaries, make_plane, takes_two_features
from trainer.plots.figure import MAX_STYLES, png_bytes, save_png, series_style, shorten
from trainer.plots.history import save_comparison, save_curves, save_sweep
from trainer.plots.image_grid import save_probabilities
from trainer.plots.metrics import draw_threshold_panels, save_labels, save_threshold_curves
from trainer.plots.scatter import save_scatter

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


TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
MULTILABEL = Predictions(
    np.array([[0.9, 0.2, 0.1], [0.8, 0.6, 0.7], [0.3, 0.9, 0.2], [0.1, 0.4, 0.3]], np.float32), TARGETS, "multilabel"
)


def draw_everything(folder: Path) -> None:
    """Draw every plot that has series, into a folder."""
    names, rows = (
        ("a", "b", "c"),
        [{"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "learning_rate": 0.1} for e in (1, 2)],
    )
    history = [row | {"accuracy": 0.5, "val_accuracy": 0.4} for row in rows]
    save_curves(folder / "curves.png", history, 2)
    save_comparison(folder / "comparison.png", names, [history] * 3)
    rates, losses = np.random.default_rng(0).uniform(0.1, 1, (2, 40))
    save_sweep(folder / "sweep.png", rates, losses, losses, {"steepest": 0.1})
    save_scatter(folder / "scatter.png", np.eye(3), np.arange(3), names, names)
    metrics = compute_metrics(MULTILABEL.scores, TARGETS, names, "multilabel")
    save_labels(folder / "labels.png", metrics, "labels")
    assert save_threshold_curves(folder / "roc.png", metrics, MULTILABEL, "curves")
    curve = reliability(np.array([[0.2, 0.8], [0.6, 0.4]], np.float32), np.array([1, 1]))
    save_png(folder / "reliability.png", draw_reliability({"float32": curve, "int8": curve}))
    save_probabilities(folder / "bars.png", None, {"a": 0.7, "b": 0.3}, {"b"}, "bars")


def test_every_series_has_a_colour_of_the_palette(tmp_path: Path) -> None:
    strange = "#fe01fe"
    with matplotlib.rc_context({"axes.prop_cycle": cycler(color=[strange])}):
        draw_everything(tmp_path)
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert not (pixels == (0xFE, 0x01, 0xFE)).all(axis=1).any(), f"{path.name} leaves a colour to matplotlib"
    assert len({series_style(place) for place in range(MAX_STYLES)}) == MAX_STYLES
    assert len({series_style(place)[1] for place in range(7)}) == 7, "classes differ by their marker too"


def test_colours_are_defined_in_one_place() -> None:
    places = {ROOT / "trainer/plots/figure.py", ROOT / "trainer/pages/templates/page.html.j2"}
    for path in (path for package in ("trainer", "exporter") for path in (ROOT / package).rglob("*")):
        if path.suffix in (".py", ".j2") and path not in places:
            found = re.findall(r"#[0-9a-fA-F]{6}\b|rgb\(\d|[\"'](?:Blues|PuOr|tab10|C\d)[\"']", path.read_text("utf-8"))
            assert not found, f"{path.relative_to(ROOT)} has a colour of its own"


def test_the_threshold_is_marked_on_the_curves_of_each_label_that_has_them() -> None:
    lonely = Predictions(
        MULTILABEL.scores, np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]]), "multilabel", decision=0.75
    )
    metrics = compute_metrics(lonely.scores, lonely.targets, ("$a$", "none", "c"), "multilabel", 0.75)
    panels = draw_threshold_panels(metrics, lonely)
    assert [*panels] == ["ROC curve", "precision by recall"]
    marked = {}
    for name, figure in panels.items():
        axes = figure.axes[0]
        legend = axes.get_legend()
        assert legend is not None
        texts = [text.get_text() for text in legend.get_texts()]
        assert [text for text in texts if "area" in text] == ["$a$: area 1.0000", "c: area 1.0000"]
        assert texts[-1] == "threshold 0.75"
        points = (np.stack(line.get_data()).astype(float).T.tolist() for line in axes.lines)
        marked[name] = [tuple(point[0]) for point in points if len(point) == 1]
    # From 0.75 on, a is predicted for its two samples, and c for none.
    assert marked == {"ROC curve": [(0.0, 1.0), (0.0, 0.0)], "precision by recall": [(1.0, 1.0)]}
    multiclass = compute_metrics(np.eye(3, dtype=np.float32), np.arange(3), ("a", "b", "c"))
    assert draw_threshold_panels(multiclass, Predictions(np.eye(3, dtype=np.float32), np.arange(3))) == {}
