"""Checks that MediaPipe Tasks' ImageClassifier, in its own environment, reads our files as Pocketlens does.

    python -m tools.peers.check

It trains and exports two models: one of colour pictures, whose classes are overlapping hues so that a wrong scaling or
channel order shows, and one of grey digits with `--rgb-input`. Both libraries classify 200 pictures for each model, of
the size of its input.
"""

from __future__ import annotations

import colorsys
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from runtime import Classifier
from runtime.native_output import held_stderr

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "peers"
CLIENT = Path(__file__).with_name("client.py")
MEDIAPIPE = "mediapipe>=1.2,<2"
CLASSES, SIZE = 8, 96
TRAINING, PICTURES = 60, 200
#: The least share of pictures with the same best label, and the largest difference of a score (0 to 1). MediaPipe's
#: int8 kernels round differently.
BOUNDS = {"float32": (1.0, 1e-3), "int8": (0.97, 0.1)}


class Row(NamedTuple):
    """The figures of one model; `kind` is "colour" or "grey"."""

    kind: str
    model: str
    agreement: float
    difference: float
    accuracy: float

    @property
    def passed(self) -> bool:
        """Whether both bounds are kept."""
        share, difference = BOUNDS[self.model]
        return self.agreement >= share and self.difference <= difference


def draw(target: int, rng: np.random.Generator) -> Image.Image:
    """A disc on noise. Its hue is the class's, up to 0.6 of the distance to the next class."""
    hue = (target + rng.uniform(-0.6, 0.6)) / CLASSES % 1
    colour = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.9), rng.uniform(0.5, 0.9))) * 255
    pixels = rng.integers(60, 190, (SIZE, SIZE, 3)).astype(np.float64)
    rows, columns = np.mgrid[:SIZE, :SIZE] - rng.uniform(0.35, 0.65, (2, 1, 1)) * SIZE
    disc = rows**2 + columns**2 < (SIZE * rng.uniform(0.2, 0.4)) ** 2
    pixels[disc] = colour + rng.normal(0, 20, (int(disc.sum()), 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def make_colour() -> tuple[list[Image.Image], list[int]]:
    """Train and export a colour model; return new pictures and their classes."""
    images, run = HOME / "images", HOME / "colour-run"
    rng = np.random.default_rng(0)
    shutil.rmtree(images, ignore_errors=True)
    for target in range(CLASSES):
        folder = images / f"hue {target}"
        folder.mkdir(parents=True)
        for number in range(TRAINING):
            draw(target, rng).save(folder / f"{number}.png")
    pocketlens("train", "--dataset", images, "--image-size", SIZE, "--epochs", 12, "--out", run, "--force")
    pocketlens("export", run, "--out", HOME / "colour", "--max-drop", 0.1)
    targets = [number % CLASSES for number in range(PICTURES)]
    return [draw(target, rng) for target in targets], targets


def make_grey() -> tuple[list[Image.Image], list[int]]:
    """Train a grey model and export it with RGB input; return test pictures and their classes."""
    run = HOME / "grey-run"
    pocketlens("train", "--dataset", "digits", "--out", run, "--force")
    pocketlens("export", run, "--out", HOME / "grey", "--rgb-input")
    splits, images = json.loads((run / "splits.json").read_text()), np.load(run / "images.npy")
    chosen = splits["test"][:PICTURES]
    return [Image.fromarray(images[i]).convert("RGB") for i in chosen], [splits["targets"][i] for i in chosen]


def pocketlens(*arguments: object) -> None:
    """Run a command of Pocketlens and show its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "runtime.cli.main", *map(str, arguments)], check=True, env=environment)


def make_client() -> Path:
    """Make MediaPipe's own environment if it does not exist; return its Python."""
    python = HOME / "venv" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import mediapipe"], check=False).returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", MEDIAPIPE], check=True)
    return python


def compare(kind: str, name: str, pictures: list[Path], targets: list[int], python: Path) -> tuple[Row, str]:
    """Classify all pictures with both libraries; return the figures and MediaPipe's version."""
    model = HOME / kind / f"{name}.tflite"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), str(CLIENT), str(model), *map(str, pictures)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"error: MediaPipe does not run {kind} {name}: {done.stderr.strip().splitlines()[-1]}")
    reply = json.loads(done.stdout.splitlines()[-1])
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(model)
    ours = np.stack([classifier.scores(picture) for picture in pictures])
    theirs = np.array([[answer[label] for label in classifier.contract.labels] for answer in reply["answers"]])
    agreement = float((ours.argmax(1) == theirs.argmax(1)).mean())
    right = float((ours.argmax(1) == np.array(targets)).mean())
    return Row(kind, name, agreement, float(np.abs(ours - theirs).max()), right), reply["version"]


def main() -> int:
    """Make the models, compare both libraries and print the figures; return 1 if a bound is missed."""
    HOME.mkdir(parents=True, exist_ok=True)
    python = make_client()
    rows, version = [], ""
    for kind, make in (("colour", make_colour), ("grey", make_grey)):
        pictures, targets = make()
        folder = HOME / f"{kind}-pictures"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        paths = [folder / f"{number}.png" for number in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            picture.save(path)
        for name in BOUNDS:
            row, version = compare(kind, name, paths, targets, python)
            rows.append(row)
    print(f"\n{'model':15}  {'same top-1':>10}  {'score differs by':>16}  {'our accuracy':>12}")
    for row in rows:
        verdict = "" if row.passed else "  falls short"
        print(
            f"{row.kind:6} {row.model:8}  {row.agreement:10.4f}  {row.difference:16.6f}  {row.accuracy:12.4f}{verdict}"
        )
    print(f"{PICTURES} pictures each, colour of {SIZE}x{SIZE}, grey of 8x8 by --rgb-input; mediapipe {version}")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
