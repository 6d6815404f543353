"""The self-test inside a model file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtime import ImageInput, ModelFileError, read_model, seal
from runtime.interpreter import LIBRARIES, choose, installed
from runtime.model_file import ModelFile
from runtime.selftest.format import MAX_BYTES, MEMBER, enlarge, read_selftest, shrink
from runtime.selftest.runner import run_selftest
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def int8(digits_export: Exported) -> ModelFile:
    return read_model(digits_export.int8)


def with_member(file: ModelFile, text: bytes | None) -> bytes:
    """A copy of the model with another self-test."""
    return seal(file.flatbuffer, file.contract, {} if text is None else {MEMBER: text})


def changed(file: ModelFile, change: Change) -> bytes:
    document = json.loads(file.member(MEMBER, MAX_BYTES) or b"")
    change(document)
    return with_member(file, json.dumps(document).encode())


def shift_outputs(document: dict[str, Any], by: int, library: str | None = None) -> None:
    """Change the stored outputs of the workstation."""
    for answers in document["answers"]:
        if library in (None, answers["library"]):
            outputs = np.frombuffer(base64.b64decode(answers["outputs"]), answers["dtype"]).copy()
            outputs[0] = outputs[0] + by if outputs[0] < 128 else outputs[0] - by
            answers["outputs"] = base64.b64encode(outputs.tobytes()).decode()


@pytest.mark.parametrize("library", installed())
@pytest.mark.parametrize("name", ["float32", "int8"])
def test_what_was_exported_passes_here(digits_export: Exported, name: str, library: str) -> None:
    found = run_selftest(getattr(digits_export, name), library)
    assert found.passed, found
    assert found.images == 3
    carried = read_selftest(read_model(getattr(digits_export, name)))
    same = [answers for answers in carried.answers if answers.library == library]
    assert found.compared_with[0] == (library if same else carried.answers[0].library)
    if name == "int8" and library == "tflite_runtime":
        if found.machine == found.compared_with[2]:
            assert (found.different, found.allowed, found.difference) == (0, 0.0, 0.0)
        else:
            assert found.difference is not None
            assert found.difference <= 2 / 255


def test_two_answers_are_sure_and_one_is_not(int8: ModelFile) -> None:
    carried = read_selftest(int8)
    assert carried.images.shape == (3, *int8.contract.input.shape)
    for answers in carried.answers:
        assert answers.outputs.shape == (3, 10)
        best = np.sort(answers.outputs, axis=1)[:, -1]
        assert best[0] > 200
        assert best[1] > 200
        assert best[2] == best.min()
        first, second = answers.outputs[:2].argmax(axis=1)
        assert first != second, "two of one class show less"
    assert carried.to_json() == int8.member(MEMBER, MAX_BYTES)


def test_one_bit_in_the_same_library_fails_an_integer_model(int8: ModelFile) -> None:
    library = choose()
    found = run_selftest(changed(int8, lambda document: shift_outputs(document, 1)), library)
    if found.allowed == 0:
        assert (found.passed, found.different) == (False, 1)
        assert found.difference == pytest.approx(1 / 256)
    else:  # another library than on the workstation
        assert found.passed


def test_another_library_has_its_tolerance(int8: ModelFile) -> None:
    def as_if_another(document: dict[str, Any], by: int) -> None:
        other = next(name for name in LIBRARIES if name != choose())
        document["answers"] = document["answers"][:1]
        document["answers"][0]["library"] = other
        shift_outputs(document, by)

    near = run_selftest(changed(int8, lambda document: as_if_another(document, 2)))
    far = run_selftest(changed(int8, lambda document: as_if_another(document, 60)))
    assert near.allowed == far.allowed == pytest.approx(16 / 255)
    assert near.passed
    assert near.different >= 1
    assert not far.passed


def test_answers_of_another_kind_of_processor(int8: ModelFile, digits_export: Exported) -> None:
    def elsewhere(document: dict[str, Any]) -> None:
        for answers in document["answers"]:
            answers["machine"] = "riscv64"

    for library in installed():
        assert run_selftest(changed(int8, elsewhere), library).allowed == pytest.approx(16 / 255)
    if "tflite_runtime" in installed():
        float32 = changed(read_model(digits_export.float32), elsewhere)
        assert run_selftest(float32, "tflite_runtime").allowed == pytest.approx(1e-4)


def test_weights_that_are_no_numbers_fail(nan_model: Any, digits_export: Exported) -> None:
    text = read_model(digits_export.float32).member(MEMBER, MAX_BYTES)
    found = run_selftest(with_member(read_model(nan_model), text))
    assert (found.passed, found.difference, found.different) == (False, None, 3)


def test_the_command(digits_export: Exported, int8: ModelFile, tmp_path: Any) -> None:
    found = json.loads(succeed(run_pocketlens("selftest", "--json", digits_export.int8)).stdout)
    assert found["passed"] is True
    assert found["images"] == 3
    lines = succeed(run_pocketlens("selftest", digits_export.float32, "--interpreter", choose())).stdout
    assert "passed: 3 images" in lines
    assert LIBRARIES[choose()] in lines

    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(changed(int8, lambda document: shift_outputs(document, 100)))
    result = run_pocketlens("selftest", wrong)
    assert (result.returncode, result.stderr) == (1, "")
    # Another processor, or another library, may change a bit in the other two images as well.
    assert re.search(r"FAILED: 3 images, [123] of 3 images differ, a score by at most 0\.(39|4)", result.stdout)
    result = run_pocketlens("selftest", "--json", wrong)
    assert (result.returncode, json.loads(result.stdout)["passed"]) == (1, False)


def test_a_model_without_one(int8: ModelFile, tmp_path: Any) -> None:
    (tmp_path / "old.tflite").write_bytes(with_member(int8, None))
    result = run_pocketlens("selftest", tmp_path / "old.tflite")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path / 'old.tflite'}: carries no self-test; export it again with this version of Pocketlens\n"
    )


def set_to(*path: Any) -> Change:
    """A change that sets the place named by all but the last of `path` to the last."""

    def change(document: Any) -> None:
        for key in path[:-2]:
            document = document[key]
        document[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_to("format", "other"),
        set_to("version", 2),
        set_to("more", 1),
        lambda document: document.pop("answers"),
        set_to("shape", "3"),
        set_to("shape", [3, 8, 8]),
        set_to("shape", [3, 8, 8, True]),
        set_to("shape", [0, 8, 8, 1]),
        set_to("shape", [9, 8, 8, 1]),
        set_to("shape", [3, 8, 9, 1]),
        set_to("shape", [3, 2**62, 2**62, 1]),
        set_to("images", ""),
        set_to("images", "~"),
        set_to("images", "é"),
        set_to("images", 5),
        set_to("images", [1, 2]),
        set_to("same_tolerance", None),
        set_to("same_tolerance", float("nan")),
        set_to("other_tolerance", -1),
        set_to("other_tolerance", 1e300),
        set_to("answers", []),
        set_to("answers", {}),
        lambda document: document["answers"].extend(document["answers"] * 5),
        set_to("answers", 0, 5),
        set_to("answers", 0, "library", "os"),
        set_to("answers", 0, "library", ["tflite_runtime"]),
        set_to("answers", 0, "version", "\x1b[2J"),
        set_to("answers", 0, "machine", "x" * 101),
        set_to("answers", 0, "dtype", "object"),
        set_to("answers", 0, "dtype", "float32"),
        set_to("answers", 0, "outputs", "AAAA"),
        set_to("answers", 0, "more", 1),
    ],
)
def test_a_self_test_that_the_exporter_did_not_write(int8: ModelFile, change: Change) -> None:
    with pytest.raises(ModelFileError, match="its self-test cannot be read"):
        run_selftest(changed(int8, change))


@pytest.mark.parametrize("text", [b"", b"\xff", b"null", b"[" * 10**6, b"{}", b"1" * 5000, b" " * (MAX_BYTES + 1)])
def test_a_member_that_is_no_self_test(int8: ModelFile, text: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"self-test cannot be read|selftest\.json has"):
        run_selftest(with_member(int8, text))


def test_answers_of_another_type_than_the_models(int8: ModelFile) -> None:
    with pytest.raises(ModelFileError, match="expects int8 outputs and the model gives uint8"):
        run_selftest(changed(int8, lambda document: [answers.update(dtype="int8") for answers in document["answers"]]))


@pytest.mark.parametrize("shape", [(8, 8, 1), (224, 96, 3), (33, 1, 1), (32, 64, 3), (8, 8, 3)])
def test_large_images_are_stored_small_and_come_back_at_their_size(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = shrink(pixels)
    assert max(small.shape[:2]) <= 32
    assert small.size <= 32 * 32, "a file in colour grows no more than a grey one"
    again = enlarge(small, ImageInput(shape[0], shape[1], "grey" if shape[2] == 1 else "rgb"))
    assert again.shape == shape
    np.testing.assert_array_equal(shrink(again), small)
    if max(shape[:2]) <= 32:
        np.testing.assert_array_equal(again, pixels)
