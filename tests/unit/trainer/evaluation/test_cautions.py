"""What `evaluate` says of images that the model knows already."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime import Contract, ImageInput, Provenance
from tests.support.commands import answer, invoke
from tests.support.datasets import draw_colour_image
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data.run_folder import read_run
from trainer.data.sources import FileSource, VectorSource
from trainer.data.splits import make_splits
from trainer.errors import RunError
from trainer.evaluation.eval_set import from_dataset

DIGITS = Provenance("digits", 4, "1998-07-01")


def test_images_that_a_run_of_files_was_trained_on_are_counted(colour_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--arch", "dense", "--units", 4, "--epochs", 1, "--image-size", 8)
    answer("train", "--dataset", colour_folder, *options, "--out", run)
    same = json.loads(answer("evaluate", run, "--dataset", colour_folder, "--json"))
    assert same["caution"] is None
    for seed in range(2):  # a few more photos, and every split is another one
        draw_colour_image("red", 7000 + seed).save(colour_folder / "blue" / f"0-new-{seed}.png")

    written = json.loads((run / "splits.json").read_text())
    known = {written["images"]["sha256"][index] for index in written["train"] + written["validation"]}
    data = load_dataset(str(colour_folder), Geometry())
    chosen = make_splits(data.targets, data.labels, data.given, 0).test
    assert isinstance(data.source, FileSource)
    files = [(colour_folder / data.source.paths[index]).read_bytes() for index in chosen]
    count = sum(hashlib.sha256(content).hexdigest() in known for content in files)
    assert count

    result = invoke("evaluate", run, "--dataset", colour_folder, "--json")
    told = f"{count} of these {len(chosen)} samples were trained on, or chosen by: their figures are too good"
    assert json.loads(result.stdout)["caution"] == f"{told}; measure the run without --dataset"
    assert f"note: {told}" in result.stderr


def test_images_of_an_array_are_counted_under_another_seed(small_run: Path) -> None:
    data, run = load_dataset("digits", Geometry()), read_run(small_run)
    written = json.loads((small_run / "splits.json").read_text())
    others = make_splits(data.targets, data.labels, data.given, 3).test
    count = len(set(others.tolist()) - set(written["test"]))
    told = from_dataset(data, run.contract, "test", 3, "run", run).caution
    assert told.startswith(f"{count} of these 359 samples were trained on")
    assert from_dataset(data, run.contract, "test", 0, "run", run).caution == ""


def test_vectors_are_counted_too(circles_run: Path) -> None:
    data, run = load_dataset("circles", Geometry()), read_run(circles_run)
    assert from_dataset(data, run.contract, "test", 0, "run", run).caution == ""
    told = from_dataset(data, run.contract, "train", 0, "run", run).caution
    assert told.startswith("720 of these 720 samples")
    assert isinstance(data.source, VectorSource)
    moved = replace(data, source=VectorSource(data.source.vectors + 1))
    assert from_dataset(moved, run.contract, "train", 0, "run", run).caution == ""


def test_a_run_without_its_splits_is_refused(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "splits.json").unlink()
    with pytest.raises(RunError, match=r"splits\.json: missing"):
        read_run(tmp_path / "run")


def of_digits(data: Dataset, made: Provenance, split: str, seed: int = 4) -> str:
    """The caution for a model file of that provenance."""
    contract = Contract(data.labels, ImageInput(8, 8, "grey"), provenance=made)
    return from_dataset(data, contract, split, seed, "int8.tflite").caution


def test_a_model_file_is_trusted_with_a_split_that_is_certainly_its_own() -> None:
    data = load_dataset("digits", Geometry())
    unsure = "a model file does not know its training data"
    assert of_digits(data, DIGITS, "test") == ""
    assert of_digits(data, DIGITS, "train") == "the model was trained on these, or on most of them"
    assert of_digits(data, DIGITS, "validation") == "the best epoch was chosen by these"
    assert of_digits(data, DIGITS, "test", seed=5).startswith(unsure)
    assert of_digits(data, replace(DIGITS, date="2026-01-01"), "test").startswith(unsure)
    assert of_digits(data, replace(DIGITS, dataset="pets"), "all") == ""

    files = tuple(f"{index}.png" for index in range(len(data.targets)))
    folder = replace(data, source=FileSource(Path("/digits"), files, files))
    assert of_digits(folder, DIGITS, "test").startswith(unsure), "a file may have come since, on the same day"
    brought = replace(folder, given={"test": np.arange(0, 1797, 5), "train": np.arange(1, 1797, 5)})
    assert of_digits(brought, DIGITS, "test") == ""
    assert of_digits(brought, DIGITS, "train") == "the model was trained on these, or on most of them"
    assert of_digits(brought, DIGITS, "all").startswith(unsure)
