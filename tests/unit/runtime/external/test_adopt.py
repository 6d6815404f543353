"""Models that Pocketlens did not make: their contract, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, Contract, ContractError, ImageInput, ModelFileError, PocketlensError, read_model, seal
from runtime.diagnostics import TINY_MODEL
from runtime.external.labels import parse_labels, read_labels
from runtime.interpreter import installed
from tests.support.commands import run_pocketlens, succeed
from tests.support.external_models import LABELS, changed, converted

ROOT = Path(__file__).parents[4]
PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
SCALING: dict[str, Any] = {"mean": 127.5, "std": 127.5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(converted())
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n\n")
    return path


def test_labels_and_preprocessing_make_a_classifier(model: Path) -> None:
    classifier = Classifier(model, labels=model.with_name("labels.txt"), resize="pad", **SCALING)
    spec = ImageInput(8, 8, "rgb", "pad", mean=(127.5,) * 3, std=(127.5,) * 3)
    assert classifier.contract == Contract(LABELS, spec)
    ours = Classifier(seal(converted(), classifier.contract))
    np.testing.assert_array_equal(classifier.scores(PICTURE), ours.scores(PICTURE))
    assert classifier.classify(PICTURE) == ours.classify(PICTURE)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_pixels_go_into_a_quantized_input_as_they_are(kind: str) -> None:
    classifier = Classifier(converted(kind), labels=LABELS)
    stored = classifier.preprocessor(PICTURE)[0]
    np.testing.assert_array_equal(stored.astype(int) + (128 if kind == "int8" else 0), PICTURE)
    assert sum(classifier.scores(PICTURE)) == pytest.approx(1, abs=0.02)


def test_one_output_and_two_labels_are_binary() -> None:
    classifier = Classifier(converted(outputs=1), labels=["no", "yes"], **SCALING)
    assert classifier.contract.task == "binary"
    assert sum(classifier.scores(PICTURE)) == pytest.approx(1)


def test_a_pickle_needs_the_files_no_more(model: Path) -> None:
    labels = model.with_name("labels.txt")
    classifier = Classifier(model, labels=str(labels), **SCALING)
    wanted = classifier.classify(PICTURE)
    labels.unlink()
    model.unlink()
    assert pickle.loads(pickle.dumps(classifier)).classify(PICTURE) == wanted


FORK = """
import os, sys, numpy as np
from runtime import Classifier
classifier = Classifier(sys.argv[1], labels=["a", "b", "c"], mean=0, std=255)
picture = np.full((8, 8, 3), 99, np.uint8)
wanted = classifier.classify(picture)
child = os.fork()
if child == 0:
    os._exit(0 if classifier.classify(picture) == wanted else 9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_answers_the_same(model: Path) -> None:
    # In a process of its own: this one has TensorFlow's threads, which do not survive a fork.
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(model)], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_an_input_without_an_axis_of_channels_is_a_grey_image(kind: str) -> None:
    scaling: dict[str, Any] = SCALING if kind == "float32" else {}
    classifier = Classifier(converted(kind, (28, 28)), labels=LABELS, **scaling)
    assert classifier.input.shape == (1, 28, 28)
    assert classifier.contract.input.shape == (28, 28, 1)
    picture = np.random.default_rng(3).integers(0, 256, (28, 28), dtype=np.uint8)
    given: Any = ((picture - 127.5) / 127.5).astype(np.float32) if kind == "float32" else picture
    wanted = classifier.run_tensor(given[np.newaxis])
    np.testing.assert_array_equal(classifier.run(picture), wanted)
    assert pickle.loads(pickle.dumps(classifier)).classify(picture) == classifier.classify(picture)
    with pytest.raises(ContractError, match="'rgb' of 3 channels, the model's input has 1"):
        Classifier(converted(kind, (28, 28)), labels=LABELS, colour="rgb", **scaling)


def test_filter_and_orientation_are_obeyed_and_shown(model: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(4).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    labels = model.with_name("labels.txt")
    fields: dict[str, Any] = {"filter": "tf-bilinear", "orientation": "ignore"}
    classifier = Classifier(model, labels=labels, **fields, **SCALING)
    np.testing.assert_array_equal(classifier.scores(tmp_path / "photo.png"), classifier.scores(pixels))
    options = ["--labels", labels, "--mean", "127.5", "--std", "127.5"]
    options += ["--filter", "tf-bilinear", "--orientation", "ignore"]
    done = succeed(run_pocketlens("classify", "--json", "--model", model, *options, "photo.png", cwd=tmp_path))
    expected = [prediction.as_dict() for prediction in classifier.classify(pixels)]
    assert json.loads(done.stdout)["predictions"] == expected
    shown = succeed(run_pocketlens("info", *options, model, cwd=tmp_path)).stdout
    assert "8 x 8 rgb, stretch, tf-bilinear filter, EXIF orientation ignored" in shown


def test_a_contract_says_it_all(model: Path) -> None:
    contract = Contract(LABELS, ImageInput(8, 8))
    assert Classifier(model, contract=contract).contract == contract
    with pytest.raises(TypeError, match="leave out mean"):
        Classifier(model, contract=contract, mean=0)
    with pytest.raises(ModelFileError, match="input of shape"):
        Classifier(model, contract=Contract(LABELS, ImageInput(9, 9)))


def test_a_model_of_ours_takes_no_options() -> None:
    ours = seal(converted(), Contract(LABELS, ImageInput(8, 8)))
    with pytest.raises(ContractError, match="leave out `labels`, `mean`"):
        Classifier(ours, labels=LABELS, mean=0)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match="'color'"):
        Classifier(converted(), color="rgb")  # type: ignore[call-arg]
    ours = seal(converted(), Contract(LABELS, ImageInput(8, 8)))
    with pytest.raises(TypeError, match="'thread'"):
        Classifier(ours, thread=2)  # type: ignore[call-arg]


def grey_first(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [1, 3, 8, 8]


def no_quantization(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].quantization = None


def two_inputs(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.inputs = [graph.inputs[0], graph.inputs[0]]


def varying(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [1, 1, 1, 3]
    graph.tensors[graph.inputs[0]].shapeSignature = [-1, -1, -1, 3]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (converted, {}, r"give `labels` and `mean` and `std` .*metadata"),
        (converted, {"labels": LABELS}, "give `mean` and `std`"),
        (converted, {"labels": LABELS, "mean": 1}, "give `std`"),
        (lambda: converted("uint8"), {}, "give `labels`, or"),
        (converted, {"labels": LABELS[1:], **SCALING}, '2 labels for 3 outputs.*put "background"'),
        (converted, {"labels": ["background", *LABELS], **SCALING}, "4 labels for 3 outputs.*is the first, 'backg"),
        (converted, {"labels": "missing.txt", **SCALING}, "missing.txt: cannot be opened"),
        (converted, {"labels": LABELS, "colour": "grey", **SCALING}, "'grey' of 1 channels.* has 3"),
        (converted, {"labels": LABELS, "colour": "pink", **SCALING}, "colour is 'pink'"),
        (converted, {"labels": LABELS, "mean": [1, 2], "std": 1}, "input mean is .*3 numbers"),
        (converted, {"labels": LABELS, "mean": "a", "std": 1}, "input mean is"),
        (converted, {"labels": LABELS, "mean": 0, "std": 0}, "input std is"),
        (lambda: changed(converted(), grey_first), {"labels": LABELS}, "channels must be last"),
        (lambda: changed(converted(), two_inputs), {"labels": LABELS}, "has 2 inputs"),
        (lambda: changed(converted(), varying), {"labels": LABELS}, "vary.*fixed size"),
        (lambda: changed(converted("uint8"), no_quantization), {"labels": LABELS}, "no quantization scale"),
        (lambda: TINY_MODEL.read_bytes(), {"labels": ["a", "b"]}, "height x width"),
        (lambda: converted()[:2000], {"labels": LABELS}, "damaged, or no TensorFlow Lite model"),
        (lambda: b"hello", {"labels": LABELS}, "not a TensorFlow Lite model"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(
    content: Callable[[], bytes], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PocketlensError, match=message) as caught:
        Classifier(content(), **options)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_of_ours_is_never_taken_for_a_foreign_one() -> None:
    ours = seal(converted(), Contract(LABELS, ImageInput(8, 8)))
    begin = len(read_model(ours).flatbuffer)
    for position in range(begin, len(ours)):
        damaged = bytearray(ours)
        damaged[position] ^= 0x20
        with pytest.raises(ModelFileError):
            Classifier(bytes(damaged), labels=LABELS, **SCALING)
    # A file that ends with the FlatBuffer, or within three bytes after it, has no trace of ours.
    for length in range(begin + 4, len(ours)):
        with pytest.raises(ModelFileError):
            Classifier(ours[:length], labels=LABELS, **SCALING)
    for length in (begin, begin + 3):
        with pytest.raises(ModelFileError, match="or cut off"):
            Classifier(ours[:length])


def test_labels_files(tmp_path: Path) -> None:
    assert parse_labels("\ufeffcat\r\n0 dog\r\nGroße Eule\n\n \n".encode(), "l") == ("cat", "0 dog", "Große Eule")
    assert parse_labels(b"crane\ncrane\ncrane (2)\ncrane", "l") == ("crane", "crane (3)", "crane (2)", "crane (4)")
    assert read_labels(["a", "a"]) == ("a", "a (2)")
    for content, message in ((b"a\n\nb\n", "label 2 is blank"), (b"a\n\xff\n", "not UTF-8 at byte 2")):
        with pytest.raises(ContractError, match=message):
            parse_labels(content, "labels.txt")
    with pytest.raises(ContractError, match="expected at most"):
        parse_labels(b"a\n" * 20_000, "labels.txt")
    with pytest.raises(ContractError, match="regular file"):
        read_labels(tmp_path)


MUTANTS = """
import json, sys, numpy as np
from collections import Counter
from runtime import Classifier, PocketlensError
content = open(sys.argv[1], "rb").read()
rng, found = np.random.default_rng(4), Counter()
picture = np.zeros((8, 8, 3), np.uint8)
for number in range(300):
    mutant = bytearray(content)
    place = int(rng.integers(len(content)))
    if number % 3 == 0:
        mutant[place] ^= 1 << int(rng.integers(8))
    elif number % 3 == 1:
        mutant[place : place + 32] = bytes(len(mutant[place : place + 32]))
    else:
        del mutant[place:]
    try:
        # Each that passes the structure costs a process: twelve of them here, the rest is for `make fuzz`.
        if found["tried"] < 12:
            Classifier(bytes(mutant), labels=["a", "b", "c"], mean=0, std=1).classify(picture)
            found["tried"] += 1
        else:
            from runtime.tflite.model import check_structure
            check_structure(bytes(mutant))
            found["passed"] += 1
    except PocketlensError as error:
        found["tried"] += "tried" in str(error)
        found["refused"] += 1
print(json.dumps(found))
"""


def test_mutants_never_end_the_users_process(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MUTANTS, str(model)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["refused"] > 100
    assert found["tried"] == 12


def test_a_sealed_model_that_is_known_loads_none_of_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "ours.tflite"
    path.write_bytes(seal(converted(), Contract(LABELS, ImageInput(8, 8))))
    code = f"import sys; from runtime import Classifier; Classifier({str(path)!r}); print(*sys.modules)"
    for _ in range(2):  # the first start checks it
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("runtime.")}
    assert "runtime.classifier" in ours
    assert not {name for name in ours if name.startswith(("runtime.external", "runtime.tflite"))}


def test_info_shows_what_is_missing_then_what_was_assembled(model: Path) -> None:
    shown = json.loads(succeed(run_pocketlens("info", "--json", model)).stdout)
    assert shown["missing"] == ["labels (--labels FILE)", "mean (--mean N)", "std (--std N)"]
    assert [text.split()[0] for text in shown["operators"]] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    options = ("--labels", model.with_name("labels.txt"), "--mean", "127.5", "--std", "58.4,57.1,57.4")
    text = succeed(run_pocketlens("info", *options, model)).stdout
    assert "(pixel - [127.5, 127.5, 127.5]) / [58.4, 57.1, 57.4]" in text
    assert "3 labels: cat, dog, owl" in text
    assert "not made by Pocketlens" in text
    refused = run_pocketlens("info", "--mean", "1,2", model)
    assert refused.returncode == 2
    assert "three between commas" in refused.stderr


def test_bench_takes_the_same_options(model: Path) -> None:
    options = ("--labels", "labels.txt", "--mean", 0, "--std", 255, "--rounds", 3, "--max-threads", 1, "--json")
    found = json.loads(succeed(run_pocketlens("bench", *options, model.name, cwd=model.parent)).stdout)
    assert all("error" not in row for row in found["results"])


@pytest.mark.skipif("tflite_runtime" not in installed(), reason="ai-edge-litert knows this version")
def test_doctor_runs_it_and_names_operators_that_are_too_new(model: Path) -> None:
    def newer(content: Any) -> None:
        content.operatorCodes[0].version = 8

    model.write_bytes(changed(converted(), newer))
    result = run_pocketlens("doctor", model)
    assert result.returncode == 1
    assert "CONV_2D version 8: tflite-runtime 2.14.0 knows it up to 7" in result.stdout
    assert "model on tflite-runtime: tflite-runtime refuses the model: it lacks an operator" in result.stdout


def test_a_picture_file_is_read_like_any_other(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(PICTURE).save(path)
    classifier = Classifier(model, labels=LABELS, **SCALING)
    assert classifier.classify(path) == classifier.classify(PICTURE)
