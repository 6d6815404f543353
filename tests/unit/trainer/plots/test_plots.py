"""Pictures: any label can be drawn, and the same figures give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainer.plots.confusion import save_confusion, save_confusions
from trainer.plots.history import save_curves

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
        assert picture.info.keys() <= {"dpi"}, "the library's version would make two equal runs differ"


def test_many_classes_stay_a_picture_of_moderate_size(tmp_path: Path) -> None:
    labels = tuple(f"class {n}" for n in range(300))
    save_confusions(tmp_path / "many.png", confusion(300), labels, "many")
    with Image.open(tmp_path / "many.png") as picture:
        assert max(picture.size) < 6000


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5, "val_loss": 2 / e, "val_accuracy": 0.4} for e in (1, 2, 3)]
    for name in ("one.png", "two.png"):
        save_curves(tmp_path / name, rows, 2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
