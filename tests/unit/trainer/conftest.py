"""Small trained runs for commands that look at one, and the commands within this process: TensorFlow loads slowly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import answer


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of the smallest convolutional network on digits."""
    folder = tmp_path_factory.mktemp("looking") / "small"
    answer("train", "--dataset", "digits", "--size", "tiny", "--epochs", 3, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def dense_run(small_run: Path) -> Path:
    """Two epochs of a dense network with another seed, on raw pixels."""
    folder = small_run.parent / "dense"
    options = ("--arch", "dense", "--units", "16,8", "--epochs", 2, "--seed", 4, "--no-normalise")
    answer("train", "--dataset", "digits", *options, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def binary_run(small_run: Path) -> Path:
    """Two epochs of a dense network that tells eights from the rest."""
    folder = small_run.parent / "binary"
    options = ("--positive", "8", "--arch", "dense", "--units", "16", "--epochs", 2)
    answer("train", "--dataset", "digits", *options, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def circles_run(small_run: Path) -> Path:
    """A dense network on vectors of two features."""
    folder = small_run.parent / "circles"
    answer("train", "--dataset", "circles", "--arch", "dense", "--units", "8", "--epochs", 3, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def marks_run(small_run: Path, marks_csv: Path) -> Path:
    """A dense network on images with several labels."""
    folder = small_run.parent / "marks"
    options = ("--arch", "dense", "--units", "8", "--epochs", 1)
    answer("train", "--dataset", marks_csv, *options, "--out", folder)
    return folder
