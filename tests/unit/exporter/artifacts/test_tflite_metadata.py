"""What other tools read of our files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from exporter.artifacts.tflite_metadata import build_metadata, with_metadata
from runtime import Classifier, Contract, ImageInput, ModelFileError, read_model, seal
from runtime.interpreter import build, installed
from runtime.model_file import ORIGIN
from runtime.tflite.metadata import Metadata, read_metadata
from runtime.tflite.model import check_structure
from runtime.tflite.reader import Table
from tests.support.exports import Exported
from tests.support.external_models import LABELS, converted

pytestmark = pytest.mark.workstation
CONTRACT = Contract(LABELS, ImageInput(8, 8, "rgb", mean=(120.0,) * 3, std=(60.0,) * 3))
LABELS_TXT = "".join(f"{label}\n" for label in LABELS).encode()


def read(content: bytes) -> Metadata | None:
    return read_metadata(content, check_structure(content), "m.tflite")


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_what_is_written_is_read_back(kind: str) -> None:
    content = seal(with_metadata(converted(kind), CONTRACT), CONTRACT)
    assert read(content) == Metadata((120.0,) * 3, (60.0,) * 3, "rgb", LABELS_TXT, "labels.txt")
    assert Classifier(content).contract == CONTRACT


@pytest.mark.parametrize(
    ("colour", "task", "labels", "wanted"),
    [
        ("grey", "multiclass", LABELS, ("grey", LABELS_TXT)),
        ("bgr", "multilabel", LABELS, ("", LABELS_TXT)),
        ("rgb", "binary", ("no", "yes"), ("rgb", None)),  # one output, two labels: the standard has no word for it
    ],
)
def test_what_the_standard_can_say_of_other_models(
    colour: str, task: str, labels: tuple[str, ...], wanted: tuple[str, bytes | None]
) -> None:
    contract = Contract(labels, ImageInput(8, 8, colour), task)
    outputs = contract.outputs
    content = seal(with_metadata(converted(shape=contract.input.shape, outputs=outputs), contract), contract)
    found = read(content)
    assert found is not None
    assert (found.colour, found.labels) == wanted


def test_one_number_a_channel() -> None:
    spec = ImageInput(8, 8, "rgb", mean=(1.5, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    content = seal(with_metadata(converted(), Contract(LABELS, spec)), Contract(LABELS, spec))
    found = read(content)
    assert found is not None
    assert (found.mean, found.std) == (spec.mean, spec.std)


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("library", installed())
def test_the_model_answers_as_before(kind: str, library: str) -> None:
    before, after = (build(c, library=library) for c in (converted(kind), with_metadata(converted(kind), CONTRACT)))
    given, answer = before.get_input_details()[0], before.get_output_details()[0]
    rng = np.random.default_rng(0)
    for _ in range(5):
        picture = rng.integers(0, 127, given["shape"]).astype(given["dtype"])
        found = []
        for interpreter in (before, after):
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
            interpreter.invoke()
            found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        np.testing.assert_array_equal(*found)
    assert after.get_output_details()[0]["quantization"] == answer["quantization"]


def test_weights_are_aligned_and_nothing_else_is_lost() -> None:
    before, after = converted("uint8"), with_metadata(converted("uint8"), CONTRACT)
    old, new = (Table.root(content).tables(4) for content in (before, after))
    assert [table.data(0) for table in new[: len(old)]] == [table.data(0) for table in old]
    assert len(new) == len(old) + 2
    assert [table.span(0)[0] % 16 for table in new] == [0] * len(new)
    assert check_structure(before).metadata.keys() < check_structure(after).metadata.keys()
    assert check_structure(before).operators == check_structure(after).operators


def test_the_same_bytes_twice() -> None:
    assert with_metadata(converted(), CONTRACT) == with_metadata(converted(), CONTRACT)
    assert build_metadata(CONTRACT)[4:8] == b"M001"


def test_a_file_cut_behind_its_flatbuffer_is_known_as_ours() -> None:
    content = seal(with_metadata(converted(), CONTRACT), CONTRACT)
    cut = read_model(content).flatbuffer
    assert ORIGIN in cut[: len(cut) // 2], "a file cut earlier should be known too"
    with pytest.raises(ModelFileError, match="made by Pocketlens, and its seal is not whole"):
        Classifier(cut, labels=LABELS, mean=120, std=60)


def test_every_exported_file_has_it(digits_export: Exported) -> None:
    for path in (digits_export.float32, digits_export.int8):
        content = path.read_bytes()
        contract = read_model(content).contract
        assert read(content) == Metadata(
            tuple(np.array(contract.input.mean, np.float32).tolist()),
            tuple(np.array(contract.input.std, np.float32).tolist()),
            "grey",
            "".join(f"{label}\n" for label in contract.labels).encode(),
            "labels.txt",
        )
        with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as archive:
            assert archive.read("labels.txt").decode().split() == list(contract.labels)
            assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
