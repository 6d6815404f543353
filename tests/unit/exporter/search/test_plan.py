"""What a search looks for: defaults from the data set, and the file that `search finish` reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import ExportError
from exporter.search.budget import Budget
from exporter.search.data import SearchData
from exporter.search.plan import PLAN_FILE, SearchPlan, rungs_of
from runtime import FeaturesInput, ImageInput

pytestmark = pytest.mark.fast

PLAN = SearchPlan({"name": "digits", "merge": ["0,8=round"]}, Budget(max_bytes=30_000), epochs=12, sides=(8, 16))


@pytest.fixture(scope="module")
def digits() -> SearchData:
    return SearchData.load({"name": "digits"}, seed=0)


def test_choices_follow_from_the_data_set(digits: SearchData) -> None:
    space = SearchPlan({"name": "digits"}).make_space(digits)
    assert (space.epochs, space.sides, space.colours) == (40, (8,), ("grey",))
    assert (space.augmentations, space.architectures) == (("shift", "erase"), ("cnn",))
    assert rungs_of(space) == (40,)  # 840 steps of training: a comparison before that would cost more than it saves
    many = np.zeros(70_000, np.int64)
    photos = replace(digits, targets=many, input=ImageInput(72, 96, "rgb"), augmentation=("shift", "flip", "colour"))
    space = SearchPlan({"name": "photos"}, epochs=12).make_space(photos)
    assert (space.sides, space.colours, rungs_of(space)) == ((83, 64, 40), ("rgb", "grey"), (1, 4, 12))
    features = replace(digits, input=FeaturesInput(("x", "y")), augmentation=())
    space = SearchPlan({"name": "readings"}).make_space(features)
    assert (space.sides, space.colours, space.architectures) == ((), (), ("dense",))
    with pytest.raises(ExportError, match="`sides` is for images"):
        PLAN.make_space(features)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    PLAN.write(tmp_path, "search@a+b")
    assert SearchPlan.read(tmp_path) == PLAN


def test_the_folder_of_another_search_is_refused_and_stays(tmp_path: Path) -> None:
    PLAN.write(tmp_path, "search@a+b")
    before = (tmp_path / PLAN_FILE).read_bytes()
    with pytest.raises(ExportError, match=r"it has the trials of another search; begin this one in another folder$"):
        replace(PLAN, epochs=3).write(tmp_path, "other@a+b")
    assert (tmp_path / PLAN_FILE).read_bytes() == before
    (tmp_path / PLAN_FILE).write_bytes(b"damaged")
    PLAN.write(tmp_path, "search@a+b")
    assert (tmp_path / PLAN_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"version": 2}, "another version"), ({"budget": []}, "not as a search"), ({"nonsense": 1}, "nonsense")],
)
def test_a_plan_that_is_damaged_is_one_line(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    PLAN.write(tmp_path, "search@a+b")
    path = tmp_path / PLAN_FILE
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ExportError, match=problem) as raised:
        SearchPlan.read(tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(ExportError, match="no search"):
        SearchPlan.read(tmp_path / "elsewhere")
