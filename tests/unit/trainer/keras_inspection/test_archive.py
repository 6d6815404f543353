"""`.keras` archives that must not reach Keras."""

from __future__ import annotations

import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runtime import ModelFileError
from tests.support.archives import archive_of
from trainer.keras_inspection.archive import check_keras_archive, read_config

pytestmark = pytest.mark.fast


def archive(path: Path, config: Any, weights: bytes = b"") -> Path:
    """An archive as Keras lays it out."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        file.writestr("model.weights.h5", weights)
    return path


def network(**layer: Any) -> dict[str, Any]:
    """A configuration with one layer."""
    layers = [{"class_name": "Dense", "module": "keras.layers", "config": {"name": "dense"}} | layer]
    return {"class_name": "Functional", "module": "keras", "config": {"name": "net", "layers": layers}}


def check(path: Path) -> None:
    """As the trainer and the exporter do."""
    check_keras_archive(path, ModelFileError, cure="train again")


def test_what_is_of_keras_passes(tmp_path: Path) -> None:
    config = network()
    path = archive(tmp_path / "model.keras", config, b"weights")
    check(path)
    assert read_config(path, ModelFileError, cure="train again") == config


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ({"class_name": "Lambda"}, "layer 'dense' is a Lambda, which carries code"),
        ({"module": "os", "class_name": "system"}, "layer 'dense' is system of os, code that is not part of Keras"),
        (
            {"module": "keras.utils", "config": None},
            "an object is Dense of keras.utils, code that is not part of Keras",
        ),
        ({"module": "kerasevil"}, "of kerasevil, code"),
        ({"module": ["keras"]}, "code that is not part of Keras"),
        ({"config": {"name": "\x1b[2J", "activation": {"class_name": "f", "module": "a\nb"}}}, r"is f of a\\nb, code"),
    ],
)
def test_code_is_refused_by_its_layers_name(layer: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras", network(**layer))
    with pytest.raises(ModelFileError, match=reason) as told:
        check(path)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x89HDF\r\n\x1a\n", None])
def test_what_is_no_archive(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    reason = (
        "cannot be opened: No such"
        if content is None
        else r"cannot be loaded: (no \.keras archive|a damaged HDF5 file) .*; train again$"
    )
    with pytest.raises(ModelFileError, match=reason):
        check(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match="not a regular file"):
        check(tmp_path / "model.keras")


def test_a_file_of_two_formats_is_refused(tmp_path: Path) -> None:
    """Keras would read the other one: it chooses by the name, and HDF5 may begin at byte 0, 512, 1024 and so on."""
    sound = archive(tmp_path / "sound.keras", network()).read_bytes()
    both = tmp_path / "both.keras"
    both.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000) + sound)
    with pytest.raises(ModelFileError, match="it is an HDF5 file and a zip archive at once"):
        check(both)
    for name in ("model.h5", "model.hdf5", "model"):
        other = tmp_path / name
        other.write_bytes(sound)
        with pytest.raises(ModelFileError, match=r"its name does not end in \.keras; train again$"):
            check(other)


def test_an_archive_of_a_million_members_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\3\4" + archive_of(1_000_000))
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="its list of members has more than 1,048,576 bytes"):
        check(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("config", [b"", b"\xff", b"[" * 10**6, b"{"])
def test_a_damaged_configuration(config: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot be loaded: .*; train again$"):
        check(archive(tmp_path / "model.keras", config))


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras", network(), bytes(2**20))
    read_config(path, ModelFileError, cure="", max_unpacked_bytes=2**21)
    with pytest.raises(ModelFileError, match=r"1,048,\d\d\d bytes unpacked, .* at most 1,048,576"):
        read_config(path, ModelFileError, cure="", max_unpacked_bytes=2**20)
    with pytest.raises(ModelFileError, match="its configuration; at most"):
        check(archive(tmp_path / "large.keras", b" " * (2**26 + 1)))
