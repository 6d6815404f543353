"""Sealing a model file, and finding damage in it."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from runtime import Contract, ContractError, ImageInput, ModelFileError, PocketlensError, read_model, seal
from runtime.interpreter import build
from runtime.model_file import SEAL
from tests.support.archives import archive_of
from tests.support.exports import Exported

CONTRACT = Contract(("a", "b"), ImageInput(8, 8))
FLATBUFFER = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 3


def resealed(body: bytes) -> bytes:
    """Content with a valid seal, as an attacker could compute it."""
    body += SEAL
    return body + hashlib.sha256(body).hexdigest().encode()


def test_what_is_sealed_is_read_back() -> None:
    content = seal(FLATBUFFER, CONTRACT, {"extra.bin": b"\0\1"})
    file = read_model(content)
    assert file.contract == CONTRACT
    assert file.flatbuffer == FLATBUFFER
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["contract.json", "labels.txt", "extra.bin"]
        assert archive.read("labels.txt") == b"a\nb\n"
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_the_same_model_gives_the_same_bytes() -> None:
    assert seal(FLATBUFFER, CONTRACT) == seal(FLATBUFFER, CONTRACT)


def test_path_bytes_and_file_object_are_the_same(digits_export: Exported) -> None:
    content = digits_export.int8.read_bytes()
    with digits_export.int8.open("rb") as file:
        files = [read_model(digits_export.int8), read_model(str(digits_export.int8)), read_model(content)]
        files.append(read_model(file))
    assert {file.content for file in files} == {content}


def test_the_stock_interpreter_loads_the_file_as_it_is(digits_export: Exported) -> None:
    for path in (digits_export.float32, digits_export.int8):
        interpreter = build(path.read_bytes())
        assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 8, 8, 1]


def test_every_flip_and_every_truncation_is_refused(digits_export: Exported) -> None:
    content = digits_export.int8.read_bytes()
    rng = np.random.default_rng(1)
    tail = range(len(content) - 1500, len(content))  # the archive and the seal: every byte of them
    for position in [*tail, *rng.integers(0, len(content), 1000).tolist()]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        with pytest.raises(ModelFileError):
            read_model(bytes(damaged))
    for length in [*range(200), *(len(content) - 1 - i for i in range(200)), *rng.integers(0, len(content), 200)]:
        with pytest.raises(ModelFileError):
            read_model(content[:length])
    for extra in (b"\0", b"more"):
        with pytest.raises(ModelFileError):
            read_model(content + extra)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a TensorFlow Lite model.*export it"),
        (b"PK\3\4" + bytes(100), "not a TensorFlow Lite model.*copy it again"),
        (FLATBUFFER, "no Pocketlens seal"),
        (resealed(FLATBUFFER), "no contract.json"),
        (resealed(FLATBUFFER + b"PK\5\6" + b"\xff" * 18), "no contract.json"),
    ],
)
def test_a_foreign_file_is_refused_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=reason) as caught:
        read_model(path)
    assert str(path) in str(caught.value)


def with_contract(text: bytes, compression: int = zipfile.ZIP_STORED, more: tuple[bytes, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    buffer.write(FLATBUFFER)
    with zipfile.ZipFile(buffer, "a", compression) as archive:
        archive.writestr("contract.json", text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the name is there already
            for content in more:
                archive.writestr("contract.json", content)
        archive.comment = SEAL + bytes(64)
    body = buffer.getvalue()[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()


def test_a_sealed_file_with_a_contract_that_is_none() -> None:
    with pytest.raises(ContractError, match="not JSON"):
        read_model(with_contract(b"{"))
    with pytest.raises(ModelFileError, match="compressed"):
        read_model(with_contract(CONTRACT.to_json().encode() * 100, zipfile.ZIP_DEFLATED))


def test_two_members_of_one_name_are_refused() -> None:
    one, other = CONTRACT.to_json().encode(), Contract(("x", "y"), ImageInput(8, 8)).to_json().encode()
    with pytest.raises(ModelFileError, match=r"no contract\.json can be read from it \(two of its members are named"):
        read_model(with_contract(one, more=(other,)))


def test_an_archive_of_a_million_members_is_refused_without_reading_their_list() -> None:
    body = FLATBUFFER + archive_of(1_000_000, comment=SEAL + bytes(64))[:-64]
    content = body + hashlib.sha256(body).hexdigest().encode()
    del body
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="its list of members has more than 1,048,576 bytes"):
        read_model(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_other_files_can_join_the_archive_and_the_whole_be_sealed_again() -> None:
    content = seal(FLATBUFFER, CONTRACT)
    buffer = io.BytesIO()
    buffer.write(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("vocabulary.txt", "x")
        archive.comment = SEAL + bytes(64)
    with pytest.raises(ModelFileError):
        read_model(buffer.getvalue())
    body = buffer.getvalue()[:-64]
    assert read_model(body + hashlib.sha256(body).hexdigest().encode()).contract == CONTRACT


def test_paths_that_are_no_model(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo, tmp_path / "missing.tflite"):
        with pytest.raises(ModelFileError, match=path.name):
            read_model(path)


def test_only_a_flatbuffer_is_sealed() -> None:
    with pytest.raises(ModelFileError, match="TFL3"):
        seal(b"something else", CONTRACT)
    with pytest.raises(ModelFileError, match="already"):
        seal(seal(FLATBUFFER, CONTRACT), CONTRACT)


def test_every_refusal_is_a_value_error_and_ours() -> None:
    assert issubclass(ModelFileError, ValueError)
    assert issubclass(ModelFileError, PocketlensError)


def test_a_buffer_that_a_model_was_just_written_to_is_read() -> None:
    buffer = io.BytesIO()
    buffer.write(seal(FLATBUFFER, CONTRACT))
    assert read_model(buffer).contract == CONTRACT
