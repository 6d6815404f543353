"""Photographs in colour, from files to answers on the device's interpreter. Slow: `make proof`, not `make test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime import Contract
from tests.support.commands import run_pocketlens, succeed
from tests.support.photos import LABELS, write_photos
from trainer.backbones import BACKBONES

pytestmark = pytest.mark.slow

NARROW = ("--arch", "mobilenet_v2", "--weights", "none", "--alpha", "0.35")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes of two hundred pictures."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    write_photos(root, 200)
    return root


@pytest.mark.parametrize(
    ("options", "accuracy"),
    [
        # A fifth would be chance. Bodies are meant to be taken with weights: from none they learn slowly.
        pytest.param((), 0.9, id="auto"),
        pytest.param(("--arch", "cnn", "--image-size", "96"), 0.68, id="cnn 96"),
        pytest.param(("--image-size", "96", "--epochs", "20", *NARROW), 0.45, id="mobilenet_v2 96"),
        pytest.param(("--image-size", "224", "--epochs", "15", "--size", "tiny"), 0.55, id="cnn 224"),
        pytest.param(("--image-size", "224", "--epochs", "6", *NARROW), 0.3, id="mobilenet_v2 224"),
    ],
)
def test_photographs_go_all_the_way(options: tuple[str, ...], accuracy: float, photos: Path, tmp_path: Path) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    trained = succeed(run_pocketlens("train", "--dataset", photos, "--out", run, *options, timeout=7200))
    exported = succeed(run_pocketlens("export", run, "--out", models, "--max-drop", "0.05", timeout=7200))
    print(f"{' '.join(options)}\n{trained.stdout}{exported.stdout}")
    int8 = json.loads((models / "report.json").read_text())["models"][1]
    assert int8["accuracy"] >= accuracy

    # The very files of the test split, some of which lie turned, through the command: the report's accuracy again.
    splits = json.loads((run / "splits.json").read_text())
    paths = [photos / splits["images"]["paths"][index] for index in splits["test"]]
    answered = succeed(run_pocketlens("classify", "--model", models / "int8.tflite", "--json", "--top", 1, *paths))
    lines = [json.loads(line) for line in answered.stdout.splitlines()]
    assert len(lines) == len(paths)
    right = sum(line["predictions"][0]["label"] == Path(line["path"]).parent.name for line in lines)
    assert right / len(paths) == pytest.approx(int8["accuracy"])


@pytest.mark.parametrize("name", BACKBONES)
def test_a_body_runs_in_int8(name: str, photos: Path, tmp_path: Path) -> None:
    """Trained too little to say anything of accuracy: that it converts, and answers as the float32 file does.

    EfficientNet's int8 file did so for 0.56 of the images only; repaired, to 16 bits here, for 0.995 of them.
    """
    run, models = tmp_path / "run", tmp_path / "models"
    options = ("--arch", name, "--weights", "none", "--image-size", "48", "--epochs", "4", "--learning-rate", "0.005")
    succeed(run_pocketlens("train", "--dataset", photos, "--out", run, *options, timeout=7200))
    contract = Contract.from_json((run / "contract.json").read_text())
    assert contract.input.mean == (BACKBONES[name].mean,) * 3
    wanted = ("--repair", "--max-drop", "0.05") if name == "efficientnet_b0" else ("--max-drop", "0.2")
    gates = ("--out", models, "--accept-low-accuracy", *wanted)  # some of them answer one class
    exported = succeed(run_pocketlens("export", run, *gates, timeout=7200))
    print(f"{name}\n{exported.stdout}")
    integer = json.loads((models / "report.json").read_text())["models"][1]
    assert integer["mode"] in ("int8", "int16x8")
    assert integer["agreement"] >= 0.75


def test_a_body_learns_from_few_pictures_what_another_training_taught_it(photos: Path, tmp_path: Path) -> None:
    """Head first, then the topmost layers, on a body that has seen other pictures of the same kind."""
    size = ("--image-size", "96", "--arch", "mobilenet_v2", "--alpha", "0.35")
    first, few = tmp_path / "first", tmp_path / "few"
    options = ("--weights", "none", "--epochs", "30", *size)
    succeed(run_pocketlens("train", "--dataset", photos, "--out", first, *options, timeout=7200))
    write_photos(few, 12, seed=1)
    accuracy = {}
    for weights in ("none", str(first)):
        run = tmp_path / f"run-{Path(weights).name}"
        options = ("--weights", weights, "--epochs", "10", *size)
        told = succeed(run_pocketlens("train", "--dataset", few, "--out", run, "--json", *options, timeout=7200))
        accuracy[weights] = json.loads(told.stdout)["test_accuracy"]
    print(f"from nothing and from a body, {12 * len(LABELS)} pictures: {accuracy}")
    assert accuracy[str(first)] > accuracy["none"] + 0.1
