"""The one reader of a run folder, for `evaluate`, `inspect`, `compare` and `export` alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.commands import invoke
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.evaluation.eval_set import from_run

pytestmark = pytest.mark.workstation


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def change_splits(run: Path, **changes: Any) -> dict[str, Any]:
    file = run / "splits.json"
    written: dict[str, Any] = json.loads(file.read_text())
    file.write_text(json.dumps(written | changes))
    return written


def test_what_a_training_wrote_is_read(run: Path) -> None:
    found = read_run(run)
    written = json.loads((run / "splits.json").read_text())
    assert found.targets.tolist() == written["targets"]
    assert {name: indices.tolist() for name, indices in found.splits.items()} == {
        name: written[name] for name in ("train", "validation", "test")
    }
    images = np.load(run / "images.npy")
    np.testing.assert_array_equal(found.source.sample(7), images[7])
    assert len(found.history) == 3
    assert found.seconds == sum(row["seconds"] for row in found.history)
    assert found.metrics["settings"]["size"] == "tiny"


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_no_command_reads_splits_of_another_version(command: str, run: Path, tmp_path: Path) -> None:
    change_splits(run, version=2)
    result = invoke(command, run, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "splits.json: version 2, expected 1; train again" in result.stderr


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_sample_to_measure_with_has_a_class(split: str, run: Path) -> None:
    written = change_splits(run)
    written["targets"][written[split][0]] = -1
    change_splits(run, targets=written["targets"])
    with pytest.raises(RunError, match="a sample to measure with has no class"):
        read_run(run)


def test_a_training_sample_without_a_class_is_not_measured(run: Path) -> None:
    written = change_splits(run)
    written["targets"][written["train"][0]] = -1
    change_splits(run, targets=written["targets"])
    found = read_run(run)
    assert len(from_run(found, "test").chosen) == len(written["test"])
    for split in ("train", "all"):
        with pytest.raises(RunError, match="has no class"):
            from_run(found, split)


@pytest.mark.parametrize("least", [-2, 10])
def test_a_target_beyond_the_labels_is_refused(least: int, run: Path) -> None:
    written = change_splits(run)
    change_splits(run, targets=[least, *written["targets"][1:]])
    with pytest.raises(RunError, match=r"an index is not in -1\.\.9"):
        read_run(run)


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "validation"), ("train", "train")])
def test_a_sample_is_in_one_split_and_once(one: str, other: str, run: Path) -> None:
    written = change_splits(run)
    change_splits(run, **{one: [*written[one], written[other][0]]})
    with pytest.raises(RunError, match="in two splits, or twice in one"):
        read_run(run)


def test_the_model_is_needed_where_it_is_used(run: Path) -> None:
    (run / "model.keras").unlink()
    with pytest.raises(RunError, match=r"it has no model\.keras; make one with"):
        read_run(run)
    assert len(read_run(run, needs_model=False).source) == 1797
