"""Every command and program in README and docs runs, page by page, each in a folder of its own.

What a reader would have by then lies there: a trained run, its models, a few pictures and tables.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT, call_pocketlens, succeed
from tests.support.datasets import SHADES, fill_class
from tests.support.documentation import PAGES, RUN, SKIP, SLOW, blocks, run_block
from tests.support.exports import Exported, Samples, made_once
from tests.support.external_models import converted
from trainer.data.datasets import load_dataset

pytestmark = pytest.mark.workstation

_MADE_OF_READINGS = (
    "pocketlens train --dataset readings.csv --epochs 30 --out runs/plant",
    "pocketlens export runs/plant --out models/plant",
)
#: What the fixtures have made by exactly these commands; 0.01 is the default.
_MADE = {
    "pocketlens train --dataset digits --out runs/digits",
    "pocketlens export runs/digits --out models/digits --max-drop 0.01",
    *_MADE_OF_READINGS,
}
_IDS = {page: page.relative_to(ROOT).as_posix() for page in PAGES}


def _pages(*kinds: str) -> list[Path]:
    return [
        page
        for page in PAGES
        if any(block.how == kinds[-1] and block.language in ("bash", "python") for block in blocks(page))
    ]


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the readings of a plant, and the run and models that the page on other tasks makes of them."""

    def make(folder: Path) -> None:
        _write_readings(folder / "readings.csv")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for line in _MADE_OF_READINGS:
                succeed(call_pocketlens(*line.split()[1:]))

    return made_once(tmp_path_factory, "plant", make)


@pytest.fixture
def stage(
    digits_run: Path,
    digits_export: Exported,
    digits_samples: Samples,
    plant: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The working folder of a reader, who trained and exported digits."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits_run, tmp_path / "runs/digits")
    shutil.copytree(digits_export.folder, tmp_path / "models/digits")
    shutil.copy(digits_export.int8, tmp_path)
    shutil.copytree(ROOT / "examples/profiles", tmp_path / "profiles")
    shutil.copytree(plant, tmp_path, dirs_exist_ok=True)
    shutil.copy("models/plant/int8.tflite", "plant.tflite")
    os.utime(tmp_path / "plant.tflite", (0, 0))  # the newest model is the one of digits
    (tmp_path / "mobilenet.tflite").write_bytes(converted(outputs=10))
    for folder in ("photos", "incoming"):
        (tmp_path / folder).mkdir()
    for number, file in enumerate(digits_samples.files[:3]):
        for place in (f"{number}.png", f"photos/{number}.png", f"incoming/{number}.png"):
            shutil.copy(file, tmp_path / place)
        Image.open(file).save(tmp_path / f"door-{number}.jpg")
    shutil.copy("door-0.jpg", "photo.jpg")
    Path("damaged.jpeg").write_bytes(b"\xff\xd8\xff")
    Path("list.txt").write_text("photo.jpg\n")
    for label, shade in zip(("cat", "dog"), SHADES, strict=False):
        fill_class(tmp_path / "pets" / label, shade, range(30))
    photos = sorted(Path("pets").rglob("*.*"))
    labels = [photo.parent.name if number % 5 else "cat;dog" for number, photo in enumerate(photos)]
    lines = [f"{photo},{label}" for photo, label in zip(photos, labels, strict=True)]
    Path("labels.csv").write_text("\n".join(["path,label", *lines, ""]))
    Path("labels.txt").write_text("".join(f"{label}\n" for label in range(10)))
    for program in (ROOT / "examples").glob("*.py"):
        shutil.copy(program, tmp_path)
    return tmp_path


def _write_digits() -> None:
    """Twenty pictures of each digit in train/, and ten others in test/."""
    digits = load_dataset("digits")
    for label in range(10):
        for number, index in enumerate(np.flatnonzero(digits.targets == label)[:30]):
            folder = Path("train" if number < 20 else "test") / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.squeeze(digits.pixels[int(index)])).save(folder / f"{number}.png")


def _write_readings(path: Path) -> None:
    """Two readings of a plant in which moisture alone decides."""
    random = np.random.default_rng(0)
    rows = [
        f"{moisture:.2f},{light:.1f},{'dry' if moisture < 0.5 else 'wet'}"
        for moisture, light in zip(random.uniform(0, 1, 120), random.uniform(5, 40, 120), strict=True)
    ]
    path.write_text("\n".join(["moisture,light,label", *rows, ""]))


@pytest.mark.parametrize("page", _pages(RUN), ids=_IDS.__getitem__)
def test_the_blocks_of_a_page_run(page: Path, stage: Path) -> None:
    for block in blocks(page):
        if block.how == RUN and block.language in ("bash", "python"):
            run_block(block, _MADE)


@pytest.mark.slow
@pytest.mark.parametrize("page", _pages(SLOW), ids=_IDS.__getitem__)
def test_the_slow_blocks_of_a_page_run_too(page: Path, stage: Path) -> None:
    if "fashion-mnist" in page.read_text(encoding="utf-8") and "FASHION_MNIST_DIR" not in os.environ:
        pytest.skip("Fashion-MNIST is not at hand")
    _write_digits()
    for block in blocks(page):
        if block.how != SKIP and block.language in ("bash", "python"):
            run_block(block, _MADE)
