"""The command that an export's report gives for making the same files again."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.budget.predict import Predictor
from exporter.cli.export import export, propose_repair, reproduce_command
from exporter.errors import ExportError
from exporter.gates import Limits
from exporter.recipe import ExportConfig
from tests.support.commands import call_pocketlens, invoke, succeed
from tests.support.profiles import made_profile
from trainer.evaluation.decision_threshold import ThresholdRule

DEFAULTS: dict[str, Any] = {
    "max_drop": 0.01,
    "max_class_drop": None,
    "min_agreement": None,
    "max_bytes": None,
    "max_latency_ms": None,
    "max_memory": None,
    "budget": None,
    "min_accuracy": None,
    "min_robustness": None,
    "corruptions": False,
    "corruption_images": None,
    "target": "tflite-runtime-2.14",
    "edgetpu": False,
    "rgb_input": False,
    "embedding": False,
    "c_array": False,
    "no_selftest": False,
    "accept_low_accuracy": False,
    "calibration_samples": 500,
    "calibration_seed": 3,
    "false_accept_rate": None,
    "repair": False,
    "threshold": None,
}


@pytest.mark.parametrize(
    ("modes", "io", "changes"),
    [
        (("float32", "int8"), "uint8", {}),
        (("float16", "int16x8"), "uint8", {"max_class_drop": 0.5, "max_bytes": 10, "repair": True}),
        (("int8",), "int8", {"max_latency_ms": 2.5, "min_agreement": 0.9, "edgetpu": True, "no_selftest": True}),
        (("int8",), "float32", {"rgb_input": True, "c_array": True, "false_accept_rate": 0.05, "max_drop": 0.02}),
        (("int8",), "uint8", {"min_accuracy": 0.9, "accept_low_accuracy": True}),
        (("int8",), "uint8", {"min_robustness": 0.7}),
        (("int8",), "uint8", {"budget": Path("pi zero.json"), "max_memory": 500_000, "max_latency_ms": 20.0}),
        (("int8",), "uint8", {"corruptions": True, "corruption_images": 50, "embedding": True}),
        (("int8",), "uint8", {"threshold": ThresholdRule("recall", 0.95)}),
    ],
)
def test_the_command_line_is_read_back_as_the_same_options(
    modes: tuple[str, ...], io: str, changes: dict[str, Any]
) -> None:
    options = DEFAULTS | changes
    command = shlex.split(reproduce_command(("a run; rm -rf",), modes, io, options))
    assert command[:2] == ["pocketlens", "export"]
    found = export.make_context("export", command[2:]).params
    assert (found["run"], found["out"], found["modes"], found["io"]) == (Path("a run; rm -rf"), Path("OUT"), modes, io)
    assert {name: found[name] for name in DEFAULTS} == options


FAILED_DROP = {"name": "drop", "passed": False}
PASSED_DROP = {"name": "drop", "passed": True}


@pytest.mark.parametrize(
    ("figures", "options", "proposal"),
    [
        ({"drop": 0.002, "agreement": 0.97}, {}, ""),
        ({"drop": 0.02, "gates": [FAILED_DROP]}, {}, "with --repair, strategies"),
        ({"drop": 0.02, "gates": [FAILED_DROP]}, {"repair": True}, ""),
        ({"drop": 0.02, "gates": [{"name": "bytes", "passed": False}]}, {}, ""),
        ({"drop": 0.02}, {"max_drop": 0.05}, "int8 loses 2.00 points; --repair --max-drop 0.01 looks"),
        ({"agreement": 0.96}, {}, "on a share of 0.9600; --repair --min-agreement 0.97 looks"),
        ({"agreement": 0.96}, {"min_agreement": 0.9}, ""),
        ({"agreement": 0.96, "mode": "float16"}, {}, ""),
    ],
)
def test_a_repair_is_proposed_where_int8_loses_or_differs(
    figures: dict[str, Any], options: dict[str, Any], proposal: str
) -> None:
    model = {"mode": "int8", "drop": 0.0, "agreement": 1.0, "gates": [PASSED_DROP]} | figures
    found = propose_repair({"models": [model]}, DEFAULTS | options)
    assert found.startswith(proposal) if found.startswith("with") else proposal in found
    assert bool(found) == bool(proposal)


def test_the_command_gives_the_same_files(digits_run: Path, tmp_path: Path) -> None:
    succeed(call_pocketlens("export", digits_run, "--out", tmp_path / "first", "--mode", "int8", "--max-drop", 0.5))
    command = json.loads((tmp_path / "first/report.json").read_text())["command"]
    assert "--mode int8 --io uint8 --max-drop 0.5 --target" in command
    words = shlex.split(command)[1:]
    succeed(call_pocketlens(*(str(tmp_path / "second") if word == "OUT" else word for word in words)))
    for path in (tmp_path / "first").iterdir():
        if path.is_file() and path.name != "timings.json":
            assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_a_budget_gates_on_the_prediction_and_says_so(digits_run: Path, tmp_path: Path) -> None:
    made_profile((1,), slower=100).write(tmp_path / "pi.json")
    out, options = tmp_path / "out", ("--mode", "int8", "--max-drop", 0.5, "--no-selftest")
    limits = ("--max-latency-ms", 0.001, "--max-memory", "1GB")
    done = call_pocketlens("export", digits_run, "--out", out, "--budget", tmp_path / "pi.json", *limits, *options)
    assert done.returncode == 3, done.stderr
    assert "int8.rejected.tflite: predicted on a board with tflite-runtime, 1 thread: " in done.stdout
    failed = "gate failed: int8 takes a predicted "
    assert failed in done.stderr
    assert "ms an invocation on the device, --max-latency-ms allows 0.001" in done.stderr
    report = json.loads((out / "report.json").read_text())
    float32, int8 = report["models"]
    found = Predictor(made_profile((1,), slower=100)).predict((out / "int8.rejected.tflite").read_bytes())
    assert int8["predicted"] == found.as_dict()
    assert float32["predicted"]["latency_ms"] > 0
    gates = {gate["name"]: gate for gate in int8["gates"]}
    assert (gates["predicted-latency"]["passed"], gates["predicted-memory"]["passed"]) == (False, True)
    assert gates["predicted-latency"]["value"] == found.latency_ms
    assert "latency" not in gates
    assert report["limits"]["max_memory"] == 10**9
    assert "predicted on" in (out / "report.html").read_text()
    assert shlex.quote(str(tmp_path / "pi.json")) in report["command"]


def test_memory_is_predicted_with_a_profile_only(digits_run: Path, tmp_path: Path) -> None:
    result = invoke("export", digits_run, "--out", tmp_path, "--max-memory", "2MB")
    assert result.exit_code == 2
    assert "add its profile with --budget" in result.stderr
    with pytest.raises(ExportError, match="give the device's profile as `budget`"):
        ExportConfig(Limits(max_memory=10))
    (tmp_path / "old.json").write_text('{"format": "pocketlens-device-profile", "version": 9}')
    result = invoke("export", digits_run, "--out", tmp_path, "--budget", tmp_path / "old.json")
    assert (result.exit_code, "a profile of version 9" in result.stderr) == (1, True)


def test_ctrl_c_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.data.run_folder.read_run", interrupt)
    result = invoke("export", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr == "Aborted!\n"


def test_a_small_folder_for_temporary_files_is_named(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.converter.shutil.disk_usage", lambda folder: SimpleNamespace(free=2**16))
    result = invoke("export", digits_run, "--out", tmp_path / "out")
    assert result.exit_code == 1
    wanted = (
        rf"error: {tempfile.gettempdir()}: 0\.1 MiB are free, and the conversion needs \d+\.\d MiB there; make room"
    )
    assert re.match(wanted, result.stderr.splitlines()[-1])
