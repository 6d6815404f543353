"""Models that only tests need, made with TensorFlow: other types of tensors, other tasks, broken weights."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime import Classifier, Contract, ImageInput, seal
from runtime.interpreter import build
from runtime.teaching.format import REHEARSAL_NAME
from tests.support.commands import run_pocketlens, succeed

#: Not 0: the converter leaves out a bias of zeros, and on ARM tflite-runtime 2.14 then dies of an int8 dense layer that
#: has fewer than 4 outputs or fewer than 8 inputs.
BIAS = 0.25


def export_with_io(run: Path, io: str, path: Path) -> None:
    """The int8 model of a run with another type of input and output tensor, as `pocketlens export --io` makes it."""
    from exporter.recipe import Recipe

    with tempfile.TemporaryDirectory() as folder:
        succeed(run_pocketlens("export", run, "--out", Path(folder, "models"), "--io", io))
        shutil.copy(Path(folder, "models", Recipe.int8(io).name + ".tflite"), path)


def with_nan_weights(run_folder: Path) -> bytes:
    """The float32 model of a run, one of its weights no number."""
    from exporter.converter import convert
    from exporter.keras_loading import load_model
    from exporter.recipe import Recipe
    from trainer.data.run_folder import read_run

    run = read_run(run_folder)
    model = load_model(run.model_path, run.contract)
    weights = model.get_weights()
    weights[-1][:] = np.nan
    model.set_weights(weights)
    pixels = np.zeros((1, *run.contract.input.shape), np.uint8)
    return seal(convert(model, Recipe.float32(), run.contract, pixels), run.contract)


def write_task_models(folder: Path) -> None:
    """{binary,multilabel}-{float32,int8}.tflite: each output is the sigmoid of BIAS + the mean pixel, 0 to 1."""
    import keras
    from keras import layers

    from exporter.converter import convert
    from exporter.recipe import Recipe

    pixels = np.repeat(np.arange(0, 256, 15, dtype=np.uint8), 16).reshape(-1, 4, 4, 1)
    for task, labels, outputs in (("binary", ("no", "yes"), 1), ("multilabel", ("a", "b", "c"), 3)):
        contract = Contract(labels, ImageInput(4, 4, "grey"), task)
        inputs = keras.Input(batch_shape=(1, 4, 4, 1))
        dense = layers.Dense(
            outputs, activation="sigmoid", kernel_initializer="ones", bias_initializer=keras.initializers.Constant(BIAS)
        )
        model = keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(inputs)))
        for recipe in (Recipe.float32(), Recipe.int8()):
            content = seal(convert(model, recipe, contract, pixels), contract)
            (folder / f"{task}-{recipe.mode}.tflite").write_bytes(content)


def write_embedding_models(folder: Path) -> None:
    """embedding-{float32,int8}.tflite: red, green or blue by the mean colour, which is the embedding.

    The exporter's own parts make them, with a rehearsal of twelve pictures a class.
    """
    import keras
    from keras import layers

    from exporter.artifacts.tflite_metadata import with_metadata
    from exporter.converter import convert
    from exporter.embedding import EMBEDDING, with_embedding
    from exporter.recipe import Recipe
    from exporter.rehearsal import rehearse

    contract = Contract(("red", "green", "blue"), ImageInput(8, 8, "rgb", std=(255.0,) * 3), embedding=EMBEDDING)
    inputs = keras.Input(batch_shape=(1, 8, 8, 3), name="image")
    dense = layers.Dense(
        3,
        activation="softmax",
        kernel_initializer=keras.initializers.Constant(20 * np.eye(3)),
        bias_initializer=keras.initializers.Constant(BIAS),
    )
    model = with_embedding(keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(inputs))), "colours")
    pictures = np.stack([colour_picture(colour, number) for number in range(12) for colour in np.eye(3)])
    pictures[0, 0, 0], pictures[0, 0, 1] = 0, 255
    for recipe in (Recipe.float32(), Recipe.int8()):
        flatbuffer = with_metadata(convert(model, recipe, contract, pictures), contract)
        classifier = Classifier.from_interpreter(contract, partial(build, flatbuffer))
        member = rehearse(classifier, pictures[:, np.newaxis], [*range(3)] * 12).to_json()
        path = folder / f"embedding-{recipe.mode}.tflite"
        path.write_bytes(seal(flatbuffer, contract, {REHEARSAL_NAME: member}))


def colour_picture(colour: npt.ArrayLike, number: int) -> npt.NDArray[np.uint8]:
    """A noisy picture of 8x8 pixels of a colour; each channel of `colour` from 0 to 1."""
    rng = np.random.default_rng(number)
    mean = 40 + 150 * np.asarray(colour) + rng.normal(0, 12, 3)
    picture: npt.NDArray[np.uint8] = np.clip(mean + rng.normal(0, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
    return picture
