"""Builds sealed models of different shapes with the project's own trainer and exporter, without training them.

The checks that refuse a damaged file do not depend on the weights, so all but the biases stay at their initial values.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

#: Those that are changed and sealed again: the kinds of networks and of files that `pocketlens export` makes.
RESEALED = ("digits-int8", "digits-float32", "readings", "mobilenet", "digits-int16x8")
MODELS = ("digits-int8", "digits-float32", "dense", "colour-cnn", "large-dense", *RESEALED[2:])


def make_models(folder: Path) -> dict[str, Path]:
    """The path of each model, by name. They are built once, in a new process: this one must not import TensorFlow."""
    paths = {name: folder / f"{name}.tflite" for name in MODELS}
    if not all(path.exists() for path in paths.values()):
        subprocess.run([sys.executable, "-m", "fuzz.build_models", str(folder)], check=True)
    return paths


def _main(folder: Path) -> None:
    from runtime.native_output import quiet_tensorflow

    quiet_tensorflow()
    import keras
    import numpy as np

    from exporter.converter import convert
    from exporter.recipe import Recipe
    from runtime import Contract, FeaturesInput, ImageInput, seal
    from trainer.config import TrainingConfig
    from trainer.models.factory import build_model

    digits = ImageInput(8, 8, "grey", mean=(73,), std=(90,))
    colour = ImageInput(96, 96, "rgb", mean=(128,) * 3, std=(64,) * 3)
    small = ImageInput(32, 32, "rgb", mean=(128,) * 3, std=(127.5,) * 3)
    readings = FeaturesInput(tuple(f"reading {n}" for n in range(12)))
    mobilenet = TrainingConfig(architecture="mobilenet_v2", weights="none", alpha=0.35)
    dense = TrainingConfig(architecture="dense", units=(64, 32))
    large = TrainingConfig(architecture="dense", units=(320,))
    plans: tuple[tuple[Any, TrainingConfig, Recipe], ...] = (
        (digits, TrainingConfig(), Recipe.int8()),
        (digits, TrainingConfig(), Recipe.float32()),
        (ImageInput(28, 28, "grey"), dense, Recipe.int8()),
        (colour, TrainingConfig(), Recipe.int8()),
        (ImageInput(28, 28, "grey"), large, Recipe.float32()),
        (readings, dense, Recipe.int8()),
        (small, mobilenet, Recipe.int8()),
        (digits, TrainingConfig(), Recipe.int16x8()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, (spec, training, recipe) in zip(MODELS, plans, strict=True):
        keras.utils.set_random_seed(0)
        contract = Contract(tuple("0123456789"), spec)
        network = build_model(training, spec.shape, len(contract.labels))
        for weight in network.weights:
            if weight.name == "bias":  # as if trained: the converter drops a bias of zeros
                weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
        inputs = keras.Input(batch_shape=(1, *spec.shape))
        rng = np.random.default_rng(0)
        samples: Any = rng.integers(0, 256, (50, *spec.shape), dtype=np.uint8)
        if spec.kind == "features":
            samples = rng.standard_normal((50, *spec.shape))
        flatbuffer = convert(keras.Model(inputs, network(inputs)), recipe, contract, samples)
        partial = folder / f"{name}.partial"
        partial.write_bytes(seal(flatbuffer, contract))
        partial.replace(folder / f"{name}.tflite")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
