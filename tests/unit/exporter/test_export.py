"""The command `export`: what it makes, what it measures, and what it never publishes."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import resource
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from exporter.errors import ExportError
from exporter.export import export
from exporter.gates import Limits
from exporter.recipe import ExportConfig, Recipe
from runtime import Classifier, read_model
from runtime.interpreter import build
from tests.support.commands import call_pocketlens, succeed
from tests.support.exports import Exported
from trainer.data.run_folder import read_run


@pytest.fixture(scope="module")
def report(digits_export: Exported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((digits_export.folder / "report.json").read_text())
    return found


DOCUMENTS = {"MODEL_CARD.md", "report.html", "report.json", "timings.json"}


def names(folder: Path) -> set[str]:
    """What an export left, but for the pictures of disagreements, of which there may be none."""
    return {path.name for path in folder.iterdir()} - {"disagreements"}


def test_it_makes_two_models_and_a_report(digits_export: Exported) -> None:
    assert names(digits_export.folder) == {"float32.tflite", "int8.tflite"} | DOCUMENTS


def test_the_report_holds_what_the_files_are(digits_export: Exported, report: dict[str, Any]) -> None:
    assert report["dataset"] == "digits"
    assert report["seed"] == 0
    assert report["passed"] is True
    assert sum(report["splits"].values()) == 1797
    calibration = report["calibration"]
    assert {name: calibration[name] for name in ("samples", "seed", "split", "classes", "duplicates", "overlap")} == {
        "samples": 500,
        "seed": 0,
        "split": "train",
        "classes": 10,
        "duplicates": 0,
        "overlap": 0,
    }
    assert report["warnings"] == []
    assert report["target"] == "tflite-runtime-2.14"
    assert set(report["versions"]) == {"pocketlens", "tensorflow", "keras", "numpy", "pillow", "matplotlib"}
    assert [(m["file"], m["mode"], m["gate"]) for m in report["models"]] == [
        ("float32.tflite", "float32", "reference"),
        ("int8.tflite", "int8", "passed"),
    ]
    for model in report["models"]:
        content = (digits_export.folder / model["file"]).read_bytes()
        assert model["bytes"] == len(content)
        assert model["sha256"] == hashlib.sha256(content).hexdigest() == read_model(content).sha256
        timing = json.loads((digits_export.folder / "timings.json").read_text())[model["file"]]
        assert 0 < timing["median"] <= timing["p95"]


def test_the_figures_are_those_of_the_device(digits_run: Path, digits_export: Exported, report: dict[str, Any]) -> None:
    run = read_run(digits_run)
    test = run.splits["test"]
    answers = {}
    for model in report["models"]:
        classifier = Classifier(digits_export.folder / model["file"])
        answers[model["mode"]] = np.array([classifier.classify(run.source.sample(int(i)), 1)[0].index for i in test])
        assert model["accuracy"] == pytest.approx((answers[model["mode"]] == run.targets[test]).mean())
    int8 = report["models"][1]
    assert int8["agreement"] == pytest.approx((answers["float32"] == answers["int8"]).mean())
    assert int8["drop"] == pytest.approx(report["models"][0]["accuracy"] - int8["accuracy"])
    assert int8["accuracy"] >= 0.97
    assert int8["drop"] <= 0.01


def test_the_table_shows_them(digits_export: Exported, report: dict[str, Any]) -> None:
    head, *rows, _, more_head, first, second = digits_export.stdout.splitlines()[:7]
    timings = json.loads((digits_export.folder / "timings.json").read_text())
    for column in ("file", "bytes", "test accuracy", "drop (points)", "ms/call", "gate"):
        assert column in head
    for column in ("file", "accuracy, 95 %", "drop, 95 %", "agreement", "ECE", "calibrated"):
        assert column in more_head
    assert all(len(line) <= 80 for line in digits_export.stdout.splitlines()[:7])
    for row, more, model in zip(rows, (first, second), report["models"], strict=True):
        file, size, accuracy, drop, milliseconds, gate = row.split()
        same_file, interval, _, agreement, plain, tempered = more.split()
        assert same_file == file
        assert (file, int(size.replace(",", "")), gate) == (model["file"], model["bytes"], model["gate"])
        assert float(accuracy) == pytest.approx(model["accuracy"], abs=5e-5)
        assert float(drop) == pytest.approx(100 * model["drop"], abs=5e-3)
        assert float(plain) == pytest.approx(model["calibration_error_untempered"], abs=5e-5)
        assert float(tempered) == pytest.approx(model["calibration_error"], abs=5e-5)
        assert float(agreement) == pytest.approx(model["agreement"], abs=5e-5)
        assert float(milliseconds) == pytest.approx(timings[model["file"]]["median"], abs=6e-4)
        low, _, high = interval.partition("..")
        assert float(low) < model["accuracy"] < float(high)


def test_int8_is_int8_throughout(digits_export: Exported) -> None:
    interpreter = build(digits_export.int8.read_bytes())
    types = {np.dtype(d["dtype"]).name for d in interpreter.get_tensor_details()}  # type: ignore[attr-defined]
    assert types <= {"uint8", "int8", "int32"}, "a float tensor is left"
    scales = [
        len(d["quantization_parameters"]["scales"])
        for d in interpreter.get_tensor_details()  # type: ignore[attr-defined]
        if len(d["shape"]) == 4 and d["shape"][0] > 1
    ]
    assert scales
    assert max(scales) > 1, "weights have one scale for all channels"


def test_the_same_run_gives_the_same_bytes(digits_run: Path, digits_export: Exported, tmp_path: Path) -> None:
    result = succeed(call_pocketlens("export", digits_run, "--out", tmp_path, "--json"))
    assert json.loads(result.stdout)["passed"] is True
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in files} >= {"float32.tflite", "int8.tflite"} | DOCUMENTS
    for path in files - {Path("timings.json")}:
        assert (tmp_path / path).read_bytes() == (digits_export.folder / path).read_bytes(), path


@pytest.fixture(scope="module")
def ruined_run(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network is right in float32 and useless in int8.

    One unit of its hidden layer is ten thousand times as large as the others, and has no say in the answer;
    but all share one scale, under which the others round to zero.
    """
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("ruined") / "run"
    shutil.copytree(digits_run, folder)
    run = read_run(folder)
    train = run.splits["train"]
    mean, std = run.contract.input.mean[0], run.contract.input.std[0]
    pixels = (np.stack([run.source.sample(int(i)) for i in train]).reshape(len(train), 64) - mean) / std
    fitted = LogisticRegression(max_iter=1000).fit(pixels, run.targets[train])
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Dense(65)(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(hidden))
    first = np.hstack([np.eye(64), np.full((64, 1), 1e4 / 64)])
    last = np.vstack([fitted.coef_.T, np.zeros((1, 10))])
    model.set_weights([first, np.zeros(65), last, fitted.intercept_])
    model.save(folder / "model.keras")
    return folder


def test_a_failed_gate_publishes_nothing(ruined_run: Path, digits_export: Exported, tmp_path: Path) -> None:
    out = tmp_path / "models"
    shutil.copytree(digits_export.folder, out)
    before = {name: (out / name).read_bytes() for name in ("float32.tflite", "int8.tflite")}
    result = call_pocketlens("export", ruined_run, "--out", out)
    assert result.returncode == 3, result.stderr
    assert result.stdout.splitlines()[2].endswith("failed: drop")
    assert re.search(
        r"gate failed: int8 loses [3-9]\d\.\d\d points of accuracy, --max-drop allows 1\.00\nwith --repair",
        result.stderr,
    )
    models = {"float32.tflite", "int8.tflite", "float32.rejected.tflite", "int8.rejected.tflite"}
    assert names(out) == models | DOCUMENTS
    assert "failed: drop" in (out / "report.html").read_text()
    assert "Not published" in (out / "MODEL_CARD.md").read_text()
    assert (out / "disagreements/int8.png").is_file()
    assert {name: (out / name).read_bytes() for name in before} == before
    report = json.loads((out / "report.json").read_text())
    assert report["passed"] is False
    assert report["models"][1]["file"] == "int8.rejected.tflite"
    assert report["models"][1]["gate"] == "failed: drop"
    assert report["models"][1]["p_value"] < 1e-6
    assert report["models"][1]["drop"] > 0.3
    assert report["models"][0]["accuracy"] > 0.9

    # The same files are published where the user allows the drop, and what was rejected is gone.
    succeed(call_pocketlens("export", ruined_run, "--out", out, "--max-drop", "1"))
    assert names(out) == {"float32.tflite", "int8.tflite"} | DOCUMENTS
    assert (out / "int8.tflite").read_bytes() != before["int8.tflite"]


def test_a_full_disk_leaves_nothing_half_written(
    digits_run: Path, digits_export: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    shutil.copytree(digits_export.folder, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    class DiskFills(logging.Filter):
        """From the report on no file can grow beyond 8 KiB."""

        def filter(self, record: logging.LogRecord) -> bool:
            if record.getMessage() == "writing the report":
                resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 2**10, unlimited[1]))
            return True

    logger, filling = logging.getLogger("exporter.export"), DiskFills()
    caplog.set_level(logging.INFO, "exporter")
    logger.addFilter(filling)
    try:
        with pytest.raises(OSError, match="File too large"):
            export(read_run(digits_run), out, [Recipe.float32()])
    finally:
        logger.removeFilter(filling)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not [path for path in out.iterdir() if path.name.startswith(".partial")]


def test_the_coral_is_asked_about_and_images_can_be_left_out(digits_run: Path, tmp_path: Path) -> None:
    result = succeed(call_pocketlens("export", digits_run, "--out", tmp_path, "--edgetpu", "--no-selftest", "--json"))
    assert zipfile.ZipFile(tmp_path / "int8.tflite").namelist() == ["contract.json", "labels.txt"]
    assert re.search(r"int8: Edge TPU: (\d+) of \1 operators would be mapped", result.stderr)
    report = json.loads(result.stdout)
    assert all(row["mapped"] for row in report["models"][1]["edgetpu"])
    assert report["timings"]["int8.tflite"]["median"] > 0
    assert "on a Coral" in (tmp_path / "report.html").read_text()
    assert "--edgetpu --no-selftest" in report["command"]


def broken(run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    return folder


@pytest.mark.parametrize("name", ["model.keras", "contract.json", "splits.json", "images.npy"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"garbage"])
def test_a_run_that_is_half_there_is_one_plain_error(
    digits_run: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = broken(digits_run, tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    if name == "model.keras" and content is not None:
        with pytest.raises(ExportError, match="cannot be loaded"):
            export(read_run(folder), tmp_path / "out")
    else:
        result = call_pocketlens("export", folder, "--out", tmp_path / "out")
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert "unexpected" not in result.stderr
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version 2"),
        ({"targets": [0]}, "1 targets"),
        ({"train": [1797]}, "index"),
        ({"train": [-1]}, "index"),
        ({"train": "all"}, "not as the trainer writes them"),
        ({"images": {"kind": "files", "root": "/", "paths": ["../x"], "sha256": [""]}}, "out of the folder"),
        ({"images": {"kind": "files", "root": "/", "paths": ["/etc/x"], "sha256": [""]}}, "out of the folder"),
        ({"images": {"kind": "web"}}, "kind"),
    ],
)
def test_splits_that_the_trainer_did_not_write(
    digits_run: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = broken(digits_run, tmp_path)
    document = json.loads((folder / "splits.json").read_text())
    (folder / "splits.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(ValueError, match=reason):
        read_run(folder)


def test_splits_that_overlap_are_refused(digits_run: Path, tmp_path: Path) -> None:
    folder = broken(digits_run, tmp_path)
    document = json.loads((folder / "splits.json").read_text())
    document["train"].append(document["test"][0])
    (folder / "splits.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="in two splits"):
        read_run(folder)


def test_a_model_that_its_contract_does_not_describe(digits_run: Path, tmp_path: Path) -> None:
    folder = broken(digits_run, tmp_path)
    contract = json.loads((folder / "contract.json").read_text())
    contract["labels"].append("ten")
    (folder / "contract.json").write_text(json.dumps(contract))
    with pytest.raises(ExportError, match="its contract says"):
        export(read_run(folder), tmp_path / "out")


def test_a_model_with_code_inside_is_not_run(digits_run: Path, tmp_path: Path) -> None:
    folder = broken(digits_run, tmp_path)
    marker = tmp_path / "executed"
    inputs = keras.Input((8, 8, 1))
    path = str(marker)
    code = layers.Lambda(lambda x: (__import__("pathlib").Path(path).write_bytes(b""), x)[1], output_shape=(8, 8, 1))(
        inputs
    )
    keras.Model(inputs, layers.Dense(10)(layers.Flatten()(code))).save(folder / "model.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(ExportError, match="cannot be loaded"):
        export(read_run(folder), tmp_path / "out")
    assert not marker.exists()


def test_recipes_are_values() -> None:
    assert Recipe.int8() == Recipe("int8", "uint8") == Recipe.of("int8")
    assert Recipe.float32() != Recipe.int8()
    assert Recipe.of("dynamic", "uint8") == Recipe.dynamic()
    assert [r.name for r in (Recipe.int8(), Recipe.int8("float32"), Recipe.int16x8())] == [
        "int8",
        "int8-float32",
        "int16x8",
    ]
    with pytest.raises(ValueError, match="float64"):
        Recipe.int8(io="float64")
    with pytest.raises(ValueError, match="float32, float16, dynamic, int8, int16x8"):
        Recipe("int4")
    with pytest.raises(ValueError, match="io of float16"):
        Recipe("float16", "uint8")


@pytest.mark.slow
def test_every_mode_in_one_report(digits_run: Path, tmp_path: Path) -> None:
    recipes = [Recipe.float16(), Recipe.dynamic(), Recipe.int8(io="int8"), Recipe.int16x8()]
    exported = export(read_run(digits_run), tmp_path, recipes, ExportConfig(limits=Limits(max_drop=0.02)))
    assert exported.passed
    wanted = ["float32", "float16", "dynamic", "int8-int8", "int16x8"]
    assert [model["file"] for model in exported.report["models"]] == [f"{name}.tflite" for name in wanted]
    sizes = {model["mode"]: model["bytes"] for model in exported.report["models"]}
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"], sizes["int16x8"]) < 0.45 * sizes["float32"]
    html = (tmp_path / "report.html").read_text()
    assert all(f"{name}.tflite" in html for name in wanted)
    types = {name: build((tmp_path / f"{name}.tflite").read_bytes()).get_input_details()[0]["dtype"] for name in wanted}
    assert types["int8-int8"] is np.int8
    assert {types[name] for name in wanted if name != "int8-int8"} == {np.float32}
    assert exported.report["command"] == ""  # only the command line has one


def test_every_gate_that_fails_is_named(digits_run: Path, tmp_path: Path) -> None:
    strict = ("--max-bytes", 1000, "--max-latency-ms", 0.0001, "--min-agreement", 0.5, "--max-class-drop", 0.9)
    result = call_pocketlens("export", digits_run, "--out", tmp_path, "--mode", "int8", *strict)
    assert result.returncode == 3, result.stderr
    reference, int8 = result.stdout.splitlines()[1:3]
    assert reference.endswith("reference")
    assert int8.endswith("failed: bytes, latency")
    gates = json.loads((tmp_path / "report.json").read_text())["models"][1]["gates"]
    assert {gate["name"]: gate["passed"] for gate in gates} == {
        "drop": True,
        "class-drop": True,
        "bytes": False,
        "latency": False,
        "agreement": True,
    }


def test_float32_alone_has_its_gates_too(digits_run: Path, tmp_path: Path) -> None:
    exported = export(read_run(digits_run), tmp_path, [Recipe.float32()], ExportConfig(limits=Limits(max_bytes=1000)))
    assert not exported.passed
    assert re.match(r"float32 has 3\d\d,\d\d\d bytes", exported.failures[0])
    assert names(tmp_path) == {"float32.rejected.tflite"} | DOCUMENTS
