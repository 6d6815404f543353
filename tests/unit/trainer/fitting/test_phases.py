"""Phases: which layers learn when, which epoch is the best, and resuming a killed training in each phase."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from runtime import ImageInput
from trainer.config import TrainingConfig
from trainer.data import Dataset
from trainer.data.sources import ArraySource
from trainer.errors import TrainingError
from trainer.fitting import checkpoint, phases
from trainer.fitting.callbacks import BestEpochKeeper
from trainer.models.factory import build_model
from trainer.models.pretrained import BACKBONE_POOL, backbone_layers
from trainer.session import prepare_session
from trainer.training import TrainedRun, train

CONFIG = TrainingConfig("mobilenet_v2", weights="none", alpha=0.1, batch_size=16, epochs=3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Sixty coloured squares of 32x32 pixels with noise, of two classes."""
    rng = np.random.default_rng(0)
    targets = np.arange(60, dtype=np.int32) % 2
    shades = np.array([[200, 60, 60], [60, 60, 200]])[targets]
    pixels = np.clip(shades[:, None, None] + rng.normal(0, 40, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    return Dataset("squares", ("red", "blue"), ImageInput(32, 32, "rgb"), pixels, targets, ArraySource(pixels))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights, for what asks only whether there are any."""
    path = tmp_path_factory.mktemp("body") / "body.keras"
    path.write_bytes(b"weights")
    return str(path)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two convolutions with batch normalization in the place of a body: MobileNetV2 takes a minute to be compiled."""

    def build(_spec: TrainingConfig, shape: tuple[int, ...], classes: int, _task: str = "") -> Any:
        x = inputs = keras.Input(shape)
        for number in (1, 2):
            x = layers.Conv2D(4, 3, strides=4, use_bias=False, name=f"conv_{number}")(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.5, name=f"norm_{number}")(x))
        x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name=BACKBONE_POOL)(x))
        return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="scores")(x))

    monkeypatch.setattr("trainer.session.build_model", build)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"weights": "none"}, [("whole", 12, 2e-3, None)]),
        ({}, [("head", 3, 2e-3, 0), ("fine-tune", 9, 2e-4, 0.3)]),
        ({"head_epochs": 5, "fine_tune_layers": 7}, [("head", 5, 2e-3, 0), ("fine-tune", 7, 2e-4, 7)]),
        ({"head_epochs": 0}, [("fine-tune", 12, 2e-4, 0.3)]),
        ({"head_epochs": 99}, [("head", 12, 2e-3, 0)]),
        ({"fine_tune_layers": 0}, [("head", 12, 2e-3, 0)]),
        ({"epochs": 1}, [("head", 1, 2e-3, 0)]),
    ],
)
def test_the_plan_follows_the_settings(settings: dict[str, Any], wanted: list[tuple[Any, ...]]) -> None:
    defaults: dict[str, Any] = {"weights": "a.keras", "epochs": 12}
    config = TrainingConfig("mobilenet_v2", **(defaults | settings))
    found = [(p.name, p.epochs, pytest.approx(p.learning_rate), p.fine_tune_layers) for p in phases.plan_phases(config)]
    assert found == wanted
    assert [p.name for p in phases.plan_phases(TrainingConfig("cnn"))] == ["whole"]


@pytest.mark.parametrize(("head_epochs", "wanted"), [(None, 12), (5, 14), (0, 9)])
def test_epochs_of_the_head_are_added_to_those_that_fit_into_a_time(head_epochs: int | None, wanted: int) -> None:
    config = TrainingConfig("mobilenet_v2", weights="a.keras", head_epochs=head_epochs)
    epochs = phases.with_head_epochs(config, 9)
    assert epochs == wanted
    assert phases.plan_phases(replace(config, epochs=epochs))[-1].epochs == 9


def test_what_learns_in_each_phase() -> None:
    model = build_model(CONFIG, (32, 32, 3), 2)
    everything = len(model.trainable_variables)
    phases.set_trainable(model, phases.Phase("whole", 1, 0.1))
    assert len(model.trainable_variables) == everything
    phases.set_trainable(model, phases.Phase("head", 1, 0.1, 0))
    assert [v.path.split("/")[-1] for v in model.trainable_variables] == ["kernel", "bias"]
    phases.set_trainable(model, phases.Phase("fine-tune", 1, 0.1, 3))
    names = ["block_16_depthwise", "block_16_project", "Conv_1"]
    assert [layer.name for layer in backbone_layers(model) if layer.trainable and layer.weights] == names
    phases.set_trainable(model, phases.Phase("fine-tune", 1, 0.1, 1.0))
    learning = [layer for layer in backbone_layers(model) if layer.trainable and layer.weights]
    assert len(learning) == 52
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in learning)
    phases.set_trainable(model, phases.Phase("fine-tune", 1, 0.1, 500))
    assert len([layer for layer in backbone_layers(model) if layer.trainable and layer.weights]) == 52


@pytest.mark.usefixtures("little")
def test_the_head_learns_first_and_batch_normalization_never(data: Dataset, weights: str) -> None:
    config = replace(CONFIG, weights=weights, head_epochs=1, epochs=2, fine_tune_layers=1, learning_rate=0.05)
    before = prepare_session(data, config).model
    head = train(data, replace(config, epochs=1))
    run = train(data, config)
    assert [row["phase"] for row in head.history] == ["head"]
    assert [(row["phase"], row["epoch"]) for row in run.history] == [("head", 1), ("fine-tune", 2)]
    assert run.best_epoch == 2  # or there would be nothing to see
    assert run.contract.input.mean == (128.0,) * 3
    assert run.contract.input.std == (127.5,) * 3
    changed = {name: changes(before, trained.model) for name, trained in (("head", head), ("run", run))}
    assert changed == {"head": {"scores"}, "run": {"scores", "conv_2"}}


@pytest.mark.usefixtures("little")
def test_a_head_learns_the_same_on_features_that_are_computed_once(
    data: Dataset, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, weights=weights, fine_tune_layers=0, epochs=3, learning_rate=0.05, balance=True)
    cached = train(data, config)
    monkeypatch.setattr("trainer.epoch_loop.can_cache", lambda session: False)
    passed = train(data, config)
    for one, two in zip(cached.history, passed.history, strict=True):
        figures = [{k: v for k, v in row.items() if k not in ("seconds", "phase")} for row in (one, two)]
        assert figures[0] == pytest.approx(figures[1], rel=1e-4)
    for one, two in zip(cached.model.get_weights(), passed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.usefixtures("little")
def test_the_images_of_a_head_go_through_its_backbone_once(
    data: Dataset, weights: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    read: list[int] = []

    class Counted(np.ndarray):  # type: ignore[type-arg]
        def __getitem__(self, key: Any) -> Any:
            read.extend(np.atleast_1d(key).tolist())
            return np.asarray(self)[key]

    counted = replace(data, pixels=data.pixels[:].view(Counted))
    run = train(counted, replace(CONFIG, weights=weights, fine_tune_layers=0, epochs=5, augmentation=("shift",)))
    chosen = [*run.splits.train, *run.splits.validation]
    # Once for its features, and once for the normalization or for the figures of the validation split at the end.
    assert [read.count(index) for index in run.splits.train] == [2] * len(run.splits.train)
    assert [read.count(index) for index in run.splits.validation] == [2] * len(run.splits.validation)
    assert f"features of {len(chosen)} images, computed once and without augmentation" in caplog.text


@pytest.mark.usefixtures("little")
def test_ctrl_c_ends_the_computation_of_features(data: Dataset, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fitting.callbacks.InterruptHandler.__enter__", _pressed)
    with pytest.raises(TrainingError, match="interrupted before the first epoch ended"):
        train(data, replace(CONFIG, weights=weights, fine_tune_layers=0))


def _pressed(handler: Any) -> Any:
    """An interrupt handler after Ctrl-C."""
    handler._pressed = True
    return handler


def changes(before: Any, after: Any) -> set[str]:
    """Names of the layers whose weights differ."""
    pairs = zip(before.layers, after.layers, strict=True)
    return {
        one.name
        for one, two in pairs
        if any(not np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    }


class Killed(BaseException):
    """What a kill is to a test: nothing that the training catches."""


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_goes_on_over_the_boundary(
    killed_after: int, data: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, weights=weights, head_epochs=2, epochs=4, fine_tune_layers=1)
    whole, file = undisturbed(config, data), tmp_path / "checkpoint.npz"
    ended: list[int] = []
    original = checkpoint.save_checkpoint

    def dies(path: Path, state: checkpoint.Checkpoint, identity: str) -> None:
        original(path, state, identity)
        ended.append(len(state.history) - 1)
        if len(ended) == killed_after:
            raise Killed

    monkeypatch.setattr(checkpoint, "save_checkpoint", dies)
    with pytest.raises(Killed):
        train(data, config, checkpoint_file=file)
    resumed = train(data, config, checkpoint_file=file, resume=True)
    assert ended == [0, 1, 2, 3]
    for one, two in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert whole.best_epoch == resumed.best_epoch
    told = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (whole, resumed)]
    assert told[0] == told[1]


_undisturbed: dict[str, TrainedRun] = {}


def undisturbed(config: TrainingConfig, data: Dataset) -> TrainedRun:
    """The same training without a kill, done once."""
    key = repr(config)
    if key not in _undisturbed:
        _undisturbed[key] = train(data, config)
    return _undisturbed[key]


def test_other_weights_are_another_training(data: Dataset, weights: str, tmp_path: Path) -> None:
    copy = tmp_path / "body.keras"
    copy.write_bytes(Path(weights).read_bytes())
    config = replace(CONFIG, weights=str(copy))
    before = checkpoint.training_identity(config, data)
    copy.write_bytes(Path(weights).read_bytes() + b"more")
    assert checkpoint.training_identity(config, data) != before


@pytest.mark.parametrize(
    ("images", "figures", "epoch"),
    [
        pytest.param(150, [(0.9, 0.5), (1.0, 0.4), (0.993, 0.3)], 3, id="one image of 150 is chance"),
        pytest.param(150, [(0.9, 0.5), (1.0, 0.4), (0.96, 0.3)], 2, id="six are not"),
        pytest.param(60_000, [(0.9, 0.5), (0.95, 0.4), (0.948, 0.3)], 2, id="of many images less is a difference"),
        pytest.param(150, [(0.97, 0.2), (0.99, 0.3), (1.0, 0.4)], 3, id="what is left behind is not kept for its loss"),
        pytest.param(0, [(0.99, 0.4), (0.991, 0.5), (0.99, 0.1)], 2, id="every difference counts"),
        pytest.param(0, [(0.99, 0.4), (0.99, 0.3), (0.99, 0.5)], 2, id="the lower loss where equal"),
    ],
)
def test_the_best_epoch(images: int, figures: list[tuple[float, float]], epoch: int) -> None:
    best = BestEpochKeeper(0, images=images)
    best.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    for number, (accuracy, loss) in enumerate(figures):
        best.on_epoch_end(number, {"val_accuracy": accuracy, "val_loss": loss})
    assert best.epoch == epoch
    assert best.highest == max(accuracy for accuracy, _ in figures)


def test_patience_counts_anew_in_each_phase() -> None:
    best = BestEpochKeeper(patience=2)
    best.epoch = 1
    best.begin_phase(0)
    assert [best.patience_exhausted(n) for n in (1, 2, 3)] == [False, False, True]
    best.begin_phase(3)
    assert [best.patience_exhausted(n) for n in (3, 4, 5)] == [False, False, True]
    assert not BestEpochKeeper(patience=0).patience_exhausted(1000)
