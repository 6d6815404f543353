"""Backbones of keras.applications: their shapes, and weights that give the same features on any scaling."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from runtime import ImageInput
from tests.support.commands import run_pocketlens
from trainer.backbones import BACKBONES
from trainer.config import TrainingConfig
from trainer.errors import TrainingError
from trainer.models.factory import build_model
from trainer.models.pretrained import backbone_layers, build_backbone, with_backbone_scaling
from trainer.models.pretrained_weights import load_backbone_weights, read_weights

SHAPE = (32, 32, 3)
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
ALPHAS = {"efficientnet_lite0": 1.0, "mobilenet_v2": 0.35, "mobilenet_v3_small": 0.75, "efficientnet_b0": 1.0}


def config_of(name: str, **settings: Any) -> TrainingConfig:
    defaults: dict[str, Any] = {"weights": "none", "alpha": ALPHAS[name]}
    return TrainingConfig(name, **(defaults | settings))


def published(name: str, imagenet_like: bool = True, **options: Any) -> Any:
    """What keras.applications makes, with weights and averages that are not those of a fresh network."""
    if name != "efficientnet_b0":
        options = {"alpha": ALPHAS[name]} | options
    keras.utils.set_random_seed(5)
    build = getattr(keras.applications, BACKBONES[name].builder)
    model = build(**({"input_shape": SHAPE, "include_top": False, "weights": None} | options))
    rng = np.random.default_rng(6)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))
        if isinstance(layer, keras.layers.Normalization) and imagenet_like:
            layer.set_weights([IMAGENET_MEAN, IMAGENET_STD, np.int32(0)])
            layer.finalize_state()
    return model


def as_published(name: str, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels as the published weights expect them; the networks' own scaling layers do the rest."""
    if name == "mobilenet_v2":
        return np.asarray(keras.applications.mobilenet_v2.preprocess_input(pixels.astype(np.float32)))
    if name == "efficientnet_b0":
        # With its weights Keras adds a layer that divides by the root of the deviation once more.
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        return np.asarray(((pixels / 255 - mean) / std * np.sqrt(std) + mean) * 255)
    return pixels.astype(np.float32)


def scaled(name: str, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    image = with_backbone_scaling(config_of(name), ImageInput(32, 32, "rgb" if pixels.shape[-1] == 3 else "grey"))
    mean, std = np.array(image.mean, np.float32), np.array(image.std, np.float32)
    return np.asarray((pixels - mean) / std, np.float32)


def features(model: Any, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(keras.Model(model.input, backbone_layers(model)[-1].output)(inputs))


@pytest.fixture(scope="module")
def pixels() -> npt.NDArray[Any]:
    """Two pictures of coarse noise."""
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.integers(0, 256, (2, 8, 8, 3)), 4, axis=1), 4, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_body_is_one_flat_model_that_answers_probabilities(name: str) -> None:
    model = build_model(config_of(name), (32, 48, 3), 5)
    scores = np.asarray(model(np.zeros((2, 32, 48, 3), np.float32)))
    assert scores.shape == (2, 5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert not kinds & {"Functional", "Sequential", "Rescaling", "Normalization", "Lambda"}
    assert len(backbone_layers(model)) == len(model.layers) - 3
    momenta = {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.9}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_picture_that_is_too_small_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match=r"31x64, expected 32x32 or more; see `image_size`"):
        build_model(config_of(name), (31, 64, 3), 2)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_contract_scales_by_whole_pixels_that_channels_share(name: str) -> None:
    image = with_backbone_scaling(config_of(name), ImageInput(32, 32, "rgb"))
    assert len(set(image.mean)) == len(set(image.std)) == 1
    assert image.mean[0] == int(image.mean[0])
    assert with_backbone_scaling(TrainingConfig("cnn"), ImageInput(32, 32, "rgb")) == ImageInput(32, 32, "rgb")


@pytest.mark.parametrize("name", [name for name, backbone in BACKBONES.items() if backbone.builder])
def test_published_weights_answer_as_before(name: str, tmp_path: Path, pixels: npt.NDArray[Any]) -> None:
    reference = published(name)
    reference.save_weights(tmp_path / "body.weights.h5")
    config = config_of(name, weights=str(tmp_path / "body.weights.h5"))
    colour = build_model(config, SHAPE, 3)
    wanted = np.asarray(reference(as_published(name, pixels)))
    # All but the first convolution's edge is the same: there zeros stand for another pixel, by 10 at most.
    edge = 0.02 if name == "efficientnet_b0" else 2e-3
    assert np.abs(features(colour, scaled(name, pixels)) - wanted).max() < edge * np.abs(wanted).max()

    grey, one = build_model(config, (32, 32, 1), 3), pixels[..., :1]
    wanted = features(colour, scaled(name, np.repeat(one, 3, axis=-1)))
    np.testing.assert_allclose(features(grey, scaled(name, one)), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mobilenet_v2 of alpha 0.35 in each format of Keras."""
    folder, reference = tmp_path_factory.mktemp("narrow"), published("mobilenet_v2")
    reference.save_weights(folder / "body.weights.h5")
    reference.save(folder / "body.h5")
    reference.save(folder / "body.keras")
    np.save(folder / "kernel.npy", reference.get_layer("Conv_1").get_weights()[0])
    return folder


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".weights.h5"])
def test_each_file_format_of_keras_is_read(suffix: str, narrow: Path, small: Any) -> None:
    load_backbone_weights(small, config_of("mobilenet_v2", weights=str(narrow / f"body{suffix}")), SHAPE)
    np.testing.assert_array_equal(small.get_layer("Conv_1").get_weights()[0], np.load(narrow / "kernel.npy"))
    small.get_layer("Conv_1").kernel.assign(np.zeros(small.get_layer("Conv_1").kernel.shape))


def test_a_run_of_ours_is_a_body_too(tmp_path: Path) -> None:
    first = build_model(config_of("mobilenet_v2"), SHAPE, 3)
    first.save(tmp_path / "model.keras")
    second = build_model(config_of("mobilenet_v2", weights=str(tmp_path)), (48, 48, 3), 7)
    for one, two in zip(backbone_layers(first), backbone_layers(second), strict=True):
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_of_another_network_or_width_are_named(tmp_path: Path, narrow: Path, small: Any) -> None:
    path = narrow / "body.weights.h5"
    with pytest.raises(TrainingError, match=r"no weights of mobilenet_v2 of alpha 0\.5: layer \w+: .*shape") as told:
        load_backbone_weights(small, config_of("mobilenet_v2", weights=str(path), alpha=0.5), SHAPE)
    assert len(str(told.value).replace(str(path), "")) < 400
    with pytest.raises(TrainingError, match=r"no weights of mobilenet_v3_small of alpha 0\.75: layer") as told:
        load_backbone_weights(small, config_of("mobilenet_v3_small", weights=str(path)), SHAPE)
    assert "\n" not in str(told.value)
    old = tmp_path / "whole.h5"
    published("mobilenet_v2", include_top=True, classes=4).save(old)
    with pytest.raises(TrainingError, match="without the top"):
        read_weights(small, old, config_of("mobilenet_v2"))


@pytest.fixture(scope="module")
def small() -> Any:
    """A body, for tests that end before it matters which."""
    return build_backbone(BACKBONES["mobilenet_v2"], (32, 32, 3), 0.35)


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".weights.h5"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "other"])
def test_a_damaged_file_is_named(suffix: str, damage: str, tmp_path: Path, small: Any) -> None:
    path = tmp_path / f"body{suffix}"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)])
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    whole = path.read_bytes()
    noise = np.random.default_rng(0).bytes(len(whole))
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": noise, "other": whole}[damage])
    with pytest.raises(TrainingError, match=f"body{suffix}: no weights of mobilenet_v2 of alpha 0.35: ") as told:
        read_weights(small, path, config_of("mobilenet_v2"))
    assert "\n" not in str(told.value)
    assert "object at 0x" not in str(told.value)


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path, narrow: Path, small: Any) -> None:
    """Only arrays are read: the configuration of a file could name a function."""
    path, trace = tmp_path / "evil.keras", tmp_path / "trace"
    with zipfile.ZipFile(narrow / "body.keras") as good, zipfile.ZipFile(path, "w") as evil:
        for name in good.namelist():
            content = good.read(name)
            if name == "config.json":
                config = json.loads(content)
                config |= {"module": "os", "class_name": "system", "registered_name": "system"}
                config["config"] = {"name": "evil", "command": f"touch {trace}"}
                content = json.dumps(config).encode()
            evil.writestr(name, content)
    load_backbone_weights(small, config_of("mobilenet_v2", weights=str(path)), SHAPE)
    assert not trace.exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.models.pretrained_weights.MAX_WEIGHT_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("config.json", "{}")
        bomb.writestr("model.weights.h5", bytes(2**20 + 1))
    with pytest.raises(TrainingError, match="unpacked"):
        load_backbone_weights(small, config_of("mobilenet_v2", weights=str(tmp_path / "bomb.keras")), SHAPE)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, small: Any) -> None:
    kernel = small.get_layer("Conv_1").kernel
    before = np.asarray(kernel.value)
    kernel.assign(np.full(kernel.shape, np.nan))
    small.save_weights(tmp_path / "nan.weights.h5")
    kernel.assign(before)
    with pytest.raises(TrainingError, match="Conv_1 are no numbers"):
        load_backbone_weights(small, config_of("mobilenet_v2", weights=str(tmp_path / "nan.weights.h5")), SHAPE)


def test_a_download_that_fails_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path), raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(TrainingError, match=r"cannot be downloaded: .*`weights=FILE`.*`weights=none`") as told:
        build_model(config_of("mobilenet_v2", weights="imagenet"), SHAPE, 3)
    assert "\n" not in str(told.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"architecture": "cnn", "weights": "imagenet"}, "cnn has none"),
        ({"architecture": "cnn", "alpha": 0.5}, "`size`"),
        ({"architecture": "efficientnet_b0", "alpha": 0.5}, "one width"),
        ({"architecture": "mobilenet_v2", "alpha": 0.4}, r"0.35, 0.5, 0.75.*`weights=none`"),
        ({"architecture": "mobilenet_v2", "alpha": 9.0, "weights": "none"}, "from 0.1 to 2.0"),
        ({"architecture": "mobilenet_v2", "alpha": float("nan"), "weights": "none"}, "from 0.1 to 2.0"),
        ({"architecture": "mobilenet_v2", "fine_tune_layers": 1.5}, "share"),
        ({"architecture": "mobilenet_v2", "head_epochs": -1}, "0 or more"),
        ({"architecture": "mobilenet_v2", "normalize": False}, "`normalize=False`"),
        ({"architecture": "mobilenet_v2", "mixed_precision": "maybe"}, "auto, on, off"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        TrainingConfig(**settings)


@pytest.mark.parametrize(("name", "told"), [("none.h5", "no such file"), ("notes.txt", ".keras, .h5")])
def test_a_wrong_path_is_told_before_images_are_read(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("weights")
    options = ("--arch", "mobilenet_v2", "--weights", tmp_path / name, "--out", tmp_path / "run")
    result = run_pocketlens("train", "--dataset", tmp_path, *options)
    assert result.returncode == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
