"""`export --embedding`: the same scores, the embedding beside them, and what a class is taught with."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from exporter.artifacts.c_source import C_FILES
from exporter.embedding import EMBEDDING, with_embedding
from exporter.errors import ExportError
from exporter.recipe import MODES, ExportConfig
from runtime import Classifier, read_model
from runtime.interpreter import build
from runtime.selftest.runner import run_selftest
from runtime.teaching.format import MAX_TEACHING_BYTES, REHEARSAL_NAME, read_rehearsal
from runtime.tflite.model import check_structure
from tests.support.commands import call_pocketlens, succeed
from tests.support.exports import Exported
from trainer.data.run_folder import read_run


@pytest.fixture(scope="module")
def exported(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every mode of the digits, with its embedding; C++ source of float16."""
    out = tmp_path_factory.mktemp("embedding") / "models"
    modes = [word for mode in MODES for word in ("--mode", mode)]
    result = succeed(call_pocketlens("export", digits_run, "--out", out, "--embedding", "--c-array", *modes))
    assert "--embedding" in json.loads((out / "report.json").read_text())["command"]
    assert "failed" not in result.stdout
    return out


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_scores_are_exactly_those_without_it(
    exported: Path, digits_export: Exported, digits_run: Path, name: str
) -> None:
    run = read_run(digits_run)
    with Classifier(exported / f"{name}.tflite") as new, Classifier(digits_export.folder / f"{name}.tflite") as old:
        assert new.contract.confidence == old.contract.confidence
        assert new.output._replace(index=0, name="") == old.output._replace(index=0, name="")
        for index in run.splits["test"]:
            image = run.source.sample(int(index))
            assert new.run(image).tobytes() == old.run(image).tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_the_embedding_behind_the_scores(exported: Path, digits_run: Path, mode: str) -> None:
    path = exported / f"{mode}.tflite"
    file = read_model(path)
    assert file.contract.embedding == EMBEDDING
    structure = check_structure(file.content)
    assert [tensor.name == EMBEDDING for tensor in structure.outputs] == [False, True]
    assert structure.strange == "", "the second output is no reason to try the model"
    run = read_run(digits_run)
    picture = run.source.sample(int(run.splits["test"][0]))
    with Classifier(path) as classifier, Classifier(exported / "float32.tflite") as reference:
        found, wanted = classifier.embed(picture), reference.embed(picture)
        assert found.shape == (structure.outputs[1].shape[-1],)
        assert found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted) > 0.98
    assert run_selftest(path).passed


def test_the_embedding_is_what_the_last_dense_layer_takes(exported: Path, digits_run: Path) -> None:
    run = read_run(digits_run)
    model = keras.models.load_model(run.model_path)
    kernel, bias = (np.asarray(weight) for weight in model.layers[-1].weights)
    with Classifier(exported / "float32.tflite") as classifier:
        for index in run.splits["test"][:10]:
            image = run.source.sample(int(index))
            logits = classifier.embed(image) @ kernel + bias
            scores = np.exp(logits - logits.max())
            assert classifier.interpret(classifier.run(image), calibrated=False) == pytest.approx(
                scores / scores.sum(), abs=1e-4
            )


def test_outputs_are_found_in_any_order(exported: Path) -> None:
    file = read_model(exported / "int8.tflite")

    class Swapped:
        def __init__(self) -> None:
            self._engine = build(file.content)

        def __getattr__(self, name: str) -> object:
            return getattr(self._engine, name)

        def get_output_details(self) -> object:
            return self._engine.get_output_details()[::-1]

    usual = Classifier(file.content)
    swapped = Classifier.from_interpreter(file.contract, Swapped)  # type: ignore[arg-type]
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    assert swapped.scores(image).tolist() == usual.scores(image).tolist()
    assert swapped.embed(image).tolist() == usual.embed(image).tolist()


def test_the_rehearsal_keeps_validation_images_and_is_bounded(exported: Path, digits_run: Path) -> None:
    run = read_run(digits_run)
    for name in ("float32", "int8"):
        file = read_model(exported / f"{name}.tflite")
        found = read_rehearsal(file)
        assert len(found.counts) == 10
        assert max(found.counts) <= 50
        assert sum(found.counts) <= len(run.splits["train"])
        assert found.held_out
        assert len(found.targets) == len(run.splits["validation"])
        assert len(file.member(REHEARSAL_NAME, MAX_TEACHING_BYTES) or b"") < 200_000
        assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx(1, abs=1e-2)
        nearest = (found.embeddings @ found.prototypes.T).argmax(axis=1)
        assert (nearest == found.targets).mean() > 0.95
    assert read_model(exported / "int8.tflite").member(REHEARSAL_NAME, MAX_TEACHING_BYTES) != read_model(
        exported / "float32.tflite"
    ).member(REHEARSAL_NAME, MAX_TEACHING_BYTES), "each file computes its own"


def test_c_source_reads_the_scores_from_the_first_output(exported: Path, digits_export: Exported) -> None:
    assert {*C_FILES} <= {path.name for path in exported.iterdir()}
    assert "model_embedding_" in (exported / "model_data.h").read_text()


def test_it_finds_the_layer_in_models_within_models() -> None:
    inputs = keras.Input((4,))
    inner = keras.Model(inputs, layers.Dense(3)(layers.Dense(5, activation="relu")(inputs)), name="inner")
    outer_inputs = keras.Input(batch_shape=(1, 4))
    outer = keras.Model(outer_inputs, layers.Softmax()(inner(outer_inputs)))
    both = with_embedding(outer, "nested")
    assert [tuple(tensor.shape) for tensor in both.outputs] == [(1, 3), (1, 5)]
    sample = np.ones((1, 4), np.float32)
    assert np.allclose(both(sample)[0], outer(sample))


@pytest.mark.parametrize("kind", ["convolution", "direct"])
def test_a_network_without_such_a_layer_is_refused(kind: str) -> None:
    if kind == "direct":
        inputs = keras.Input(batch_shape=(1, 4))
        outputs = layers.Dense(3, activation="softmax")(inputs)
    else:
        inputs = keras.Input(batch_shape=(1, 4, 4, 1))
        outputs = layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(inputs)))
    with pytest.raises(ExportError, match="own: no embedding: its scores do not come from a dense layer behind other"):
        with_embedding(keras.Model(inputs, outputs), "own")


def test_an_embedding_that_is_too_long_is_refused() -> None:
    inputs = keras.Input(batch_shape=(1, 64, 64, 3))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(inputs)))
    with pytest.raises(ExportError, match=r"takes 12,288 values, expected 2 to 8,192"):
        with_embedding(model, "own")


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_another_task_is_refused_before_anything_is_made(task: str) -> None:
    with pytest.raises(
        ExportError, match=rf"`embedding` is for the task multiclass, .* this model has the task {task}"
    ):
        ExportConfig(embedding=True).check_task(task)
