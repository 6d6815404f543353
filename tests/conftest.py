"""What several tests share: a real digits run and its exported models, made once a session.

Where there is no TensorFlow, $POCKETLENS_TEST_MODELS names a folder in which `tools.device.material` has put the same
models beforehand; tests marked `workstation`, and whatever asks for the run itself, are skipped there.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from runtime.cli.app import LazyGroup
from runtime.cli.main import COMMANDS
from runtime.interpreter import choose

# tflite-runtime does not work where TensorFlow was imported before it, as some tests of this process do.
importlib.import_module(f"{choose()}.interpreter")

#: The folder of ready-made models; None where they are to be made.
READY_MADE = Path(os.environ["POCKETLENS_TEST_MODELS"]) if os.environ.get("POCKETLENS_TEST_MODELS") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if READY_MADE is not None:
        for item in items:
            if item.get_closest_marker("workstation"):
                item.add_marker(pytest.mark.skip(reason="needs TensorFlow, and models are given ready-made"))


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What our packages log, from level INFO on, whether or not a command shows it."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    collector, loggers = Collector(), [logging.getLogger(name) for name in ("runtime", "trainer", "exporter")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(collector)
        logger.setLevel(logging.INFO)
    yield lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(collector)
        logger.setLevel(level)


def run_pocketlens(
    *arguments: object, cwd: Path | None = None, timeout: float = 600, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def invoke(*arguments: object) -> Result:
    """What the command answers within this process: `exit_code`, `stdout`, `stderr`."""
    return CliRunner().invoke(LazyGroup("pocketlens", lazy=COMMANDS), [*map(str, arguments)])


def call_pocketlens(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As `run_pocketlens`, within this process: TensorFlow takes up to eight seconds to load."""
    result = invoke(*arguments)
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def succeed(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """The result, or a failure that shows what the command said."""
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


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


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder that `pocketlens train --dataset digits` writes with its defaults."""
    if READY_MADE is not None:
        pytest.skip("needs the trainer, and models are given ready-made")

    def make(folder: Path) -> None:
        succeed(run_pocketlens("train", "--dataset", "digits", "--out", folder / "run"))

    return made_once(tmp_path_factory, "digits", make) / "run"


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
def digits_export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """float32.tflite and int8.tflite of the digits run, as `pocketlens export` makes them with its defaults."""
    if READY_MADE is not None:
        return Exported(READY_MADE, "")
    run: Path = request.getfixturevalue("digits_run")

    def make(folder: Path) -> None:
        result = succeed(run_pocketlens("export", run, "--out", folder / "models"))
        (folder / "stdout.txt").write_text(result.stdout)

    folder = made_once(tmp_path_factory, "digits-export", make)
    return Exported(folder / "models", (folder / "stdout.txt").read_text())


@pytest.fixture(scope="session")
def io_models(
    request: pytest.FixtureRequest, digits_export: Exported, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The digits model as float32, and as int8 with each type of input and output."""
    models = {"float32": digits_export.float32, "uint8": digits_export.int8}

    def make(folder: Path) -> None:
        from tests.support import models as models_for_tests

        for io in ("int8", "float32"):
            models_for_tests.export_with_io(request.getfixturevalue("digits_run"), io, folder / f"io-{io}.tflite")

    folder = READY_MADE or made_once(tmp_path_factory, "digits-io", make)
    return models | {f"int8 with {io}": folder / f"io-{io}.tflite" for io in ("int8", "float32")}


@pytest.fixture(scope="session")
def nan_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model with a NaN among its weights, and a seal that says it is whole."""
    if READY_MADE is not None:
        return READY_MADE / "nan.tflite"
    from tests.support import models as models_for_tests

    path = tmp_path_factory.mktemp("nan") / "nan.tflite"
    path.write_bytes(models_for_tests.with_nan_weights(request.getfixturevalue("digits_run")))
    return path


@pytest.fixture(scope="session")
def task_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with {binary,multilabel}-{float32,int8}.tflite: the sigmoid of 0.25 + the mean pixel, 0 to 1."""
    if READY_MADE is not None:
        return READY_MADE
    from tests.support import models as models_for_tests

    folder = tmp_path_factory.mktemp("tasks")
    models_for_tests.write_task_models(folder)
    return folder


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


@pytest.fixture(scope="session")
def digits_samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The first forty of the test split."""
    if READY_MADE is not None:
        return Samples.read(READY_MADE / "samples")
    run: Path = request.getfixturevalue("digits_run")
    return Samples.read(made_once(tmp_path_factory, "samples", lambda folder: Samples.write(run, folder)))


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


#: What the pictures of the little multilabel data set may show, and where: rows and columns of 12.
MARKS = {"bar": np.s_[:, 2:4], "dot": np.s_[8:11, 8:11], "line": np.s_[4:6, :]}


def draw_marks(labels: Sequence[str], seed: int) -> Image.Image:
    """A grey picture of 12x12 with a bright mark for each label, on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (12, 12), dtype=np.uint8)
    for label in labels:
        pixels[MARKS[label]] = rng.integers(150, 255, dtype=np.uint8)
    return Image.fromarray(pixels)


def write_marks(folder: Path, count: int = 300) -> Path:
    """Pictures of each mark or none or several, and the CSV file that names them."""
    rng = np.random.default_rng(5)
    (folder / "pictures").mkdir(parents=True)
    lines = ["path,labels"]
    for seed in range(count):
        labels = [label for label, chance in zip(MARKS, (0.5, 0.2, 0.35), strict=True) if rng.random() < chance]
        draw_marks(labels, seed).save(folder / f"pictures/{seed}.png")
        lines.append(f"pictures/{seed}.png,{';'.join(labels)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.fixture(scope="session")
def marks_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV file of 300 pictures with none, one or several of three marks; not to be written to."""
    return write_marks(tmp_path_factory.mktemp("marks") / "marks")


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


@pytest.fixture(scope="session")
def binary_trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    """The digit 8 told from all the rest."""
    settings = ("--arch", "dense", "--units", "64", "--epochs", "12")
    return Trip.make(tmp_path_factory.mktemp("binary"), "--dataset", "digits", "--positive", "8", *settings)


@pytest.fixture(scope="session")
def multilabel_trip(tmp_path_factory: pytest.TempPathFactory, marks_csv: Path) -> Trip:
    """Pictures with none, one or several of three marks."""
    settings = ("--arch", "dense", "--units", "32", "--epochs", "20")
    return Trip.make(tmp_path_factory.mktemp("multilabel"), "--dataset", marks_csv, *settings)
