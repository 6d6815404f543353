"""What a path that a person gave is, for messages: a model, a run folder, a folder of models, a picture, an archive."""

from __future__ import annotations

import difflib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .files import PathLike, shown

_HEAD_BYTES = 512
_EMPTY = "an empty file"
_UNKNOWN = "a file of an unknown kind"
#: First bytes of files that people give in the place of others: (offset, bytes, kind, text).
_STARTS = (
    (4, b"TFL3", "tflite", "a TensorFlow Lite model"),
    (0, b"\x89HDF\r\n\x1a\n", "keras", "an HDF5 file, as Keras models of the old kind are"),
    (0, b"\x93NUMPY", "array", "an array of numpy"),
    (0, b"\x1f\x8b", "archive", "a gzip archive"),
    (0, b"\xfd7zXZ\0", "archive", "an xz archive"),
    (0, b"BZh", "archive", "a bzip2 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive", "a 7z archive"),
    (0, b"Rar!", "archive", "a RAR archive"),
    (257, b"ustar", "archive", "a tar archive"),
    (0, b"SQLite format 3\0", "other", "an SQLite database"),
    (0, b"%PDF", "other", "a PDF document"),
)
_MODEL_SUFFIXES = {".onnx": "an ONNX model", ".pt": "a PyTorch model", ".pth": "a PyTorch model"}


class Recognized(NamedTuple):
    """What a path is.

    Attributes:
        kind: "missing", "run" (a run folder), "models" (a folder that `export` wrote, or that holds models),
            "savedmodel", "folder", "tflite", "keras", "array", "archive", "image", "text" or "other".
        text: the same in words with an article, such as "a run folder".
        model: a model in a folder of models; "" otherwise.
    """

    kind: str
    text: str
    model: str = ""


def recognize(path: PathLike) -> Recognized:
    """Look at a path; nothing in it is trusted, and a pipe is never waited for."""
    place = Path(path)
    try:
        if place.is_dir():
            return _folder(place)
        if not place.exists():
            return Recognized("missing", "no such file or folder")
        if not place.is_file():
            return Recognized("other", "a pipe or a device")
        with place.open("rb") as file:
            return _file(place, file.read(_HEAD_BYTES))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return Recognized("other", f"unreadable ({getattr(error, 'strerror', None) or error})")


def _folder(place: Path) -> Recognized:
    if (place / "contract.json").is_file() and (place / "model.keras").is_file():
        return Recognized("run", "a run folder")
    if (place / "saved_model.pb").is_file():
        return Recognized("savedmodel", "a SavedModel folder")
    models = sorted(found for found in place.glob("*.tflite") if found.is_file())
    if models:
        best = next((found for found in models if found.name == "int8.tflite"), models[0])
        return Recognized("models", "a folder of exported models", str(best))
    return Recognized("folder", "a folder")


def _file(place: Path, head: bytes) -> Recognized:
    for start, signature, kind, text in _STARTS:
        if head[start : start + len(signature)] == signature:
            return Recognized(kind, text)
    if place.suffix.lower() in _MODEL_SUFFIXES:
        return Recognized("other", _MODEL_SUFFIXES[place.suffix.lower()])
    if zipfile.is_zipfile(place):
        return _zip(place)
    from .image_formats import format_of  # it brings Pillow

    image = format_of(head)
    if image:
        return Recognized("image", f"an image ({image})")
    if not head:
        return Recognized("other", _EMPTY)
    return Recognized("text", "a text file") if _is_text(head) else Recognized("other", _UNKNOWN)


def _zip(place: Path) -> Recognized:
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
    if "model.weights.h5" in names:
        return Recognized("keras", "a Keras model")
    if names and all(name.endswith(".npy") for name in names):
        return Recognized("array", "arrays of numpy")
    return Recognized("archive", "a zip archive")


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the head may end within a character
    return b"\0" not in head


#: What to do with something that is no model file, by its kind.
_MODEL_CURES = {
    "run": "export it first: pocketlens export {path}",
    "models": "name one of them: {model}",
    "savedmodel": "convert it: pocketlens export {path}",
    "keras": "convert it: pocketlens export {path}",
}


def why_no_model(path: PathLike) -> str:
    """Why a path is no `.tflite` file, and what to do; "" where nothing is known about it, or it may be one."""
    found = recognize(path)
    if found.kind in ("missing", "tflite") or found.text in (_UNKNOWN, _EMPTY):
        return ""
    if found.kind == "keras" and (Path(path).parent / "contract.json").is_file():
        return f"the Keras model of a run folder; export that: pocketlens export {shown(Path(path).parent)}"
    called_model = (
        Path(path).suffix.lower() == ".tflite"
    )  # as a page or a pointer of Git LFS is, in place of a download
    cure = _MODEL_CURES.get(found.kind, "fetch it again" if called_model else "name a .tflite file")
    return f"{found.text}; {cure.format(path=shown(path), model=shown(found.model))}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'dog'?`, where a known name is much like a word; "" where none is.

    Capitals, dashes and underscores make no difference. The initials of a name stand for it, as `lr` for
    `learning-rate`, and so does its beginning.
    """
    wanted = _plain(word)
    names = {name: _plain(name) for name in known}
    if not wanted:
        return ""
    found = [name for name, plain in names.items() if plain == wanted]
    found += [name for name, plain in names.items() if plain.startswith(wanted) and len(wanted) > 2]
    close = difflib.get_close_matches(wanted, [*names.values()], n=1, cutoff=0.6)
    found += [name for name, plain in names.items() if plain in close]
    found += [name for name in names if wanted == "".join(part[0] for part in _parts(name)) and len(wanted) > 1]
    return f"; did you mean {found[0]!r}?" if found else ""


def is_same_word(word: str, other: str) -> bool:
    """Whether two words differ in capitals, blanks, dashes and underscores alone."""
    return _plain(word) == _plain(other)


def _parts(name: str) -> list[str]:
    return [part for part in name.lower().replace("_", "-").replace(" ", "-").split("-") if part]


def _plain(name: str) -> str:
    return "".join(_parts(os.fspath(name)))
