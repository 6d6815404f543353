"""A seal is no trust: what anybody sealed over a damaged model is refused, once checked it costs nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, ModelFileError, read_model, seal, sealed_models
from runtime.external import sandbox
from runtime.tflite.model import check_structure
from tests.support.exports import Exported


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    forget(monkeypatch)
    return tmp_path / "cache"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_models, "_known", set())
    monkeypatch.setattr(sandbox, "_known", {})


def test_a_sealed_model_is_checked_once(digits_export: Exported, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = digits_export.int8.read_bytes()
    Classifier(content)
    (mark,) = (cache / "sealed").iterdir()
    assert mark.name.startswith(content[-64:].decode())
    forget(monkeypatch)

    def refuse(*_arguments: Any) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr("runtime.tflite.model.check_structure", refuse)
    Classifier(content)


def test_damage_under_a_seal_is_refused_unless_trusted(digits_export: Exported, cache: Path) -> None:
    file = read_model(digits_export.int8)
    rng = np.random.default_rng(0)
    damaged = None
    for position in rng.integers(8, len(file.flatbuffer), 400):
        changed = bytearray(file.flatbuffer)
        changed[position] ^= 0xFF
        try:
            check_structure(bytes(changed))
        except ModelFileError:
            damaged = seal(bytes(changed), file.contract)
            with pytest.raises(ModelFileError, match="damaged"):
                Classifier(damaged)
    assert damaged is not None
    assert not (cache / "sealed").exists()


def test_a_strange_operator_is_tried_in_a_child(
    digits_export: Exported, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_models, "_PLAIN", frozenset({"RELU"}))
    content = digits_export.int8.read_bytes()
    Classifier(content)
    assert not (cache / "sealed").exists()
    assert len(list((cache / "trials").iterdir())) == 1
    monkeypatch.setattr(sandbox, "_known", {})
    monkeypatch.setattr(subprocess, "run", None)
    Classifier(content)


def test_trusted_skips_the_check(digits_export: Exported, cache: Path) -> None:
    Classifier(digits_export.int8, trusted=True)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_does_no_harm(digits_export: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", os.devnull)
    assert Classifier(digits_export.int8).contract.labels[0] == "0"
