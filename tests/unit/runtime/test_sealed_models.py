"""A seal is no trust: what anybody sealed over a damaged model is refused, once checked it costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, InterpreterError, ModelFileError, read_model, seal, sealed_models
from runtime.external import sandbox
from runtime.interpreter import choose, installed
from runtime.testing import FakeInterpreter
from runtime.tflite.model import check_structure
from tests.support.commands import ROOT
from tests.support.exports import Exported
from tests.support.external_models import changed


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


def strange(export: Exported) -> bytes:
    """A sealed model that works, with an operator that is of no known kind."""

    def change(model: Any) -> None:
        for operator in model.subgraphs[0].operators:
            if type(operator.builtinOptions).__name__ == "SoftmaxOptionsT":
                operator.builtinOptions.beta = 0.5

    file = read_model(export.int8)
    return seal(changed(file.flatbuffer, change), file.contract)


def test_a_strange_operator_is_tried_once_in_a_child(
    digits_export: Exported, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = strange(digits_export)
    Classifier(content)
    assert len(list((cache / "trials").iterdir())) == 1
    (mark,) = (cache / "sealed").iterdir()
    assert choose() in mark.name
    forget(monkeypatch)

    def refuse(*_arguments: Any) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr("runtime.tflite.model.check_structure", refuse)
    Classifier(content)


def test_a_trial_holds_for_the_interpreter_that_made_it(
    digits_export: Exported, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = strange(digits_export)
    for library in installed():
        Classifier(content, interpreter=library)
    assert len(list((cache / "trials").iterdir())) == len(list((cache / "sealed").iterdir())) == len(installed())


def impossible_scales(model: Any) -> None:
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = [3e38 if number % 2 else 1e-38] * len(tensor.quantization.scale)


@pytest.mark.parametrize("library", installed())
def test_what_a_kernel_does_not_expect_does_not_end_the_process(library: str, digits_export: Exported) -> None:
    file = read_model(digits_export.int8)
    code = (
        "import sys; from runtime import Classifier, PocketlensError\n"
        f"try: Classifier(sys.stdin.buffer.read(), interpreter={library!r})\n"
        "except PocketlensError as error: print(error)"
    )
    content = seal(changed(file.flatbuffer, impossible_scales), file.contract)
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_trusted_skips_the_check(digits_export: Exported, cache: Path) -> None:
    Classifier(digits_export.int8, trusted=True)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_does_no_harm(digits_export: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", os.devnull)
    assert Classifier(digits_export.int8).contract.labels[0] == "0"


def test_a_name_that_is_no_text_is_our_error(digits_export: Exported) -> None:
    file = read_model(digits_export.int8)

    def change(model: Any) -> None:
        main = model.subgraphs[0]
        main.tensors[main.inputs[0]].name = b"\xff\xfe"

    content = seal(changed(file.flatbuffer, change), file.contract)
    with pytest.raises(ModelFileError, match="no text in UTF-8"):
        Classifier(content)


def test_an_interpreter_that_cannot_describe_its_tensors_is_our_error() -> None:
    class Engine(FakeInterpreter):
        def get_input_details(self) -> list[dict[str, Any]]:
            b"\xff".decode()  # as a binding does with a tensor's name
            return []

    with pytest.raises(InterpreterError, match="cannot describe the model's tensors"):
        Engine(["a", "b"], [[0.5, 0.5]]).classifier()
