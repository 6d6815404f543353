"""Which models may be published."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import RepositoryError
from exporter.repository.admission import admit
from runtime import Contract, ImageInput, ModelFileError
from runtime.model_file import seal

pytestmark = pytest.mark.fast

TINY = Path(__file__).parents[4] / "runtime" / "data" / "tiny.tflite"


def write_model(folder: Path, labels: tuple[str, ...] = ("cat", "dog")) -> Path:
    path = folder / "int8.tflite"
    path.write_bytes(seal(TINY.read_bytes(), Contract(labels, ImageInput(8, 8, "grey"))))
    return path


def write_report(model: Path, passed: bool = True, **changes: Any) -> Path:
    entry = {
        "file": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "accuracy": 0.97,
        "gate": "passed",
        "gates": [{"name": "drop", "value": 0.0, "limit": 0.01, "passed": True, "metric": "accuracy"}],
        **changes,
    }
    path = model.parent / "report.json"
    path.write_text(json.dumps({"passed": passed, "models": [entry]}))
    return path


def test_a_model_whose_report_passed(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    report = write_report(model)
    found = admit(model)
    assert found.content == model.read_bytes()
    assert found.report == report.read_bytes()
    assert (found.forced, found.notes) == ("", {"labels": "2", "accuracy": "0.9700"})
    moved = report.rename(tmp_path / "elsewhere.json")
    assert admit(model, moved) == found


@pytest.mark.parametrize(
    ("passed", "changes", "problem"),
    [
        (False, {"gates": [{"name": "drop", "passed": False}]}, "failed: drop"),
        (True, {"gates": [{"name": "drop", "passed": False}]}, "failed: drop"),
        (False, {}, "another model of the export failed a gate"),
        (True, {"sha256": "0" * 64}, "describes no model with the SHA-256"),
        (True, {"gates": None}, "no gate was checked"),
        (True, {"gates": [3]}, "gates that cannot be read"),
    ],
)
def test_what_a_report_does_not_vouch_for(passed: bool, changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    write_report(model, passed, **changes)
    with pytest.raises(RepositoryError, match=f"{problem}.*`force`"):
        admit(model)
    assert problem in admit(model, force=True).forced


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"models": 3}', b"[" * 5000, b"\xff"])
def test_reports_that_are_none(content: bytes | None, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(RepositoryError, match=r"report\.json: .*`force`"):
        admit(model)
    assert admit(model, force=True).forced


def test_what_is_no_model_is_not_forced(tmp_path: Path) -> None:
    model = tmp_path / "int8.tflite"
    model.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"int8\.tflite"):
        admit(model, force=True)
