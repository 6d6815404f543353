"""What a model is for, and what it needs to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runtime import Classifier, ModelFileError
from runtime.external.purpose import refuse_other_purposes, seems_to_be, unmet_needs
from runtime.interpreter import installed
from runtime.tflite._operator_versions import unknown_to
from runtime.tflite.graph import Ending, OperatorUse, TensorInfo
from runtime.tflite.model import Structure
from tests.support.commands import run_pocketlens
from tests.support.external_models import LABELS, changed, converted

PICTURE = (1, 8, 8, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def structure(
    outputs: list[tuple[int, ...]], given: tuple[int, ...] = PICTURE, kind: str = "FLOAT32", custom: str = ""
) -> Structure:
    uses = (OperatorUse("CUSTOM", 1, 32, custom),) if custom else (OperatorUse("CONV_2D", 1, 3),)
    answers = tuple(TensorInfo("", shape, shape, "FLOAT32", (), ()) for shape in outputs)
    return Structure(uses, (TensorInfo("", given, given, kind, (), ()),), answers, Ending(), {}, 0)


def with_custom_operator(name: str) -> bytes:
    """A model whose first operator is a custom one."""

    def change(model: Any) -> None:
        code = model.operatorCodes[0]
        code.deprecatedBuiltinCode = code.builtinCode = 32
        code.customCode, code.version = name, 1
        for operator in model.subgraphs[0].operators:
            if operator.opcodeIndex == 0:
                operator.builtinOptionsType, operator.builtinOptions = 0, None

    return changed(converted(), change)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (structure([(1, 10, 4), (1, 10), (1, 10), (1,)]), "object detector"),
        (structure([(1, 10)] * 4, custom="TFLite_Detection_PostProcess"), "object detector"),
        (structure([(1, 1917, 4), (1, 1917, 91)]), "object detector"),
        (structure([(1, 84, 8400)]), "object detector"),
        (structure([(1, 25200, 85)]), "object detector"),
        (structure([(1, 116, 8400), (1, 160, 160, 32)]), "object detector"),
        (structure([(1, 13, 13, 255), (1, 26, 26, 255)]), "object detector"),
        (structure([(1, 257, 257, 21)]), "segmentation"),
        (structure([(1, 256, 256)]), "segmentation"),
        (structure([(1, 21, 128, 128)]), "segmentation"),
        (structure([(1, 1, 17, 3)]), "pose"),
        (structure([(1, 6, 56)]), "pose"),
        (structure([(1, 9, 9, 17), (1, 9, 9, 34), (1, 9, 9, 32), (1, 9, 9, 32)]), "pose"),
        (structure([(1, 521)], (15600,)), "sound"),
        (structure([(1, 12)], (1, 16000)), "sound"),
        (structure([(1, 12)], (1, 8, 8, 5), custom="Mfcc"), "sound"),
        (structure([(1, 2)], (1, 256), "INT32"), "text"),
    ],
)
def test_other_kinds_of_models_are_named(found: Structure, kind: str) -> None:
    assert kind in seems_to_be(found)
    with pytest.raises(ModelFileError, match=rf"^m: .*; it seems to be .*{kind}"):
        refuse_other_purposes(found, "m")


@pytest.mark.parametrize("outputs", [(1, 3), (3,), (1, 1, 1, 1000), (1, 1)])
def test_a_classifier_is_not_refused(outputs: tuple[int, ...]) -> None:
    assert refuse_other_purposes(structure([outputs]), "m") == max(outputs)
    assert seems_to_be(structure([outputs])) == ""


def test_two_answers_of_unknown_meaning_are_not_guessed() -> None:
    with pytest.raises(ModelFileError, match=r"it has 2 outputs, expected 1$"):
        refuse_other_purposes(structure([(1, 3), (1, 5)]), "m")


def test_a_delegate_meets_the_needs_of_custom_operators() -> None:
    for name in ("edgetpu-custom-op", "FlexErf"):
        needy = structure([(1, 3)], custom=name)
        assert unmet_needs(needy, None)
        assert unmet_needs(needy, "lib.so") == ""
    assert unmet_needs(structure([(1, 3)]), None) == ""


@pytest.mark.parametrize("library", ["tflite_runtime", "ai_edge_litert"])
def test_the_last_step_of_detectors_is_known(library: str) -> None:
    uses = [OperatorUse("CUSTOM", 1, 32, name) for name in ("TFLite_Detection_PostProcess", "edgetpu-custom-op")]
    assert unknown_to(library, uses) == [(uses[1], 0)]


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ("edgetpu-custom-op", "compiled for the Edge TPU (Coral), which must be plugged in: give {}"),
        ("FlexErf", "needs Flex, TensorFlow's own operators (Erf)"),
    ],
)
def test_a_need_is_said_by_every_command(operator: str, words: str, tmp_path: Path) -> None:
    content = with_custom_operator(operator)
    with pytest.raises(ModelFileError) as caught:
        Classifier(content, labels=LABELS, mean=0, std=255)
    assert words.format("`delegate=libedgetpu.so.1`") in str(caught.value)
    assert "copy it again" not in str(caught.value)
    path = tmp_path / "needy.tflite"
    path.write_bytes(content)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    words = words.format("--delegate libedgetpu.so.1")
    options = ("--labels", tmp_path / "labels.txt", "--mean", "0", "--std", "255")
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    result = run_pocketlens("classify", "--model", path, *options, tmp_path / "image.png")
    assert (result.returncode, words in result.stderr) == (1, True), result.stderr
    result = run_pocketlens("info", path)
    assert (result.returncode, f"  obstacle  {words}" in result.stdout) == (0, True), result.stdout
    result = run_pocketlens("doctor", path)
    assert (result.returncode, words in result.stdout) == (1, True), result.stdout
    result = run_pocketlens("doctor", "--delegate", "nothing.so", path)
    assert result.returncode == 1
    assert "delegate nothing.so: cannot be loaded" in result.stdout


def test_a_model_of_several_outputs_is_described(tmp_path: Path) -> None:
    def add_output(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.outputs = [*graph.outputs, graph.operators[0].outputs[0]]
        model.signatureDefs = []

    path = tmp_path / "two.tflite"
    path.write_bytes(changed(converted(), add_output))
    found = json.loads(run_pocketlens("info", "--json", path).stdout)
    assert found["outputs"] == [[1, 3], [1, 6, 6, 4]]
    assert found["obstacles"] == ["no classifier: it has 2 outputs, expected 1; it seems to be an object detector"]
    assert "contract" not in found
    assert found["missing"] == []
    assert "  outputs   2: [1, 3], [1, 6, 6, 4]" in run_pocketlens("info", path).stdout
    result = run_pocketlens("doctor", path)
    assert result.returncode == 0
    assert "no classifier: it has 2 outputs" in result.stdout
    assert result.stdout.count("built and ran a model, 2 outputs of 3, 144 values") == len(installed())
