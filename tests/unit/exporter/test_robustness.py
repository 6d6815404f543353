"""An export that measures its files under corruptions: the report, the gate, and which models it is not for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.export import export
from exporter.gates import Limits
from exporter.recipe import ExportConfig
from tests.support.commands import call_pocketlens, invoke, succeed
from tests.support.exports import Exported, Trip
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.evaluation.corruptions import CORRUPTIONS

pytestmark = pytest.mark.workstation
OPTIONS = ("--corruptions", "--corruption-images", 40)


def report_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def measured(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("robust") / "models"
    return Exported(out, succeed(call_pocketlens("export", digits_run, "--out", out, *OPTIONS)).stdout)


def test_the_report_has_both_files_side_by_side(measured: Exported) -> None:
    report = report_in(measured.folder)
    float32, int8 = (model["corruptions"] for model in report["models"])
    for found in (float32, int8):
        assert (found["metric"], found["images"], found["of"]) == ("accuracy", 40, 359)
        assert [*found["by_corruption"]] == [*CORRUPTIONS]
        assert all(len(values) == 5 for values in found["by_corruption"].values())
        assert found["mean_interval"][0] <= found["mean"] <= found["mean_interval"][1]
        assert found["weakest_class"]["label"] in report["labels"]
    assert "drop" not in float32
    assert int8["drop"] == pytest.approx(float32["mean"] - int8["mean"])
    assert int8["drop_interval"][0] <= int8["drop"] <= int8["drop_interval"][1]
    page, card = ((measured.folder / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
    assert "<h2>Under corruptions</h2>" in page
    assert page.count("accuracy by severity</figcaption>") == len(CORRUPTIONS)
    assert page.count("from none to severity 5</figcaption>") == len(CORRUPTIONS)
    assert page.count("<dt>mean corruption accuracy</dt>") == 2
    assert "| corruption | float32 | int8 | int8: drop (points) |" in card
    assert f"int8: mean corruption accuracy {int8['mean']:.4f}" in card
    assert "corrupted" in measured.stdout
    assert "min_robustness" not in report["limits"]
    assert report["passed"]


def test_the_same_command_gives_the_same_bytes(digits_run: Path, measured: Exported, tmp_path: Path) -> None:
    succeed(call_pocketlens("export", digits_run, "--out", tmp_path / "again", *OPTIONS))
    for name in ("report.json", "report.html", "MODEL_CARD.md", "int8.tflite"):
        assert (tmp_path / "again" / name).read_bytes() == (measured.folder / name).read_bytes(), name


def test_without_it_nothing_is_measured(digits_export: Exported) -> None:
    assert not any("corruptions" in model for model in report_in(digits_export.folder)["models"])
    for name in ("report.html", "MODEL_CARD.md"):
        assert "corruption" not in (digits_export.folder / name).read_text()


def test_the_gate_publishes_nothing_that_fails(digits_run: Path, measured: Exported, tmp_path: Path) -> None:
    options = ("--corruption-images", 40, "--min-robustness", "0.999")
    result = invoke("export", digits_run, "--out", tmp_path, *options)
    assert result.exit_code == 3
    mean = report_in(measured.folder)["models"][1]["corruptions"]["mean"]
    assert f"int8 has a mean corruption accuracy of {mean:.4f}, --min-robustness asks 0.9990" in result.stderr
    assert (tmp_path / "int8.rejected.tflite").is_file()
    assert not (tmp_path / "int8.tflite").exists()
    report = report_in(tmp_path)
    assert report["limits"]["min_robustness"] == 0.999
    (gate,) = (gate for gate in report["models"][1]["gates"] if gate["name"] == "robustness")
    assert gate["text"] == f"has a mean corruption accuracy of {mean:.4f}, the gate asks 0.9990"
    assert not gate["passed"]
    assert report["models"][0]["gates"] == []


def test_several_labels_have_their_own_metric(multilabel_trip: Trip, tmp_path: Path) -> None:
    limits = ("--max-drop", "0.1", "--min-robustness", "0.01", "--corruption-images", 20)
    succeed(call_pocketlens("export", multilabel_trip.run, "--out", tmp_path, *limits))
    found = report_in(tmp_path)["models"][1]
    assert found["corruptions"]["metric"] == "mean_average_precision"
    (gate,) = (gate for gate in found["gates"] if gate["name"] == "robustness")
    assert (gate["value"], gate["metric"]) == (found["corruptions"]["mean"], "mean corruption average precision")


def test_features_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    run = tmp_path / "run"
    succeed(call_pocketlens("train", "--dataset", "circles", "--arch", "dense", "--epochs", 1, "--out", run))
    result = invoke("export", run, "--out", tmp_path / "models", "--corruptions")
    assert result.exit_code == 1
    assert "--corruptions change images, and the model takes 2 features (x, y); leave them out" in result.stderr
    assert not (tmp_path / "models").exists()
    config = ExportConfig(limits=Limits(min_robustness=0.5))
    with pytest.raises(RunError, match="`corruptions` change images"):
        export(read_run(run), tmp_path / "models", config=config)


def test_a_number_of_images_needs_corruptions(tmp_path: Path) -> None:
    result = invoke("export", tmp_path, "--out", tmp_path / "out", "--corruption-images", 9)
    assert result.exit_code == 2
    assert "--corruption-images is the number of images for --corruptions; add that" in result.stderr
