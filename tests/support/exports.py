"""Runs, models and samples that are made once a session, or given ready-made where there is no TensorFlow."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.commands import call_pocketlens, succeed

#: The folder of ready-made models; None where they are to be made.
READY_MADE = Path(os.environ["POCKETLENS_TEST_MODELS"]) if os.environ.get("POCKETLENS_TEST_MODELS") else None


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of the session's processes to ask has made, and the others wait for."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, begun = base / name, base / f"{name}.begun"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(folder)
    return folder


@dataclass(frozen=True)
class Exported:
    """An export, and what the command printed."""

    folder: Path
    stdout: str

    @property
    def float32(self) -> Path:
        return self.folder / "float32.tflite"

    @property
    def int8(self) -> Path:
        return self.folder / "int8.tflite"


@dataclass(frozen=True)
class Samples:
    """Real scans of the digits' test split: arrays, and the same as PNG files."""

    arrays: list[npt.NDArray[Any]]
    targets: list[int]
    files: list[Path]

    @classmethod
    def write(cls, run: Path, folder: Path) -> None:
        """The first forty of the test split of the run, as PNG files and a list of their targets."""
        splits = json.loads((run / "splits.json").read_text())
        images = np.load(run / "images.npy")
        folder.mkdir(exist_ok=True)
        targets = {f"{index}.png": splits["targets"][index] for index in splits["test"][:40]}
        for name in targets:
            Image.fromarray(images[int(name.partition(".")[0])]).save(folder / name)
        (folder / "targets.json").write_text(json.dumps(targets))

    @classmethod
    def read(cls, folder: Path) -> Samples:
        """What `write` wrote."""
        targets = json.loads((folder / "targets.json").read_text())
        files = [folder / name for name in targets]
        return cls([np.asarray(Image.open(file)) for file in files], list(targets.values()), files)


@dataclass(frozen=True)
class Trip:
    """A data set's whole way: the run folder, what `pocketlens export` made of it, and what both printed."""

    run: Path
    folder: Path
    trained: str
    exported: str

    @classmethod
    def make(cls, root: Path, *arguments: object) -> Trip:
        """Train with these arguments, and export; few test images: one answer that turns over is many points."""
        trained = succeed(call_pocketlens("train", *arguments, "--out", root / "run"))
        exported = succeed(call_pocketlens("export", root / "run", "--out", root / "models", "--max-drop", "0.1"))
        return cls(root / "run", root / "models", trained.stdout, exported.stdout)
