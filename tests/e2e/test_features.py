"""From vectors of readings to answers, with the commands that people type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, Contract, FeaturesInput
from runtime.selftest.runner import run_selftest
from runtime.tflite.metadata import read_metadata
from runtime.tflite.model import check_structure
from tests.support.commands import call_pocketlens, run_pocketlens, succeed

pytestmark = pytest.mark.workstation


@pytest.fixture(scope="module")
def circles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of `--dataset circles` with its defaults, and its export."""
    root = tmp_path_factory.mktemp("circles")
    succeed(call_pocketlens("train", "--dataset", "circles", "--out", root / "run"))
    options = ("--c-array", "--min-agreement", "0.98")
    result = succeed(call_pocketlens("export", root / "run", "--out", root / "models", *options))
    (root / "said").write_text(result.stdout + result.stderr)
    return root


def drawn(path: Path) -> tuple[int, int]:
    """The size of a picture that shows something."""
    with Image.open(path) as picture:
        assert len(picture.convert("RGB").getcolors(10**6)) > 100
        width, height = picture.size
        return width, height


def test_the_run_holds_vectors_and_the_boundary(circles: Path) -> None:
    contract = Contract.from_json((circles / "run/contract.json").read_text())
    assert contract.labels == ("outer", "inner")
    assert contract.task == "binary"
    assert isinstance(contract.input, FeaturesInput)
    assert contract.input.names == ("x", "y")
    vectors = np.load(circles / "run/vectors.npy")
    assert (vectors.shape, vectors.dtype) == ((1000, 2), np.float64)
    metrics = json.loads((circles / "run/metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= 0.95
    assert metrics["settings"]["architecture"] == "dense"
    width, height = drawn(circles / "run/boundary.png")
    assert min(width, height) > 300


def test_the_int8_file_answers_as_float32(circles: Path) -> None:
    report = json.loads((circles / "models/report.json").read_text())
    assert report["features"] == ["x", "y"]
    assert report["passed"]
    reference, int8 = report["models"]
    assert reference["accuracy"] >= 0.95
    assert int8["accuracy"] >= 0.95
    assert int8["agreement"] >= 0.98
    run = circles / "run"
    splits, vectors = json.loads((run / "splits.json").read_text()), np.load(run / "vectors.npy")
    classifier = Classifier(circles / "models/int8.tflite")
    assert classifier.input.dtype == np.uint8
    right = [classifier.classify(vectors[i], top=1)[0].index == splits["targets"][i] for i in splits["test"]]
    assert np.mean(right) == pytest.approx(int8["accuracy"])


def test_the_plane_is_drawn_for_keras_and_each_file(circles: Path) -> None:
    width, height = drawn(circles / "models/boundary.png")
    assert width > 2.5 * height  # three panels
    html = (circles / "models/report.html").read_text()
    assert "Decision boundary" in html
    assert "Vectors: " in html
    assert not (circles / "models/disagreements").exists()
    card = (circles / "models/MODEL_CARD.md").read_text()
    assert "A vector of 2 features" in card


def test_nothing_calls_vectors_images(circles: Path) -> None:
    texts = [(circles / path).read_text() for path in ("said", "models/MODEL_CARD.md")]
    assert not [text for text in texts if "image" in text or "picture" in text]
    assert "converting to int8 with 502 vectors" in texts[0]


def test_an_int8_file_larger_than_float32_is_remarked_on(circles: Path) -> None:
    report = json.loads((circles / "models/report.json").read_text())
    reference, int8 = (model["bytes"] for model in report["models"])
    remarks = [line for line in report["warnings"] if f"int8 has {int8:,} bytes, more than the {reference:,}" in line]
    assert len(remarks) == (int8 > reference) == 1


def test_the_tensors_range_is_that_of_the_training_vectors(circles: Path) -> None:
    run = circles / "run"
    train = json.loads((run / "splits.json").read_text())["train"]
    classifier = Classifier(circles / "models/int8.tflite")
    spec, vectors = classifier.contract.input, np.load(run / "vectors.npy")[train]
    standard = (vectors - np.array(spec.mean)) / np.array(spec.std)
    low, high = classifier.input.dequantize(np.array([0, 255], np.uint8))
    assert low == pytest.approx(standard.min(), abs=classifier.input.scale)
    assert high == pytest.approx(standard.max(), abs=classifier.input.scale)


def test_the_metadata_speak_of_no_image(circles: Path) -> None:
    content = (circles / "models/int8.tflite").read_bytes()
    found = read_metadata(content, check_structure(content, "m"), "m")
    assert found is not None
    assert not found.mean
    assert not found.std
    header = (circles / "models/model_data.h").read_text()
    assert "model_input_features = 2;" in header
    assert "pixel" not in header
    assert 'model_feature_names[model_input_features] = {\n    "x",' in (circles / "models/model_data.cc").read_text()


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_self_test_passes(circles: Path, name: str) -> None:
    outcome = run_selftest(circles / f"models/{name}.tflite")
    assert outcome.passed
    assert outcome.images >= 2
    result = succeed(run_pocketlens("selftest", circles / f"models/{name}.tflite"))
    assert "passed" in result.stdout


def test_readings_on_the_command_line(circles: Path, tmp_path: Path) -> None:
    model = circles / "models/int8.tflite"
    result = succeed(
        run_pocketlens("classify", "--model", model, "--features", "-0.8,0", "--features", "0,1", "--top", 1)
    )
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert lines == [["-0.8,0:", "inner"], ["0,1:", "outer"]]
    rows = tmp_path / "rows.csv"
    rows.write_text("label,y,x\ninner,0,0.8\n?,0,oops\nouter,1,0\n")
    result = run_pocketlens("classify", "--model", model, "--json", rows)
    assert result.returncode == 1
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["path"] == f"{rows}:2"
    assert first["predictions"] == [p.as_dict() for p in Classifier(model).classify([0.8, 0])]
    assert "x is 'oops', expected a number" in second["error"]
    assert third["predictions"][0]["label"] == "outer"
    result = run_pocketlens("classify", "--model", model, "--csv", rows)
    assert len(result.stdout.splitlines()) == 6


def test_readings_on_standard_input_are_answered_one_by_one(circles: Path) -> None:
    command = [sys.executable, "-m", "runtime.cli.main", "classify", "--top", "1", "--model"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [*command, str(circles / "models/int8.tflite"), "-"],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for row, label in (("0.8,0", "inner"), ("0,1", "outer")):
        process.stdin.write(f"{row}\n")
        assert label in process.stdout.readline()  # before the next row is sent
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


def test_what_is_for_images_is_refused_in_one_line(circles: Path, tmp_path: Path) -> None:
    model, photo = circles / "models/int8.tflite", tmp_path / "photo.jpg"
    Image.new("RGB", (32, 32)).save(photo)
    for arguments, words, status in (
        (("classify", "--model", model, photo), "not text; a model that takes features wants a CSV file", 1),
        (("classify", "--model", model, "--features", "1"), "1 values, expected 2 features (x, y)", 1),
        (("classify", "--model", model, "--features", "1,nan"), "y is nan", 1),
        (("watch", "--model", model, tmp_path), "watch answers images; pipe readings into", 1),
        (("bench", "--image", photo, model), "--image is for models that take images", 2),
        (("export", circles / "run", "--out", tmp_path / "out", "--rgb-input"), "leave out --rgb-input", 1),
    ):
        result = run_pocketlens(*arguments)
        assert result.returncode == status
        assert words in result.stderr.splitlines()[-1]
        assert result.stdout == ""


def test_info_bench_and_doctor_know_features(circles: Path) -> None:
    model = circles / "models/int8.tflite"
    lines = succeed(run_pocketlens("info", model)).stdout
    assert "  features  x: (value - " in lines
    assert "            y: (value - " in lines
    assert "pixel" not in lines
    found = json.loads(succeed(run_pocketlens("bench", "--rounds", 5, "--max-threads", 1, "--json", model)).stdout)
    assert all("error" not in row for row in found["results"])
    result = run_pocketlens("doctor", "--json", model)
    models = [finding for line in result.stdout.splitlines() if "model" in (finding := json.loads(line))["subject"]]
    assert [finding["status"] for finding in models] == ["ok"] * len(models)


def test_a_persons_own_readings_all_the_way(tmp_path: Path) -> None:
    """Features of very different units, three classes, one spike."""
    rng = np.random.default_rng(0)
    rows = ["temperature,pressure,noise,label"]
    for label, (temperature, pressure) in {"fair": (25, 102_000), "rain": (15, 100_500), "storm": (12, 98_000)}.items():
        for _ in range(60):
            values = rng.normal((temperature, pressure, 0), (1.5, 300, 1e-4))
            rows.append(",".join(f"{value:.9g}" for value in values) + f",{label}")
    rows[1] = "25,102000,0.5,fair"
    rows.insert(2, "broken,,,fair")
    (tmp_path / "weather.csv").write_text("\n".join(rows) + "\n")
    quick = ("--units", "16", "--epochs", "25")
    result = succeed(call_pocketlens("train", "--dataset", tmp_path / "weather.csv", "--out", tmp_path / "run", *quick))
    assert "left out: " in result.stderr
    assert not (tmp_path / "run/boundary.png").exists()
    result = succeed(call_pocketlens("export", tmp_path / "run", "--out", tmp_path / "models", "--max-drop", "0.06"))
    report = json.loads((tmp_path / "models/report.json").read_text())
    assert report["models"][1]["accuracy"] >= 0.9
    assert any("'noise' lies more than 6 standard deviations" in line for line in report["warnings"])
    assert not (tmp_path / "models/boundary.png").exists()
    result = succeed(
        run_pocketlens("classify", "--json", "--model", tmp_path / "models/int8.tflite", "--features", "12,98000,0")
    )
    assert json.loads(result.stdout)["predictions"][0]["label"] == "storm"
    reading = {"pressure": 102_000, "temperature": 25, "noise": 0}
    assert Classifier(tmp_path / "models/int8.tflite").classify(reading)[0].label == "fair"
