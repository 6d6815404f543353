"""Publishing: which names the files get, in which order they are renamed, and what of an earlier export is removed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.candidate import Candidate
from exporter.errors import ExportError
from exporter.evaluated_model import EvaluatedModel, evaluate_model
from exporter.gates import Gate
from exporter.publish import DISAGREEMENTS, final_names, publish, staging
from exporter.recipe import Recipe
from runtime import Contract, ImageInput
from runtime.errors import describe
from tests.support.kills import killed_at_each_change
from trainer.evaluation.predictions import Predictions

FAILED = (Gate("bytes", 3, 2, passed=False),)


def evaluated(recipe: Recipe, gates: tuple[Gate, ...] = ()) -> EvaluatedModel:
    candidate = Candidate(recipe, b"\0\0\0\0TFL3", Contract(("a", "b"), ImageInput(8, 8)))
    predictions = Predictions(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 1]))
    return replace(evaluate_model(candidate, predictions, {"median": 1.0}, None, None), gates=gates)


FLOAT32, INT8 = evaluated(Recipe.float32()), evaluated(Recipe.int8())
REJECTED = evaluated(Recipe.int8(), FAILED)


def put(out: Path, models: tuple[EvaluatedModel, ...], pictures: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Publish these models, pictures of disagreements and two documents."""
    with staging(out) as staged:
        for model in models:
            (staged / model.candidate.recipe.file_name).write_text(f"{model.name} {model.verdict}")
        (staged / DISAGREEMENTS).mkdir()
        for name in pictures:
            (staged / DISAGREEMENTS / name).write_text(name)
        for name in ("report.html", "report.json"):
            (staged / name).write_text(f"{name} of {len(models)}")
        return publish(staged, out, final_names(models), ("report.html", "report.json"))


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_one_failed_gate_withholds_every_final_name() -> None:
    assert [*final_names([FLOAT32, INT8])] == ["float32.tflite", "int8.tflite"]
    assert [*final_names([FLOAT32, REJECTED])] == ["float32.rejected.tflite", "int8.rejected.tflite"]


def test_the_documents_are_renamed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed: list[str] = []
    rename = Path.replace

    def watch(path: Path, target: Path) -> Path:
        renamed.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", watch)
    paths = put(tmp_path, (FLOAT32, INT8), ("int8.png",))
    assert renamed == ["float32.tflite", "int8.tflite", "int8.png", "report.html", "report.json"]
    assert [path.name for path in paths] == ["float32.tflite", "int8.tflite", "report.html", "report.json"]


def test_a_model_that_passes_takes_the_place_of_its_rejected_file(tmp_path: Path) -> None:
    put(tmp_path, (FLOAT32, REJECTED))
    assert files(tmp_path) == {"float32.rejected.tflite", "int8.rejected.tflite", "report.html", "report.json"}
    put(tmp_path, (INT8,))
    assert files(tmp_path) == {"float32.rejected.tflite", "int8.tflite", "report.html", "report.json"}
    # A rejection leaves the files of an earlier export as they are.
    before = (tmp_path / "int8.tflite").read_text()
    put(tmp_path, (REJECTED,))
    assert (tmp_path / "int8.tflite").read_text() == before
    assert (tmp_path / "int8.rejected.tflite").is_file()


def test_pictures_of_an_earlier_export_go_and_those_of_the_user_stay(tmp_path: Path) -> None:
    put(tmp_path, (INT8,), ("int8.png", "dynamic.png"))
    (tmp_path / DISAGREEMENTS / "mine.png").write_text("mine")
    put(tmp_path, (INT8,), ("int8.png",))
    assert files(tmp_path / DISAGREEMENTS) == {"int8.png", "mine.png"}
    (tmp_path / DISAGREEMENTS / "mine.png").unlink()
    put(tmp_path, (INT8,))
    assert not (tmp_path / DISAGREEMENTS).exists()


def test_nothing_staged_stays_after_an_error(tmp_path: Path) -> None:
    def stop_half_way() -> None:
        with staging(tmp_path / "out") as staged:
            (staged / "int8.tflite").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_half_way()
    assert not list((tmp_path / "out").iterdir())


def generation(text: str) -> Callable[[Path], None]:
    """An export all of whose files hold this text."""

    def export(out: Path) -> None:
        with staging(out) as staged:
            (staged / DISAGREEMENTS).mkdir()
            for name in ("float32.tflite", "int8.tflite", f"{DISAGREEMENTS}/int8.png", "report.html", "report.json"):
                (staged / name).write_text(text)
            publish(staged, out, final_names((FLOAT32, INT8)), ("report.html", "report.json"))

    return export


def test_an_export_that_is_killed_anywhere_leaves_no_report_of_other_models(tmp_path: Path) -> None:
    old, new = generation("old"), generation("new")
    states = set()
    for out in killed_at_each_change(tmp_path, old, new):
        found = {
            path.name: path.read_text() for path in out.rglob("*") if path.is_file() and ".partial-" not in str(path)
        }
        if "report.json" in found:
            assert len(set(found.values()) - {""}) == 1, found
        states.add(found.get("report.json"))
        new(out)  # the next export is whole, and nothing of the killed one stays
        assert files(out) == {"float32.tflite", "int8.tflite", "disagreements/int8.png", "report.html", "report.json"}
        assert {path.read_text() for path in out.rglob("*") if path.is_file()} == {"new"}
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert states == {"old", None, "new"}


def test_a_full_disk_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as raised, staging(tmp_path):
        raise OSError(28, "No space left on device")
    assert describe(raised.value) == (
        f"{tmp_path} or {tempfile.gettempdir()}: No space left on device; make room there, or name another folder"
    )


def test_a_second_export_into_the_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with staging(tmp_path) as staged:
        with pytest.raises(ExportError, match="another export is writing into it; wait for it, or name another `out`"):
            put(tmp_path, (INT8,))
        assert staged.is_dir()
    put(tmp_path, (INT8,))
    assert files(tmp_path) == {"int8.tflite", "report.html", "report.json"}
