"""Calibration with vectors, and run folders that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import ExportError
from exporter.representative_dataset import converter_samples, prepare_representative_dataset
from exporter.representative_dataset_checks import CLIP_DEVIATIONS
from exporter.rgb_input import with_rgb_contract
from runtime import Contract, FeaturesInput, ImageInput
from trainer.data.run_folder import RunFolder, read_run
from trainer.data.sources import VectorSource
from trainer.errors import RunError
from trainer.plots.decision_boundary import make_plane

SPEC = FeaturesInput(("temperature", "pressure"), (20.0, 101_325.0), (5.0, 800.0))


def source_vectors(run: RunFolder) -> np.ndarray[Any, Any]:
    assert isinstance(run.source, VectorSource)
    return run.source.vectors


def run_of(vectors: np.ndarray[Any, Any], spec: FeaturesInput = SPEC) -> RunFolder:
    """Four fifths to train on, the rest to test with, two classes in turn."""
    count = len(vectors)
    train, test = np.arange(count * 4 // 5), np.arange(count * 4 // 5, count)
    splits = {"train": train, "validation": np.array([], np.int64), "test": test}
    return RunFolder(Path("run"), Contract(("a", "b"), spec), VectorSource(vectors), np.arange(count) % 2, splits)


def normal(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(SPEC.mean, SPEC.std, (count, 2))


def test_calibration_spans_the_whole_training_split() -> None:
    run = run_of(normal(1000))
    found = prepare_representative_dataset(run, 100, seed=0)
    assert found.samples.shape == (102, 2)
    assert found.figures["samples"] == 100  # so that the report's command chooses the same again
    standard = (source_vectors(run)[:800] - np.array(SPEC.mean)) / SPEC.std
    seen = np.concatenate([batch for (batch,) in converter_samples(found.samples, SPEC)])
    assert seen.dtype == np.float32
    assert seen.min() == pytest.approx(standard.min(), rel=1e-6)
    assert seen.max() == pytest.approx(standard.max(), rel=1e-6)
    assert found.warnings == ()


def test_a_spike_does_not_take_the_tensors_range() -> None:
    vectors = normal(500)
    vectors[7, 1] += 100 * 800
    found = prepare_representative_dataset(run_of(vectors), 400, seed=0)
    standard = (found.samples - SPEC.mean) / SPEC.std
    assert standard.max() == pytest.approx(CLIP_DEVIATIONS)
    told = [line for line in found.warnings if "'pressure' lies more than 6 standard deviations" in line]
    assert len(told) == 1
    assert "in 1 training vectors" in told[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[:50], "40 vectors; below 100"),
        (lambda v: np.tile(v[:40], (25, 1)), "of 200 training vectors are test vectors too"),
        (lambda v: np.column_stack([v[:, 0], np.full(len(v), 7.0)]), "'pressure' is 7 in every vector"),
    ],
)
def test_what_people_should_know(change: Callable[[Any], Any], words: str) -> None:
    found = prepare_representative_dataset(run_of(change(normal(1000))), 200, seed=0)
    assert any(words in line for line in found.warnings), found.warnings


def test_vectors_that_are_all_one_show_no_range() -> None:
    with pytest.raises(ExportError, match="all the same"):
        prepare_representative_dataset(run_of(np.ones((100, 2)) * SPEC.mean), 50, seed=0)


def test_rgb_input_is_for_images() -> None:
    with pytest.raises(ExportError, match="takes 2 features"):
        with_rgb_contract(run_of(normal(100)))


def test_the_plane_reaches_beyond_the_data() -> None:
    vectors = np.array([[0.0, 5.0], [10.0, 5.0]])
    plane = make_plane(Contract(("a", "b"), SPEC), vectors, np.array([0, 1]), [1], side=100)
    across, up = plane.across, plane.up
    assert (across[0], across[-1]) == (-1.0, 11.0)
    assert up[0] < 5 < up[-1]


def written(folder: Path, vectors: np.ndarray[Any, Any], kind: str = "vectors", **changes: Any) -> Path:
    contract = changes.get("contract", Contract(("a", "b"), SPEC))
    (folder / "contract.json").write_text(contract.to_json())
    (folder / "model.keras").touch()
    np.save(folder / "vectors.npy", vectors)
    document = {
        "version": 1,
        "images": {"kind": kind, "file": "vectors.npy"},
        "targets": [0, 1] * 5,
        "train": list(range(6)),
        "validation": [6, 7],
        "test": [8, 9],
    }
    (folder / "splits.json").write_text(json.dumps(document))
    return folder


def test_a_run_of_vectors_is_read(tmp_path: Path) -> None:
    vectors = normal(10)
    run = read_run(written(tmp_path, vectors))
    np.testing.assert_array_equal(source_vectors(run), vectors)


@pytest.mark.parametrize(
    ("vectors", "changes"),
    [
        (normal(10).astype(np.float32), {}),
        (normal(10)[:, :1], {}),
        (normal(9), {}),
        (np.array([[None, 1]] * 10), {}),
        (normal(10), {"kind": "array"}),
        (normal(10), {"contract": Contract(("a", "b"), ImageInput(8, 8))}),
    ],
)
def test_vectors_that_are_not_the_contracts_are_refused(
    vectors: np.ndarray[Any, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="train again"):
        read_run(written(tmp_path, vectors, **changes))


def test_vectors_that_are_missing(tmp_path: Path) -> None:
    (written(tmp_path, normal(10)) / "vectors.npy").unlink()
    with pytest.raises(RunError, match="half there"):
        read_run(tmp_path)
