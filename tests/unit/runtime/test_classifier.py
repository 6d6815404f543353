"""The classifier: one call for every kind of model, batches, threads, forks and pickles."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

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
from runtime.interpreter import LIBRARIES, build, choose, installed
from tests.support.commands import call_pocketlens
from tests.support.exports import Exported, Samples


def test_the_same_call_for_every_type(io_models: dict[str, Path], digits_samples: Samples) -> None:
    for name, path in io_models.items():
        classifier = Classifier(path)
        answers = [classifier.classify(image)[0] for image in digits_samples.arrays]
        right = sum(answer.label == str(target) for answer, target in zip(answers, digits_samples.targets, strict=True))
        assert right >= 36, name  # of forty
        for image in digits_samples.arrays:
            scores = classifier.scores(image)
            assert scores.dtype == np.float32
            assert scores.shape == (10,)
            assert scores.sum() == pytest.approx(1, abs=0.03), name


def test_quantized_models_agree_whatever_their_tensors_are(io_models: dict[str, Path], digits_samples: Samples) -> None:
    classifiers = {name: Classifier(path) for name, path in io_models.items() if name != "float32"}
    assert {c.input.dtype.name for c in classifiers.values()} == {"uint8", "int8", "float32"}
    for image in digits_samples.arrays:
        # Each has its own temperature, fitted to its scores.
        first, *others = (c.interpret(c.run(image), calibrated=False) for c in classifiers.values())
        for scores in others:
            np.testing.assert_allclose(scores, first, atol=1e-6)


def test_scores_are_what_the_bare_interpreter_gives(digits_export: Exported, digits_samples: Samples) -> None:
    interpreter = build(digits_export.int8.read_bytes())
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = answer["quantization"]
    classifier = Classifier(digits_export.int8)
    for image in digits_samples.arrays:
        # The raw pixels: the exporter chose the input's scale so that they need no arithmetic.
        interpreter.set_tensor(given["index"], image.reshape(1, 8, 8, 1))
        interpreter.invoke()
        stored = interpreter.get_tensor(answer["index"])[0]
        real = (stored.astype(np.float32) - zero_point) * np.float32(scale)
        np.testing.assert_array_equal(classifier.interpret(classifier.run(image), calibrated=False), real)
        assert classifier.scores(image).argmax() == real.argmax(), "a temperature turns no answer over"


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
    larger = replace(file.contract, input=replace(file.contract.image_input, height=9))
    with pytest.raises(ModelFileError, match="input of shape"):
        Classifier(io.BytesIO(seal(file.flatbuffer, larger)))


def test_answers_below_a_score_are_unknown(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.float32)
    image = digits_samples.arrays[1]
    best = classifier.classify(image)[0]
    assert classifier.classify(image, min_score=best.score) == [best]
    (answer,) = classifier.classify(image, min_score=best.score + 1e-6)
    assert answer == Prediction("unknown", best.score, -1)


def test_labels_can_be_allowed_and_denied(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.float32)
    image = digits_samples.arrays[1]
    scores = classifier.scores(image)
    allowed = classifier.classify(image, top=10, allow=["3", "8"])
    assert {a.label: a.score for a in allowed} == {"3": pytest.approx(scores[3]), "8": pytest.approx(scores[8])}
    best = classifier.classify(image)[0].label
    assert best not in {a.label for a in classifier.classify(image, top=10, deny=[best])}
    for options, reason in (
        ({"allow": ["ten"]}, "no label 'ten'"),
        ({"deny": ["ten"]}, "no label 'ten'"),
        ({"allow": ["3"], "deny": ["3"]}, "leave no label"),
    ):
        with pytest.raises(ValueError, match=reason):
            classifier.classify(image, **options)  # type: ignore[arg-type]


def test_a_batch_raises_or_gives_what_cannot_be_read(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.int8)
    images: list[Any] = [digits_samples.arrays[0], b"no image", digits_samples.arrays[1]]
    with pytest.raises(ImageError):
        list(classifier.classify_batch(images))
    first, error, last = classifier.classify_batch(images, return_errors=True, workers=1)
    assert isinstance(error, ImageError)
    assert (first, last) == (classifier.classify(images[0]), classifier.classify(images[2]))


def test_a_batch_checks_its_arguments_at_the_call(digits_export: Exported) -> None:
    classifier = Classifier(digits_export.int8)
    with pytest.raises(ValueError, match="workers"):
        classifier.classify_batch([], workers=0)
    with pytest.raises(ValueError, match="top"):
        classifier.classify_batch([], top=0)
    with pytest.raises(ValueError, match="no label 'ten'"):
        classifier.classify_batch([], deny=["ten"])
    with pytest.raises(TypeError, match="'topp'"):
        classifier.classify_batch([], topp=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a single image"):
        classifier.classify_batch("shoe.png")


@pytest.mark.parametrize("min_score", [2, -0.1, float("nan"), float("inf"), "0.6"])
def test_a_min_score_that_is_no_share_is_refused(digits_export: Exported, min_score: Any) -> None:
    classifier = Classifier(digits_export.int8)
    with pytest.raises(ValueError, match=r"min_score is .*expected a number from 0 to 1"):
        classifier.classify(np.zeros((8, 8), np.uint8), min_score=min_score)
    with pytest.raises(ValueError, match="min_score"):
        classifier.classify_batch([], min_score=min_score)


def test_a_text_is_no_list_of_labels(digits_export: Exported) -> None:
    classifier = Classifier(digits_export.int8)
    with pytest.raises(TypeError, match="allow is the text '12', expected a list"):
        classifier.classify(np.zeros((8, 8), np.uint8), allow="12")
    with pytest.raises(TypeError, match="deny is the text '1'"):
        classifier.classify(np.zeros((8, 8), np.uint8), deny="1")


def test_a_batch_takes_only_a_few_images_ahead(digits_export: Exported, digits_samples: Samples) -> None:
    taken = []

    def endless() -> Iterator[npt.NDArray[Any]]:
        while True:
            taken.append(1)
            yield digits_samples.arrays[0]

    batch = Classifier(digits_export.int8).classify_batch(endless(), workers=2)
    for _ in range(10):
        next(batch)
    assert len(taken) <= 15
    batch.close()  # type: ignore[attr-defined]


def test_leaving_the_context_lets_go_of_the_model(digits_export: Exported, digits_samples: Samples) -> None:
    with Classifier(digits_export.int8) as classifier:
        classifier.classify(digits_samples.arrays[0])
    with pytest.raises(InterpreterError, match="closed"):
        classifier.classify(digits_samples.arrays[0])
    with pytest.raises(InterpreterError, match="pickle"):
        pickle.dumps(classifier)


def test_a_pickle_carries_the_model(digits_export: Exported, digits_samples: Samples) -> None:
    classifier = Classifier(digits_export.int8, num_threads=2)
    copy = pickle.loads(pickle.dumps(classifier))
    for image in digits_samples.arrays[:5]:
        np.testing.assert_array_equal(copy.scores(image), classifier.scores(image))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_builds_its_own_interpreter(digits_export: Exported, digits_samples: Samples) -> None:
    # In a process of its own: this one has TensorFlow's threads, which do not survive a fork.
    code = """
import os, sys
import numpy as np
from PIL import Image
from runtime import Classifier
classifier = Classifier(sys.argv[1], num_threads=2)
image = np.asarray(Image.open(sys.argv[2]))
expected = classifier.classify(image)
for calls in (0, 1):  # a child that never calls has the parent's interpreter to the end
    child = os.fork()
    if child == 0:  # and ends as Python does, which destroys what it can
        sys.exit(0 if calls == 0 or classifier.classify(image) == expected else 3)
    assert classifier.classify(image) == expected
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"status {status} of the child with {calls} calls")
"""
    command = [sys.executable, "-c", code, str(digits_export.float32), str(digits_samples.files[0])]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_interpreter_can_be_named(digits_export: Exported, digits_samples: Samples) -> None:
    found = installed()
    for name in LIBRARIES:
        if name in found:
            assert Classifier(digits_export.int8, interpreter=name).classify(digits_samples.arrays[0])
        else:
            with pytest.raises(InterpreterError, match="not installed"):
                Classifier(digits_export.int8, interpreter=name)
    with pytest.raises(ValueError, match="onnx"):
        Classifier(digits_export.int8, interpreter="onnx")
    with pytest.raises(InterpreterError, match=r"libnone\.so"):
        Classifier(digits_export.int8, delegate="libnone.so")


@pytest.mark.parametrize("library", ["libnone.so", "libc.so.6"])
def test_a_delegate_that_cannot_be_loaded_leaves_no_traceback(digits_export: Exported, library: str) -> None:
    done = call_pocketlens("classify", "--model", digits_export.int8, "--delegate", library, "x.png")
    assert done.returncode == 1
    assert re.fullmatch(rf"error: delegate {library}: cannot be loaded: .*\n", done.stderr)


@pytest.mark.workstation
@pytest.mark.skipif(choose() != "tflite_runtime", reason="only tflite-runtime minds TensorFlow")
def test_tensorflow_imported_first_is_explained(digits_export: Exported) -> None:
    code = "import sys, tensorflow\nfrom runtime import Classifier\nClassifier(sys.argv[1])"
    command = [sys.executable, "-c", code, str(digits_export.int8)]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TensorFlow was imported before it in this process" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_other_tasks(task: str, mode: str, task_models: Path) -> None:
    classifier = Classifier(task_models / f"{task}-{mode}.tflite")
    white = np.full((4, 4), 255, np.uint8)
    probability = 1 / (1 + np.exp(-1.25))
    expected = [1 - probability, probability] if task == "binary" else [probability] * 3
    np.testing.assert_allclose(classifier.scores(white), expected, atol=0.01)
    assert classifier.classify(white)[0].label == ("yes" if task == "binary" else "a")


def test_bad_arguments(digits_export: Exported, digits_samples: Samples) -> None:
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match="num_threads"):
            Classifier(digits_export.int8, num_threads=threads)  # type: ignore[arg-type]
    classifier = Classifier(digits_export.int8, num_threads=2)
    with pytest.raises(ValueError, match="top"):
        classifier.classify(digits_samples.arrays[0], top=0)
    with pytest.raises(ImageError):
        classifier.classify("missing.png")


def test_scores_that_are_no_numbers_are_an_error(nan_model: Path) -> None:
    with pytest.raises(InterpreterError, match="NaN"):
        Classifier(nan_model).scores(np.zeros((8, 8), np.uint8))


def test_a_model_that_no_interpreter_can_run_is_refused() -> None:
    contract = Contract(("a", "b"), ImageInput(8, 8))
    # A FlatBuffer of an empty table: valid, and no model.
    empty = seal(b"\x10\0\0\0TFL3\0\0\0\0\4\0\4\0\4\0\0\0", contract)
    with pytest.raises(InterpreterError, match="refuses"):
        Classifier(empty, trusted=True)
    with pytest.raises(ModelFileError, match="its schema has version 0"):
        Classifier(empty)


def test_decoding_jpegs_at_reduced_scale_costs_no_accuracy(digits_export: Exported, digits_samples: Samples) -> None:
    # A camera's size, so that the decoder skips seven eighths of each side; a PIL image that is decoded already is not
    # decoded anew. `benchmarks` has the time that it saves.
    classifier = Classifier(digits_export.int8)
    reduced, full = [], []
    for number, pixels in enumerate(digits_samples.arrays):
        photo = Image.fromarray(pixels).resize((640, 480) if number % 2 else (480, 640), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=90)
        decoded = Image.open(io.BytesIO(buffer.getvalue()))
        decoded.load()
        reduced.append(classifier.classify(buffer.getvalue())[0].index)
        full.append(classifier.classify(decoded)[0].index)
    right = [int(target) for target in digits_samples.targets]
    hits = [sum(map(int.__eq__, answers, right)) for answers in (reduced, full)]
    assert hits[0] >= hits[1] - 1, "of forty digits, one may turn over"
    assert hits[1] >= 36
