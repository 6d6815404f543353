"""What several tests share: a real digits run and its exported models, made once a session."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.interpreter import choose

# tflite-runtime does not work where TensorFlow was imported before it, as some tests of this process do.
importlib.import_module(f"{choose()}.interpreter")


def run_pocketlens(
    *arguments: object, cwd: Path | None = None, timeout: float = 600, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def succeed(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """The result, or a failure that shows what the command said."""
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder that `pocketlens train --dataset digits` writes with its defaults."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    succeed(run_pocketlens("train", "--dataset", "digits", "--out", folder))
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


@pytest.fixture(scope="session")
def digits_export(digits_run: Path) -> Exported:
    """float32.tflite and int8.tflite of the digits run, as `pocketlens export` makes them with its defaults."""
    folder = digits_run.parent / "models"
    result = succeed(run_pocketlens("export", digits_run, "--out", folder))
    return Exported(folder, result.stdout)


@dataclass(frozen=True)
class Samples:
    """Real scans of the digits' test split: arrays, and the same as PNG files."""

    arrays: list[np.ndarray]
    targets: list[int]
    files: list[Path]


@pytest.fixture(scope="session")
def digits_samples(digits_run: Path) -> Samples:
    """The first forty of the test split."""
    import json

    splits = json.loads((digits_run / "splits.json").read_text())
    images = np.load(digits_run / "images.npy")
    chosen = splits["test"][:40]
    files = []
    folder = digits_run.parent / "samples"
    folder.mkdir()
    for index in chosen:
        files.append(folder / f"{index}.png")
        Image.fromarray(images[index]).save(files[-1])
    return Samples([images[i] for i in chosen], [splits["targets"][i] for i in chosen], files)


#: Colour of each class of the little colour data set.
SHADES = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def draw_colour_image(label: str, seed: int) -> Image.Image:
    """A picture of random size with a disc of the class's colour on noise."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(20, 60, 2))
    pixels = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 2.5) ** 2
    pixels[disc] = np.clip(np.array(SHADES[label]) + rng.integers(-25, 25, 3), 0, 255)
    return Image.fromarray(pixels)


def fill_class(folder: Path, label: str, seeds: Sequence[int]) -> None:
    """Write one class: JPEG, PNG and WebP in turn."""
    folder.mkdir(parents=True)
    for seed in seeds:
        suffix = (".jpg", ".png", ".webp")[seed % 3]
        draw_colour_image(label, seed + 1000 * list(SHADES).index(label)).save(folder / f"{seed}{suffix}")


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    """Three classes of thirty pictures, any size, three formats, no splits."""
    root = tmp_path / "shades"
    for label in SHADES:
        fill_class(root / label, label, range(30))
    return root


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a picture of a class that no data set here contains."""

    def write(label: str) -> Path:
        path = tmp_path / f"new-{label}.jpg"
        draw_colour_image(label, 77_777).save(path)
        return path

    return write
