"""The one reader of a run folder, for `evaluate`, `inspect`, `compare` and `export` alike."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import ContractError
from tests.support.commands import invoke
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.evaluation.eval_set import from_run
from trainer.run_writer import was_interrupted

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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\3\4 no archive",
        b"\x80\4K\1.",
        b"\x93NUMPY\x01\0v\0" + b"(" * 118,
        b"\x93NUMPY\x01\0v\0"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 8, 8)}".ljust(117)
        + b"\n",
        b"\x93NUMPY\x01\0v\0"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000000000000,)}".ljust(117),
        b"\x93NUMPY\x01\0v\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 8, 8)}".ljust(117) + b"\n",
    ],
)
def test_what_is_no_array_is_an_error_of_one_line(content: bytes, run: Path) -> None:
    (run / "images.npy").write_bytes(content)
    change_splits(run, images={"kind": "array", "file": "images.npy"})  # without a digest, as earlier versions wrote it
    with pytest.raises(RunError, match="images are not as the trainer writes them") as raised:
        read_run(run)
    assert "\n" not in str(raised.value)


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


@pytest.mark.parametrize("name", ["contract.json", "model.keras", "splits.json", "images.npy"])
def test_a_pipe_in_a_run_folder_is_refused_and_not_waited_for(name: str, run: Path) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunError, match=f"{name}.*(not a regular file|make one with)"):
        read_run(run)


@pytest.mark.parametrize(("name", "read"), [("metrics.json", "metrics"), ("history.csv", "history")])
def test_a_pipe_in_place_of_figures_is_refused(name: str, read: str, run: Path) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunError, match=f"{name}: not a regular file"):
        getattr(read_run(run), read)
    assert not was_interrupted(run)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"version": ' * 100_000, '{"version": 1, "targets": [1' + "0" * 5000 + "]}"],
    ids=["lists", "objects", "digits"],
)
def test_hostile_json_is_an_error_of_ours(content: str, run: Path) -> None:
    for name in ("splits.json", "metrics.json", "contract.json"):
        kept = (run / name).read_text()
        (run / name).write_text(content)
        with pytest.raises((RunError, ContractError), match=r"not as the trainer writes them|contract: not JSON"):
            _ = read_run(run).metrics
        assert not was_interrupted(run)
        (run / name).write_text(kept)


@pytest.mark.parametrize("field", ["targets", "test", "version"])
@pytest.mark.parametrize("value", [10**20, 10**400])
def test_numbers_of_many_digits_are_an_error_of_ours(field: str, value: int, run: Path) -> None:
    change_splits(run, **{field: value if field == "version" else [value]})
    with pytest.raises(RunError, match=r"not as the trainer writes them|splits.json: version"):
        read_run(run)
