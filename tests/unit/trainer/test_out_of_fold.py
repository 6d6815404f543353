"""`pocketlens data errors`: swapped labels are found, the test split stays out, and a stopped call goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Contract
from tests.support.commands import answer, invoke
from trainer import out_of_fold
from trainer.data import Geometry, load_dataset
from trainer.data.run_dataset import dataset_of_run
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.evaluation.label_suspects import COLUMNS, OutOfFold, list_suspects
from trainer.out_of_fold import fold_config, score_out_of_fold
from trainer.training import train


def swap_labels(run: Path, share: float = 0.05) -> set[int]:
    """Give a share of a run's training and validation samples another label; their indices."""
    document = json.loads((run / "splits.json").read_text())
    rng = np.random.default_rng(0)
    pool = np.array(sorted(document["train"] + document["validation"]))
    chosen = rng.choice(pool, round(share * len(pool)), replace=False)
    for index in chosen.tolist():
        document["targets"][index] = int((document["targets"][index] + rng.integers(1, 10)) % 10)
    (run / "splits.json").write_text(json.dumps(document))
    return {*chosen.tolist()}


def share_found(found: dict[str, Any], swapped: set[int]) -> float:
    """The share of the swapped labels that are among the first 5 % of the list."""
    first = [each["index"] for each in found["suspects"][: round(0.05 * found["examined"])]]
    return len(swapped & {*first}) / len(swapped)


def with_settings(run: Path, copy: Path, **settings: Any) -> Path:
    """A copy of a run that claims to have been trained with other settings."""
    shutil.copytree(run, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["settings"] |= settings
    (copy / "metrics.json").write_text(json.dumps(metrics))
    return copy


@pytest.fixture
def own_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without scores of earlier tests."""
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "folds"


def test_swapped_labels_are_found_and_a_stopped_call_goes_on(
    small_run: Path, tmp_path: Path, own_folds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_settings(small_run, tmp_path / "run", architecture="dense", units=[64], label_smoothing=0.0)
    swapped = swap_labels(run)
    trained: list[int] = []

    def stop_at_the_second(dataset: Any, *arguments: Any, **options: Any) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(len(dataset.given["train"]))
        return train(dataset, *arguments, **options)

    monkeypatch.setattr(out_of_fold, "train", stop_at_the_second)
    command = ("data", "errors", run, "--folds", 2, "--epochs", 10)
    assert invoke(*command).exit_code == 130
    assert len([*own_folds.iterdir()]) == 1, "the first fold is kept"

    monkeypatch.setattr(out_of_fold, "train", train)
    page, table = tmp_path / "errors.html", tmp_path / "errors.csv"
    result = invoke(*command, "--json", "--out", page, "--csv", table)
    assert result.exit_code == 0, result.output
    assert "fold 1 of 2: trained before" in result.stderr
    assert "fold 2 of 2: training on" in result.stderr
    found = json.loads(result.stdout)
    assert (found["examined"], found["skipped"], found["folds"], found["epochs"]) == (1438, 0, 2, 10)
    assert share_found(found, swapped) >= 0.7
    splits = read_run(run).splits
    assert not {each["index"] for each in found["suspects"]} & {*splits["test"].tolist()}
    assert found["suspects"][0].keys() == {*COLUMNS} - {"decision"}

    rows = [*csv.DictReader(table.read_text().splitlines())]
    assert [row["index"] for row in rows] == [str(each["index"]) for each in found["suspects"]]
    assert {row["decision"] for row in rows} == {""}
    text = page.read_text(encoding="utf-8")
    assert f"suggested: {rows[0]['suggested']} " in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("nothing is trained again")

    monkeypatch.setattr(out_of_fold, "train", refuse)
    lines = answer(*command).splitlines()
    about = "1,438 images of training and validation examined, in 2 folds of 10 epochs; answered as labelled: "
    assert lines[0].endswith(f"{about}{found['agreement']:.4f}")
    assert 0.8 < found["agreement"] < 0.96
    assert found["warning"] is None
    assert lines[1].startswith(f"{len(rows)} labels may be wrong, about {found['estimated']} by estimate")
    damaged = sorted(own_folds.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(AssertionError, match="nothing is trained again"):
        score_out_of_fold(read_run(run), 2, 10)


@pytest.mark.slow
def test_a_yes_or_no_has_scores_of_both_labels(small_run: Path, own_folds: Path) -> None:
    run = read_run(small_run)
    metrics = {"settings": run.metrics["settings"] | {"architecture": "dense", "units": [4], "epochs": 1}}
    binary = replace(run, contract=replace(run.contract, labels=("other", "eight"), task="binary"))
    binary = replace(binary, targets=(run.targets == 8).astype(np.int64))
    binary.__dict__["metrics"] = metrics
    scored = score_out_of_fold(binary, 2)
    assert scored.scores.shape == (len(scored.members), 2)
    np.testing.assert_allclose(scored.scores.sum(axis=1), 1, atol=1e-5)


def test_folds_that_learned_little_are_warned_of(small_run: Path) -> None:
    run = read_run(small_run)
    members = run.splits["train"]
    scores = np.full((len(members), 10), 0.05, np.float32)
    scores[:, 0] = 0.55
    listed = list_suspects(run, OutOfFold(members, scores, 0, 2, 1))
    assert listed.agreement == pytest.approx(0.1, abs=0.02)
    assert "they have learned too little to judge" in listed.doubt()


def test_several_labels_are_refused(small_run: Path) -> None:
    run = read_run(small_run)
    several = replace(run, contract=replace(run.contract, task="multilabel"))
    with pytest.raises(RunError, match="have several labels each, and confident learning needs one"):
        score_out_of_fold(several)


def test_the_settings_of_a_fold_are_those_of_the_run_with_fewer_epochs(small_run: Path, tmp_path: Path) -> None:
    run = with_settings(small_run, tmp_path / "run", epochs=40, teacher="elsewhere", label_smoothing=0.0)
    config = fold_config(read_run(run))
    assert (config.epochs, config.teacher, config.size) == (14, None, "tiny")
    assert fold_config(read_run(run), 2).epochs == 2
    assert fold_config(read_run(small_run)).epochs == 3
    broken = with_settings(small_run, tmp_path / "broken", architecture="unheard-of")
    with pytest.raises(RunError, match="its settings cannot be used: architecture 'unheard-of'"):
        fold_config(read_run(broken))


def test_the_images_of_a_run_of_files_are_read_as_for_its_training(
    small_run: Path, colour_folder: Path, tmp_path: Path
) -> None:
    data = load_dataset(str(colour_folder), Geometry(image_size=(12, 10)))
    contract = Contract(data.labels, replace(data.input, mean=(3.0,) * 3, std=(2.0,) * 3))
    splits = {"train": np.arange(0, 20), "validation": np.arange(20, 24), "test": np.arange(24, len(data.targets))}
    run = replace(
        read_run(small_run), contract=contract, source=data.source, targets=data.targets.astype(np.int64), splits=splits
    )
    again = dataset_of_run(run, splits["train"], {})
    np.testing.assert_array_equal(again.pixels[splits["train"]], data.pixels[splits["train"]])
    assert again.labels == data.labels
    assert again.targets.dtype == data.targets.dtype


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("nowhere",), 1, "no run folder"),
        (("RUN", "--folds", 1), 2, "--folds"),
        (("RUN", "--csv", "list.txt"), 2, "expected a name that ends in .csv"),
    ],
)
def test_what_cannot_be_examined_is_refused(
    arguments: Sequence[object], status: int, words: str, small_run: Path
) -> None:
    result = invoke("data", "errors", *(small_run if word == "RUN" else word for word in arguments))
    assert result.exit_code == status
    assert words in result.stderr


@pytest.mark.slow
@pytest.mark.skipif("FASHION_MNIST_DIR" not in os.environ, reason="Fashion-MNIST is not at hand")
def test_swapped_labels_of_fashion_mnist_are_found(tmp_path: Path, own_folds: Path) -> None:
    run = tmp_path / "run"
    answer("train", "--dataset", "fashion-mnist", "--size", "tiny", "--epochs", 1, "--out", run)
    swapped = swap_labels(run)
    assert len(swapped) == 3000
    found = json.loads(answer("data", "errors", run, "--folds", 3, "--epochs", 3, "--json"))
    assert found["examined"] == 60_000
    assert share_found(found, swapped) >= 0.7
