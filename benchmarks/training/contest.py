"""Trains one contestant in this process: `python -m benchmarks.training.contest NAME SECONDS SEED`; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from runtime.native_output import quiet_tensorflow

#: Our contestants: the settings of each, by name.
OURS: dict[str, dict[str, Any]] = {
    "dense": {"architecture": "dense"},
    "cnn tiny": {"architecture": "cnn", "size": "tiny"},
    "cnn small": {"architecture": "cnn", "size": "small"},
    "cnn base": {"architecture": "cnn", "size": "base"},
}
LESSON = "lesson"


def lesson(seed: int) -> dict[str, Any]:
    """Time ten epochs of the lesson's network."""
    from benchmarks.training import lesson as its_code
    from trainer.data import Geometry, load_dataset
    from trainer.data.sources import ArraySource

    data = load_dataset("fashion-mnist", Geometry())
    train, test = data.given["train"], data.given["test"]
    assert isinstance(data.source, ArraySource)
    images, targets = data.source.images, data.targets
    wall, processor = time.perf_counter(), time.process_time()
    model = its_code.train(images[train], targets[train], seed)
    spent = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return spent | {
        "accuracy": its_code.accuracy(model, images[test], targets[test]),
        "epochs": its_code.EPOCHS,
        "steps": 18_750,
    }


def ours(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train a preset within a number of seconds, which include measuring the time of a step."""
    from trainer.data import Geometry, load_dataset
    from trainer.presets import complete_config
    from trainer.time_budget import fit_to_time
    from trainer.training import train

    data = load_dataset("fashion-mnist", Geometry())
    wall, processor = time.perf_counter(), time.process_time()
    preset = complete_config(OURS[name] | {"seed": seed}, "fast", len(data.targets), data.augmentation)
    config = fit_to_time(data, preset, seconds)
    run = train(data, config)  # also scores the test split, which the lesson's time excludes
    spent = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    steps = config.epochs * config.steps_per_epoch
    return spent | {"accuracy": run.metrics.accuracy, "epochs": config.epochs, "steps": steps}


def main() -> None:
    """Train, and print one JSON object."""
    name, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    quiet_tensorflow()
    print(json.dumps(lesson(seed) if name == LESSON else ours(name, seconds, seed)))


if __name__ == "__main__":
    main()
