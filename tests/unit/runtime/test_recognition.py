"""What a path is that a person gave in the place of something else, and names that are much like a word."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import ModelFileError, read_model
from runtime.cli.inputs import expand
from runtime.diagnostics import examine
from runtime.recognition import recognize, suggestion
from tests.support.commands import call_pocketlens

pytestmark = pytest.mark.fast


def write_run(folder: Path) -> Path:
    folder.mkdir()
    for name in ("contract.json", "model.keras"):
        (folder / name).write_text("{}")
    return folder


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind", "text"),
    [
        ("a", b"\x1c\0\0\0TFL3" + bytes(40), "tflite", "a TensorFlow Lite model"),
        ("a", zipped("config.json", "model.weights.h5"), "keras", "a Keras model"),
        ("a", b"\x89HDF\r\n\x1a\n" + bytes(40), "keras", "HDF5"),
        ("a", zipped("photo.jpg"), "archive", "a zip archive"),
        ("a", zipped("images.npy"), "array", "arrays of numpy"),
        ("a", array(), "array", "an array of numpy"),
        ("a", b"\x1f\x8b" + bytes(40), "archive", "a gzip archive"),
        ("a", png(), "image", "an image (PNG)"),
        ("net.onnx", b"\x08\x07\x12", "other", "an ONNX model"),
        ("net.pth", zipped("archive/data.pkl"), "other", "a PyTorch model"),
        ("a", "path,label\nü.jpg,Bär\n".encode(), "text", "a text file"),
        ("a", ("x" * 511 + "ü").encode(), "text", "a text file"),
        ("a", b"", "other", "an empty file"),
        ("a", b"\xff\xfe\0\1" * 9, "other", "a file of an unknown kind"),
    ],
)
def test_files(name: str, content: bytes, kind: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    found = recognize(tmp_path / name)
    assert found.kind == kind
    assert text in found.text


def test_folders(tmp_path: Path) -> None:
    assert recognize(tmp_path / "none").kind == "missing"
    assert recognize(write_run(tmp_path / "run")).text == "a run folder"
    assert recognize(tmp_path).kind == "folder"
    for name in ("float32.tflite", "int8.tflite"):
        (tmp_path / name).write_bytes(b"")
    assert recognize(tmp_path) == ("models", "a folder of exported models", str(tmp_path / "int8.tflite"))
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognize(tmp_path).kind == "savedmodel"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert recognize(tmp_path / "pipe") == ("other", "a pipe or a device", "")


def test_a_folder_or_a_picture_in_the_place_of_a_model_is_named_with_the_cure(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(ModelFileError, match=r"run: a run folder; export it first: pocketlens export .*run$"):
        read_model(run)
    (tmp_path / "int8.tflite").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"a folder of exported models; name one of them: .*int8\.tflite$"):
        read_model(tmp_path)
    (tmp_path / "shoe.png").write_bytes(png())
    with pytest.raises(ModelFileError, match=r"no.* TensorFlow Lite model, but an image \(PNG\); name a .tflite file"):
        read_model(tmp_path / "shoe.png")
    (tmp_path / "pointer.tflite").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFileError, match=r"but a text file; fetch it again$"):
        read_model(tmp_path / "pointer.tflite")
    (finding,) = [found for found in examine(str(run)) if found.subject == "model"]
    assert "a run folder; export it first" in finding.text


@pytest.mark.parametrize(
    "arguments",
    [("info", "RUN"), ("info", "--verify", "RUN"), ("classify", "--model", "RUN", "x.jpg"), ("selftest", "RUN")],
)
def test_commands_say_that_a_run_is_to_be_exported(arguments: tuple[str, ...], tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "run"))
    done = call_pocketlens(*(run if word == "RUN" else word for word in arguments))
    assert done.returncode == 1
    assert done.stderr == f"error: {run}: a run folder; export it first: pocketlens export {run}\n"


def test_classify_asks_for_the_option_of_a_model() -> None:
    done = call_pocketlens("classify", "model.tflite", "x.jpg")
    assert done.returncode == 2
    assert "model.tflite is a model: use --model model.tflite" in done.stderr


def test_classify_says_what_a_folder_without_images_is(tmp_path: Path) -> None:
    (found,) = expand([str(write_run(tmp_path / "run"))])
    assert found.problem.endswith("run: no images in this folder; it is a run folder")


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("fashion_mnist", ("digits", "fashion-mnist"), "fashion-mnist"),
        ("FashionMNIST", ("digits", "fashion-mnist"), "fashion-mnist"),
        ("pet", ("digits", "pets"), "pets"),
        ("dgo", ("cat", "dog"), "dog"),
        ("Dog", ("cat", "dog"), "dog"),
        ("--lr", ("--layers", "--learning-rate"), "--learning-rate"),
        ("clasify", ("classify", "train"), "classify"),
        ("eval", ("export", "evaluate"), "evaluate"),
        ("zebra", ("cat", "dog"), ""),
        ("", ("cat",), ""),
    ],
)
def test_suggestions(word: str, known: tuple[str, ...], expected: str) -> None:
    assert suggestion(word, known) == (f"; did you mean {expected!r}?" if expected else "")
