"""`.keras` archives that must not reach Keras."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runtime import ModelFileError
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
    with pytest.raises(ModelFileError, match=r"cannot be loaded: no \.keras archive .*; train again$"):
        check(path)


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
