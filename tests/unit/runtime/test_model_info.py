"""What `info` says of a model's cost; the rest of it is tested with the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import model_info
from runtime.model_info import inspect_model
from runtime.tflite.model import check_structure
from tests.support.commands import run_pocketlens, succeed
from tests.support.slots import slot_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "door.tflite"
    path.write_bytes(slot_model(selftest=False))
    return path


def test_the_cost_of_a_call_follows_from_the_file(model: Path) -> None:
    # Two sums of four; their weights, two biases and a shape; four tensors, each aligned to 64 bytes, of which the
    # last takes the place of the second.
    assert inspect_model(model)["cost"] == {"multiply_adds": 8, "weight_bytes": 48, "arena_bytes": 2 * 64 + 8}


def test_info_shows_it(model: Path) -> None:
    text = succeed(run_pocketlens("info", model)).stdout
    assert "cost      8 multiply-adds, 48 bytes of weights, 136 bytes of memory for tensors" in text


def test_a_cost_that_depends_on_the_input_is_not_known(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_loop(content: bytes, name: str) -> object:
        return check_structure(content, name)._replace(unbounded="it has control flow (WHILE)")

    monkeypatch.setattr(model_info, "check_structure", with_loop)
    found = inspect_model(model)
    assert found["cost"] is None
    assert found["obstacles"]
