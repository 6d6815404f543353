from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime import (
    Classifier,
    Contract,
    ImageError,
    ImageInput,
    InterpreterError,
    ModelFileError,
    Prediction,
    read_model,
    seal,
)
from runtime.interpreter import build
from tests.conftest import Exported, Samples, run_pocketlens, succeed


@pytest.fixture(scope="module")
def all_models(digits_run: Path, digits_export: Exported) -> dict[str, Path]:
    """The digits model as float32, and as int8 with each type of input and output."""
    models = {"float32": digits_export.float32, "uint8": digits_export.int8}
    for io_type in ("int8", "float32"):
        folder = digits_run.parent / f"io-{io_type}"
        succeed(run_pocketlens("export", digits_run, "--out", folder, "--io", io_type))
        models[f"int8 with {io_type}"] = folder / "int8.tflite"
    return models


def test_the_same_call_for_every_type(all_models: dict[str, Path], digits_samples: Samples) -> None:
    for name, path in all_models.items():
        classifier = Classifier(path)
        answers = [classifier.classify(image)[0] for image in digits_samples.arrays]
        right = sum(answer.label == str(target) for answer, target in zip(answers, digits_samples.targets, strict=True))
        assert right >= 38, name
        for image in digits_samples.arrays:
            scores = classifier.scores(image)
            assert scores.dtype == np.float32
            assert scores.shape == (10,)
            assert scores.sum() == pytest.approx(1, abs=0.03), name


def test_quantized_models_agree_whatever_their_tensors_are(
    all_models: dict[str, Path], digits_samples: Samples
) -> None:
    classifiers = {name: Classifier(path) for name, path in all_models.items() if name != "float32"}
    assert {c.input.dtype.name for c in classifiers.values()} == {"uint8", "int8", "float32"}
    for image in digits_samples.arrays:
        first, *others = (classifier.scores(image) for classifier in classifiers.values())
        for scores in others:
            np.testing.assert_allclose(scores, first, atol=1e-6)


def test_scores_are_what_the_bare_interpreter_gives(digits_export: Exported, digits_samples: Samples) -> None:
    interpreter = build(digits_export.int8.read_bytes())
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = answer["quantization"]
    classifier = Classifier(digits_export.int8)
    for image in digits_samples.arrays:
        # The raw pixels: the exporter arranged the input so that nothing has to be computed on the way in.
        interpreter.set_tensor(given["index"], image.reshape(1, 8, 8, 1))
        interpreter.invoke()
        stored = interpreter.get_tensor(answer["index"])[0]
        np.testing.assert_array_equal(
            classifier.scores(image), (stored.astype(np.float32) - zero_point) * np.float32(scale)
        )


def test_answers_are_ranked_and_labelled(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.float32)
    answers = classifier.classify(digits_samples.arrays[0], top=10)
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    assert {a.label for a in answers} == set(classifier.contract.labels)
    assert all(classifier.contract.labels[a.index] == a.label for a in answers)
    assert isinstance(answers[0], Prediction)
    assert answers[0].as_dict() == {"label": answers[0].label, "score": answers[0].score, "index": answers[0].index}
    assert len(classifier.classify(digits_samples.arrays[0])) == 3
    assert len(classifier.classify(digits_samples.arrays[0], top=99)) == 10


def test_a_batch_is_each_image_in_order(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.int8)
    batch = list(classifier.classify_batch(digits_samples.files, top=1))
    assert batch == [classifier.classify(array, top=1) for array in digits_samples.arrays]


def test_the_file_is_in_memory_once_loaded(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(digits_export.int8.read_bytes())
    classifier = Classifier(path)
    before = classifier.scores(digits_samples.arrays[0])
    path.write_bytes(bytes(path.stat().st_size))
    np.testing.assert_array_equal(classifier.scores(digits_samples.arrays[0]), before)


def test_threads_get_the_answers_that_one_gets(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.float32)
    expected = [classifier.scores(image) for image in digits_samples.arrays]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for got, wanted in zip(pool.map(classifier.scores, digits_samples.arrays), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_a_model_that_its_contract_does_not_describe_is_refused(digits_export: Exported) -> None:
    file = read_model(digits_export.int8)
    fewer = replace(file.contract, labels=file.contract.labels[:9])
    with pytest.raises(ModelFileError, match="9 labels"):
        Classifier(seal(file.flatbuffer, fewer))
    larger = replace(file.contract, input=replace(file.contract.input, height=9))
    with pytest.raises(ModelFileError, match="input of shape"):
        Classifier(io.BytesIO(seal(file.flatbuffer, larger)))


def test_bad_arguments(digits_export: Exported, digits_samples: Samples) -> None:
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match="num_threads"):
            Classifier(digits_export.int8, num_threads=threads)  # type: ignore[arg-type]
    classifier = Classifier(digits_export.int8, num_threads=2)
    with pytest.raises(ValueError, match="top"):
        classifier.classify(digits_samples.arrays[0], top=0)
    with pytest.raises(ImageError):
        classifier.classify("missing.png")


def test_scores_that_are_no_numbers_are_an_error(digits_run: Path, tmp_path: Path) -> None:
    from exporter.conversion import convert, load_model
    from exporter.recipes import Recipe
    from exporter.run import read_run

    run = read_run(digits_run)
    model = load_model(run.model_path, run.contract)
    weights = model.get_weights()
    weights[-1][:] = np.nan
    model.set_weights(weights)
    content = seal(convert(model, Recipe.float32(), run.contract, np.zeros((1, 8, 8, 1), np.uint8)), run.contract)
    with pytest.raises(InterpreterError, match="NaN"):
        Classifier(content).scores(np.zeros((8, 8), np.uint8))


def test_a_model_that_no_interpreter_can_run_is_refused() -> None:
    contract = Contract(("a", "b"), ImageInput(8, 8))
    with pytest.raises(InterpreterError, match="refuses"):
        # A FlatBuffer of an empty table: valid, and no model.
        Classifier(seal(b"\x10\0\0\0TFL3\0\0\0\0\4\0\4\0\4\0\0\0", contract))
