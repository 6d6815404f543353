"""What `pocketlens teach` reaches: six classes trained from 30 pictures each, four taught from 5 pictures each.

    python -m benchmarks.teaching cifar-10-images --seed 0 [--pictures 300] [--judge train] [OPTIONS OF TRAIN]

The folder has `train/` and `test/` with ten classes of pictures. The first six classes by name are trained, the others
taught to the int8 file. 2,000 pictures judge it, evenly of all classes: of `test/`; or, with `--judge train`, others of
`train/`, for choosing settings.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime import Classifier

TRAINED, TAUGHT = 30, 5
JUDGES = 2000
_TRAIN = ("--arch", "efficientnet_lite0", "--weights", "bundled", "--image-size", "160")


def pocketlens(*words: object) -> None:
    """Run a command; an error ends the measurement."""
    subprocess.run([sys.executable, "-m", "runtime.cli.main", *map(str, words)], check=True)


def chosen(folder: Path, count: int, seed: int, skipped: int = 0) -> list[Path]:
    """Some pictures of a folder, of a seeded order."""
    files = sorted(folder.iterdir())
    random.Random(f"{seed} {folder.name}").shuffle(files)
    return files[skipped : skipped + count]


def answers(model: Path, pictures: Sequence[Path]) -> list[str]:
    """The first label for each picture."""
    with Classifier(model) as classifier:
        return [found[0].label for found in classifier.classify_batch(pictures, top=1)]  # type: ignore[index]


def measure(
    root: Path, work: Path, seed: int, trained: int, judge: str, options: Sequence[str] = ()
) -> tuple[float, float]:
    """Train, export, teach, and print the recall of each class before and after.

    Returns:
        what the trained classes lose, in points, and the mean recall of the taught ones.
    """
    classes = sorted(path.name for path in (root / "train").iterdir())
    old, new = classes[:6], classes[6:]
    skipped = trained + 10 if judge == "train" else 0
    judges = {name: chosen(root / judge / name, JUDGES // len(classes), seed, skipped) for name in classes}
    for name in old:
        for part, files in (("train", chosen(root / "train" / name, trained, seed)), ("test", judges[name])):
            target = work / "pictures" / part / name
            target.mkdir(parents=True)
            for file in files:
                shutil.copy(file, target)
    started = time.perf_counter()
    pocketlens("train", "--dataset", work / "pictures", *_TRAIN, "--seed", seed, *options, "--out", work / "run")
    minutes = (time.perf_counter() - started) / 60
    pocketlens("export", work / "run", "--out", work / "models", "--embedding", "--max-drop", "0.05")
    model = work / "models" / "int8.tflite"
    before = {name: answers(model, judges[name]) for name in old}
    seconds = []
    for name in new:
        files = chosen(root / "train" / name, TAUGHT, seed)
        started = time.perf_counter()
        pocketlens("teach", name, *files, "--model", model, "--out", work / "taught.tflite")
        seconds.append(time.perf_counter() - started)
        model = work / "taught.tflite"
    after = {name: answers(model, judges[name]) for name in classes}
    recall = {name: after[name].count(name) / len(after[name]) for name in classes}
    first = {name: before[name].count(name) / len(before[name]) for name in old}
    for name in classes:
        print(f"{name:12} {f'{first[name]:.3f} ->' if name in old else 'taught  '} {recall[name]:.3f}")
    lost = 100 * float(np.mean([first[name] - recall[name] for name in old]))
    won = float(np.mean([recall[name] for name in new]))
    print(f"trained in {minutes:.1f} min; old classes {np.mean([*first.values()]):.4f}")
    print(f"old classes lose {lost:.2f} points")
    print(f"new classes {won:.4f}; taught in {max(seconds):.2f} s each at most")
    return lost, won


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=TRAINED, help="of each class that is trained")
    parser.add_argument("--judge", choices=("test", "train"), default="test")
    parser.add_argument("--work", type=Path, help="keep what is made in this new folder")
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(given.folder, given.work or Path(scratch), given.seed, given.pictures, given.judge, options)


if __name__ == "__main__":
    main()
