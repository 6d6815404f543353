"""A person's own network with a wrong scaling, wrong labels, logits, or unusual shapes: mended, or not published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from runtime import Classifier
from tests.support.commands import call_pocketlens, succeed

#: Three classes of grey pictures, by their brightness from 0 to 1.
SHADES = {"dark": 0.2, "middle": 0.5, "white": 0.8}
SIDE = 16


def draw(folder: Path, label: str, seeds: range) -> None:
    folder.mkdir(parents=True)
    for seed in seeds:
        noise = np.random.default_rng(seed).normal(255 * SHADES[label], 12, (SIDE, SIDE))
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{seed}.png")


def network(
    *first: Any,
    activation: str | None = "softmax",
    shape: tuple[int, ...] = (SIDE, SIDE, 1),
    ends: Any = None,
    sharpness: int = 60,
) -> Any:
    """It takes values of 0 to 1, and is right without any training: the class with the nearest brightness wins."""
    inputs = keras.Input(shape)
    x = inputs
    for layer in first:
        x = layer(x)
    x = layers.Dense(3, activation=activation, name="nearest")(layers.Flatten()(x))
    model = keras.Model(inputs, x if ends is None else ends(x))
    centres = np.array([*SHADES.values()], np.float32)
    kernel = np.tile(2 * sharpness * centres / SIDE**2, (SIDE**2, 1))
    model.get_layer("nearest").set_weights([kernel, -sharpness * centres**2])
    return model


def one_unit(activation: str | None) -> Any:
    """Whether a picture is brighter than the middle."""
    inputs = keras.Input((SIDE, SIDE, 1))
    last = layers.Dense(1, activation=activation, name="bright")
    model = keras.Model(inputs, last(layers.GlobalAveragePooling2D()(inputs)))
    last.set_weights([np.full((1, 1), 30, np.float32), np.array([-15], np.float32)])
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shades")
    for number, label in enumerate(SHADES):
        draw(root / "train" / label, label, range(100 * number, 100 * number + 40))
        draw(root / "test" / label, label, range(100 * number + 50, 100 * number + 65))
    (root / "labels.txt").write_text("\n".join(SHADES))
    for name in ("train", "test"):
        for label in ("dark", "white"):
            shutil.copytree(root / name / label, root / f"two-{name}" / label)
    (root / "two.txt").write_text("dark\nwhite\n")
    return root


def export(folders: Path, model: Any, out: Path, *more: object, scaling: tuple[object, ...] = (0, 255)) -> Any:
    path = out / "own.keras"
    out.mkdir(exist_ok=True)
    model.save(path)
    given = {"labels": folders / "labels.txt", "calibration": folders / "train", "test": folders / "test"}
    words: list[object] = []
    for name, value in given.items():
        words += [] if f"--{name}" in more else [f"--{name}", value]
    words += ["--mean", scaling[0], "--std", scaling[1]] if scaling else []
    return call_pocketlens("export", path, *words, "--out", out / "models", "--mode", "float32", *more)


def report_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "models/report.json").read_text())
    return found


def accuracy_of(out: Path) -> float:
    return float(report_of(out)["models"][0]["accuracy"])


def test_a_layer_that_scales_gives_the_default(folders: Path, tmp_path: Path) -> None:
    result = succeed(export(folders, network(layers.Rescaling(1 / 255)), tmp_path, scaling=()))
    assert "mean 0 and std 1 follow from that" in result.stderr
    assert accuracy_of(tmp_path) == 1.0
    contract = Classifier(tmp_path / "models/float32.tflite").contract
    assert (contract.image_input.mean, contract.image_input.std) == ((0.0,), (1.0,))


def test_scaling_it_twice_is_refused(folders: Path, tmp_path: Path) -> None:
    result = export(folders, network(layers.Rescaling(1 / 255, name="unit")), tmp_path)
    assert result.returncode == 1
    assert "scales its input itself (Rescaling 'unit') and takes plain pixels: --mean 0 --std 1" in result.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("scaling", "reason"),
    [
        ((0.485, 0.229), "not in pixel units (0 to 255); did you mean 123.675 and 58.395?"),
        ((0.5, 0.5), "did you mean 127.5 and 127.5?"),
    ],
)
def test_numbers_for_pixels_of_0_to_1_are_refused(
    folders: Path, tmp_path: Path, scaling: tuple[float, float], reason: str
) -> None:
    result = export(folders, network(), tmp_path, scaling=scaling)
    assert result.returncode == 1
    assert reason in result.stderr


def test_a_wrong_scaling_is_found_on_calibration_images(folders: Path, tmp_path: Path) -> None:
    result = export(folders, network(), tmp_path, scaling=(0, 1))
    assert result.returncode == 3
    report = report_of(tmp_path)
    assert not report["passed"]
    (better,) = (line for line in report["warnings"] if "another scaling" in line)
    assert "grey, mean 0, std 255 has an accuracy of 1.0000, the given one 0.3333 (66.7 points less)" in better
    assert better in result.stderr
    assert "gate failed: float32 never answers 'dark', 'middle'" in result.stderr
    assert not (tmp_path / "models/float32.tflite").exists()
    accepted = succeed(export(folders, network(), tmp_path, "--accept-low-accuracy", scaling=(0, 1)))
    assert (tmp_path / "models/float32.tflite").exists()
    assert better in report_of(tmp_path)["warnings"]
    assert "never answers" in accepted.stderr
    assert "--accept-low-accuracy" in report_of(tmp_path)["command"]


def test_swapped_labels_are_named(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "swapped.txt").write_text("dark\nwhite\nmiddle\n")
    result = export(folders, network(), tmp_path, "--labels", tmp_path / "swapped.txt")
    assert result.returncode == 3
    assert "exchanging 'white' with 'middle' would raise its accuracy from 0.3333 to 1.0000" in result.stderr


def test_a_least_accuracy_is_a_gate(folders: Path, tmp_path: Path) -> None:
    succeed(export(folders, network(), tmp_path, "--min-accuracy", 1.0))
    assert report_of(tmp_path)["limits"]["min_accuracy"] == 1.0
    draw(tmp_path / "test/dark", "white", range(3))
    for label in ("dark", "middle", "white"):
        draw(tmp_path / "test" / label / "more", label, range(900, 920))
    result = export(folders, network(), tmp_path, "--min-accuracy", 0.99, "--test", tmp_path / "test")
    assert result.returncode == 3
    assert "float32 has 0.9524 of accuracy, --min-accuracy asks 0.9900" in result.stderr


@pytest.mark.parametrize("saved_model", [False, True])
def test_a_softmax_is_appended_to_logits(folders: Path, tmp_path: Path, saved_model: bool) -> None:
    model = network(activation=None)
    if saved_model:
        model.export(tmp_path / "saved", verbose=False)
        words: list[object] = [
            "--labels",
            folders / "labels.txt",
            "--calibration",
            folders / "train",
            "--test",
            folders / "test",
        ]
        words += ["--mean", 0, "--std", 255, "--out", tmp_path / "models", "--mode", "float32"]
        result = succeed(call_pocketlens("export", tmp_path / "saved", *words))
    else:
        result = succeed(export(folders, model, tmp_path))
    report = report_of(tmp_path)
    assert any("a softmax was appended" in line for line in report["warnings"])
    assert "a softmax was appended" in result.stderr
    assert report["models"][0]["accuracy"] == 1.0
    assert report["models"][0]["calibration_error"] <= 1
    answers = Classifier(tmp_path / "models/float32.tflite").classify(next((folders / "test/dark").iterdir()))
    assert sum(answer.score for answer in answers) == pytest.approx(1)
    assert answers[0].label == "dark"


def two(folders: Path) -> tuple[object, ...]:
    return ("--labels", folders / "two.txt", "--calibration", folders / "two-train", "--test", folders / "two-test")


def test_a_sigmoid_is_appended_to_one_logit(folders: Path, tmp_path: Path) -> None:
    succeed(export(folders, one_unit(None), tmp_path, *two(folders)))
    assert accuracy_of(tmp_path) == 1.0
    answers = Classifier(tmp_path / "models/float32.tflite").classify(next((folders / "test/white").iterdir()))
    assert answers[0].label == "white"
    assert 0 <= answers[0].score <= 1


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize(
    ("build", "more", "reason"),
    [
        (lambda: one_unit("softmax"), "two", "a softmax over one unit is 1 for every image; end it with activation="),
        (lambda: network(activation="sigmoid"), "", "one label of 3 needs a softmax over 3 units"),
        (lambda: network(activation=None), "--outputs=probabilities", "no probabilities; give --outputs logits"),
        (network, "--outputs=logits", "its last layer is a softmax"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    folders: Path, tmp_path: Path, build: Callable[[], Any], more: str, reason: str
) -> None:
    words = two(folders) if more == "two" else (more,) if more else ()
    result = export(folders, build(), tmp_path, *words)
    assert result.returncode == 1
    assert reason in result.stderr.splitlines()[-1]


def test_what_the_user_says_of_the_outputs_holds(folders: Path, tmp_path: Path) -> None:
    succeed(export(folders, network(activation="sigmoid", sharpness=4), tmp_path, "--outputs", "logits"))
    assert accuracy_of(tmp_path) == 1.0
    assert "--outputs logits" in report_of(tmp_path)["command"]


def test_no_channel_and_scores_in_a_plane(folders: Path, tmp_path: Path) -> None:
    succeed(export(folders, network(shape=(SIDE, SIDE), ends=layers.Reshape((1, 1, 3))), tmp_path))
    assert accuracy_of(tmp_path) == 1.0
    spec = Classifier(tmp_path / "models/float32.tflite").contract.image_input
    assert spec.shape == (SIDE, SIDE, 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_another_precision_becomes_float32(folders: Path, tmp_path: Path, policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = network(layers.Rescaling(1.0), layers.Conv2D(1, 1, kernel_initializer="ones"))
    finally:
        keras.config.set_dtype_policy("float32")
    succeed(export(folders, model, tmp_path, "--mode", "int8"))
    assert accuracy_of(tmp_path) == 1.0


def test_validation_images_are_no_test_images(folders: Path, tmp_path: Path) -> None:
    result = export(folders, network(), tmp_path, "--val", folders / "test")
    assert result.returncode == 1
    assert "--val: 45 of 45 images are test images too (equal once resized)" in result.stderr


def test_validation_images_in_another_format_are_no_test_images(folders: Path, tmp_path: Path) -> None:
    for path in (folders / "test").rglob("*.png"):
        copy = tmp_path / "val" / path.parent.name / f"{path.stem}.bmp"
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(copy)
    result = export(folders, network(), tmp_path, "--val", tmp_path / "val")
    assert result.returncode == 1
    assert "--val: 45 of 45 images are test images too (equal once resized)" in result.stderr


def test_a_folder_of_splits_is_no_test_folder(folders: Path, tmp_path: Path) -> None:
    result = export(folders, network(), tmp_path, "--test", folders)
    assert result.returncode == 1
    assert "is in no folder of a label's name" in result.stderr


def test_a_rare_class_is_named_in_the_table_and_the_warnings(folders: Path, tmp_path: Path) -> None:
    draw(tmp_path / "test/dark", "dark", range(1000, 1060))
    draw(tmp_path / "test/middle", "middle", range(1060, 1066))
    draw(tmp_path / "test/white", "middle", range(1070, 1074))
    result = export(folders, network(), tmp_path, "--test", tmp_path / "test", "--accept-low-accuracy")
    header, row = succeed(result).stdout.splitlines()[3:5]
    assert "least recall" in header
    assert "0.0000 (white)" in row
    told = "\n".join(report_of(tmp_path)["warnings"])
    assert "float32 answers most test images of 'white' (0 of 4) wrongly" in told
    assert "0.8571 of the test images are of class 'dark'" in told


def test_a_test_set_of_one_class_says_nothing(folders: Path, tmp_path: Path) -> None:
    draw(tmp_path / "test/dark", "dark", range(500, 520))
    result = export(folders, network(), tmp_path, "--test", tmp_path / "test")
    assert result.returncode == 3
    assert "all test images are of class 'dark'" in result.stderr
    told = "\n".join(report_of(tmp_path)["warnings"])
    assert "the test images show 1 of 3 classes; none shows middle, white" in told
