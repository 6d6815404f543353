"""Distillation: a teacher's scores beside the labels, for every task; teachers that do not suit are refused."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, log_softmax, softmax

from tests.support.commands import answer, call_pocketlens, run_pocketlens, succeed
from tests.unit.trainer.fitting.test_checkpoint import rows, start, wait_for_line, weights
from trainer.config import TrainingConfig
from trainer.data import Dataset, Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.fitting.distillation import DistillationLoss
from trainer.session import prepare_session
from trainer.training import train

#: The sixteen epochs of the teacher are enough to teach; one epoch of a student is enough to see that it is taught.
TEACHER = ("train", "--dataset", "digits", "--arch", "dense", "--units", "64", "--epochs", "16")
STUDENT = TrainingConfig("dense", units=(16,), epochs=1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", Geometry())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    answer(*TEACHER, "--no-normalise", "--out", folder)
    return folder


def divergence(teacher: npt.NDArray[Any], student: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of two distributions in the last axis."""
    total: npt.NDArray[Any] = np.sum(teacher * (np.log(teacher) - np.log(student)), axis=-1)
    return total


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_of_classes_is_that_of_the_paper(temperature: float) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0, 3, (2, 5, 10))
    labels = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 5)]
    hard = -(labels * log_softmax(ours, -1)).sum(-1)
    soft = divergence(softmax(theirs / temperature, -1), softmax(ours / temperature, -1))
    wanted = 0.3 * hard + 0.7 * temperature**2 * soft
    loss = DistillationLoss(keras.losses.CategoricalCrossentropy(), temperature, 0.7, is_softmax=True)
    targets = np.concatenate([labels, softmax(theirs, -1)], 1).astype(np.float32)
    found = loss.call(keras.ops.convert_to_tensor(targets), keras.ops.convert_to_tensor(softmax(ours, -1), "float32"))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-4)
    # In validation the targets are the labels alone.
    found = loss.call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(softmax(ours, -1), "float32"))
    np.testing.assert_allclose(np.asarray(found), hard, rtol=1e-4)


def test_the_loss_of_labels_counts_each_label_by_itself() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0, 3, (2, 5, 3))
    labels = rng.integers(0, 2, (5, 3)).astype(np.float32)
    pairs = [np.stack([expit(z / 2), expit(-z / 2)], -1) for z in (theirs, ours)]
    hard = -(labels * np.log(expit(ours)) + (1 - labels) * np.log(expit(-ours))).mean(-1)
    wanted = 0.1 * hard + 0.9 * 4 * divergence(*pairs).mean(-1)
    loss = DistillationLoss(keras.losses.BinaryCrossentropy(), 2.0, 0.9, is_softmax=False)
    targets = np.concatenate([labels, expit(theirs)], 1).astype(np.float32)
    found = loss.call(keras.ops.convert_to_tensor(targets), keras.ops.convert_to_tensor(expit(ours), "float32"))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-3)


def test_scores_near_0_and_1_give_finite_gradients() -> None:
    import tensorflow as tf

    logits = tf.Variable([[200.0, -200.0, 0.0], [-150.0, 90.0, 88.0]])
    teacher = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for is_softmax, activation in ((True, keras.activations.softmax), (False, keras.activations.sigmoid)):
        hard = keras.losses.CategoricalCrossentropy() if is_softmax else keras.losses.BinaryCrossentropy()
        loss = DistillationLoss(hard, 4.0, 1.0, is_softmax=is_softmax)
        with tf.GradientTape() as tape:
            value = loss.call(tf.concat([teacher, teacher], 1), activation(logits))
        assert np.isfinite(np.asarray(value)).all()
        assert np.isfinite(np.asarray(tape.gradient(value, logits))).all()


@pytest.mark.parametrize("augmentation", [(), ("shift", "erase")])
def test_a_batch_has_the_teachers_scores_of_its_own_samples(
    augmentation: tuple[str, ...], digits: Dataset, teacher: Path, messages: list[str]
) -> None:
    config = replace(STUDENT, teacher=str(teacher), augmentation=augmentation)
    session = prepare_session(digits, config)
    how = "for each augmented sample" if augmentation else "once, as no sample is augmented"
    assert f"teacher: {teacher}; its scores are computed {how}" in messages
    spec, network = session.contract.input, keras.saving.load_model(teacher / "model.keras")
    for samples, targets, _weights in session.passes.batches.take(3):
        # The teacher takes raw pixels, the student scaled ones.
        pixels = np.asarray(samples) * spec.std[0] + spec.mean[0]
        np.testing.assert_allclose(np.asarray(targets)[:, 10:], np.asarray(network(pixels)), atol=1e-4)
        assert (np.asarray(targets)[:, :10].sum(axis=1) == 1).all()
    assert next(iter(session.validation))[1].shape[1] == 10


def test_a_taught_network_answers_as_its_teacher_does(digits: Dataset, teacher: Path) -> None:
    """With one training sample a class, the teacher's scores say more than the labels."""
    few = replace(STUDENT, train_samples=100, epochs=30, batch_size=16, learning_rate=5e-3)
    alone = train(digits, few)
    taught = train(digits, replace(few, teacher=str(teacher)))
    network, pixels = keras.saving.load_model(teacher / "model.keras"), np.asarray(digits.pixels[taught.splits.test])
    scores = np.asarray(network(pixels.astype(np.float32)))
    spec = taught.contract.input
    samples = (pixels - np.float32(spec.mean[0])) / np.float32(spec.std[0])
    distances = [float(np.abs(np.asarray(run.model(samples)) - scores).mean()) for run in (alone, taught)]
    assert distances[1] < 0.8 * distances[0], distances


@pytest.mark.parametrize("kind", ["binary", "multilabel", "features", "quantization-aware", "balanced, auto"])
def test_every_task_is_taught(kind: str, marks_csv: Path, tmp_path: Path) -> None:
    dense = ("--arch", "dense", "--units", "16", "--batch-size", "16")
    data, extra = {
        "binary": (("--dataset", "digits", "--positive", "8", *dense), ()),
        "features": (("--dataset", "circles", *dense), ()),
        "multilabel": (("--dataset", marks_csv, "--size", "tiny"), ("--balance", "--augment", "none")),
        "quantization-aware": (("--dataset", "digits", "--size", "tiny"), ("--quantization-aware",)),
        "balanced, auto": (("--dataset", "digits", "--size", "tiny"), ("--balance", "--augment", "shift")),
    }[kind]
    teacher, run = tmp_path / "teacher", tmp_path / "run"
    chosen: Path | str = teacher / "model.keras"
    if kind == "balanced, auto":
        chosen = "auto"
    else:
        answer("train", *data, "--epochs", {"features": 30, "binary": 8}.get(kind, 3), "--out", teacher)
    answer("train", *data, *extra, "--epochs", 2, "--teacher", chosen, "--out", run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["settings"]["label_smoothing"] == 0
    assert metrics["teacher"].endswith("temperature 4, weight 0.9")
    assert (tmp_path / "run-teacher").exists() == (chosen == "auto")
    assert all(np.isfinite(float(row["loss"])) and np.isfinite(float(row["val_loss"])) for row in rows(run))
    assert metrics["test"]["accuracy"] > {"binary": 0.8, "features": 0.4, "multilabel": 0.5}.get(kind, 0.3)


@pytest.mark.slow
def test_auto_trains_the_teacher_first_and_a_killed_training_goes_on(tmp_path: Path) -> None:
    command = ("train", "--dataset", "digits", "--size", "tiny", "--epochs", 3, "--teacher", "auto", "--out")
    run, killed = tmp_path / "run", tmp_path / "killed"
    succeed(run_pocketlens(*command, run))
    assert json.loads((tmp_path / "run-teacher" / "metrics.json").read_text())["settings"]["size"] == "small"
    process = start(*command, killed)
    wait_for_line(process, "epoch 2/3")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (tmp_path / "killed-teacher").exists()
    resumed = succeed(run_pocketlens(*command, killed, "--resume"))
    assert "epoch 1/3" in resumed.stderr  # the student's
    for one, two in zip(weights(run), weights(killed), strict=True):
        assert one.tobytes() == two.tobytes()
    # The teacher is there: it is not trained again.
    again = succeed(run_pocketlens(*command, run, "--force"))
    assert "is trained already" in again.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--teacher", "nothing"), "nothing: no such teacher; name a run folder or a .keras file with --teacher"),
        (("--teacher", "text.txt"), "text.txt: a teacher is a run folder or a .keras file"),
        (("--teacher", "broken.keras"), "broken.keras:"),
        (("--teacher", "{circles}"), "takes another input"),
        (("--teacher", "{binary}"), "its task is binary, and this training's is multiclass"),
        (("--teacher", "{seed}"), "was trained on"),
        (
            ("--teacher", "{teacher}", "--image-size", "16"),
            "takes another input: height 8 (here 16)",
        ),
        (("--teacher", "{teacher}", "--merge", "0,1=round"), "10 labels (0, 1, 2, 3, 4, ...), expected the 9 of"),
        (("--teacher", "{chance}"), "of 500 training samples, hardly better than chance"),
    ],
)
def test_a_teacher_that_does_not_suit_is_refused(
    options: tuple[str, ...],
    message: str,
    teacher: Path,
    circles_run: Path,
    binary_run: Path,
    dense_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("no model")
    Path("broken.keras").write_bytes((teacher / "model.keras").read_bytes()[:3000])
    if "{chance}" in options:
        network = keras.saving.load_model(teacher / "model.keras")
        network.set_weights([np.zeros_like(values) for values in network.get_weights()])
        network.save("chance.keras")
    places = {"teacher": teacher, "circles": circles_run, "binary": binary_run, "seed": dense_run}
    filled = [option.format(**places, chance="chance.keras") for option in options]
    if options[1] == "{circles}":
        message = "its task is binary" if "binary" in (circles_run / "contract.json").read_text() else message
    result = call_pocketlens("train", "--dataset", "digits", "--epochs", 1, *filled, "--out", "run")
    assert result.returncode == 1, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distillation_temperature": 0}, "distillation temperature 0, expected a number above 0"),
        ({"distillation_weight": 1.5}, "distillation weight 1.5, expected a number above 0, at most 1"),
        ({"teacher": "run", "label_smoothing": 0.1}, "smooth already"),
        ({"teacher": "run", "loss": "sparse-categorical-crossentropy"}, "one-hot targets"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--distillation-weight", "0.5"), "--distillation-weight is for --teacher"),
        (("--teacher", "auto", "--minutes", "5"), "--teacher auto goes without --minutes"),
        (("--teacher", "auto", "--distribute", "mirrored"), "--teacher auto goes without --distribute"),
        (("--teacher", "auto", "--arch", "dense"), "trains a larger cnn, and dense has no larger one"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = call_pocketlens("train", "--dataset", "digits", *options, "--out", tmp_path / "run")
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
