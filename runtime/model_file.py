"""One self-describing model file: a FlatBuffer, then a stored zip, whose comment seals the whole file.

Layout:

    FlatBuffer              what a TensorFlow Lite interpreter reads; it ignores what follows
    zip archive (stored)    `contract.json`, `labels.txt`; the place where TFLite metadata keeps its associated files
    zip comment             SEAL, then the SHA-256 (hex) of every byte before it

The digest is the last thing in the file, so checking it needs no parsing. Every flipped bit and every truncation is
found before an interpreter reads the file; this matters because tflite-runtime does not verify FlatBuffers, and
damaged ones can kill its process. The digest is a checksum against damage, no signature against malice.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from .archives import open_archive
from .contract import MAX_JSON_BYTES, Contract
from .errors import ContractError, ModelFileError
from .files import PathLike, read_file_object, read_regular_file, shown

ModelSource: TypeAlias = PathLike | bytes | bytearray | memoryview | BinaryIO

CONTRACT_NAME = "contract.json"
LABELS_NAME = "labels.txt"
SEAL = b"pocketlens-sha256:"
#: Name and content of an entry in the FlatBuffer's own metadata: it shows that a file which ends with its FlatBuffer
#: has lost the rest.
ORIGIN_NAME = "pocketlens"
ORIGIN = b"sealed by `pocketlens export`"
MAX_MODEL_BYTES = 512 * 2**20

_IDENTIFIER = b"TFL3"
_DIGEST_LENGTH = 64
#: From this size on OpenSSL's speed is worth its import.
_OPENSSL_BYTES = 2 * 2**20
#: Zip's earliest date: an archive's dates would make two equal models differ.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in lower-case hex.

    Without OpenSSL where there is little to do: it takes longer to load than a small model takes to check.
    """
    if len(data) < _OPENSSL_BYTES and "hashlib" not in sys.modules:
        builtin = _builtin_sha256()
        if builtin is not None:
            return str(builtin(data).hexdigest())
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _builtin_sha256() -> Any:
    """CPython's own implementation, which hashlib falls back on; it has had two names, and need not exist."""
    for name in ("_sha2", "_sha256"):
        try:
            return __import__(name).sha256
        except ImportError:
            continue
    return None


class ModelFile(NamedTuple):
    """A verified model file, in memory.

    Attributes:
        content: the whole file, which the interpreter gets.
        contract: the contract inside it.
        name: the file's name, for messages.

    Example:
        >>> file = read_model("int8.tflite")
        >>> file.name, file.contract.labels[:3], len(file.sha256)
        ('int8.tflite', ('0', '1', '2'), 64)
    """

    content: bytes
    contract: Contract
    name: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole file, in hex: what `sha256sum` prints."""
        return sha256(self.content)

    @property
    def flatbuffer(self) -> bytes:
        """The FlatBuffer alone, as `seal` got it."""
        with open_archive(io.BytesIO(self.content)) as archive:
            return self.content[: min(member.header_offset for member in archive.infolist())]

    def member(self, member: str, limit: int) -> bytes | None:
        """A member of the archive behind the FlatBuffer; None if it has none of that name.

        Raises:
            ModelFileError: it is compressed, larger than `limit` bytes, or the archive cannot be read.
        """
        return _read_member(self.content, member, limit, self.name)


def is_flatbuffer(content: bytes) -> bool:
    """Whether content begins as a TensorFlow Lite FlatBuffer does."""
    return content[4:8] == _IDENTIFIER


def seal(flatbuffer: bytes, contract: Contract, files: Mapping[str, bytes] | None = None) -> bytes:
    """Join a converted model, its contract and further associated files into one sealed file.

    Args:
        flatbuffer: the converted model.
        contract: what the model takes, and what its outputs mean.
        files: further members of the archive, by name.

    Raises:
        ModelFileError: `flatbuffer` is not a FlatBuffer, or is sealed already.

    Example:
        >>> file = read_model("int8.tflite")
        >>> read_model(seal(file.flatbuffer, file.contract)).contract == file.contract
        True
    """
    if not is_flatbuffer(flatbuffer):
        raise ModelFileError("cannot seal: not a TensorFlow Lite FlatBuffer (no TFL3 identifier)")
    if flatbuffer[:-_DIGEST_LENGTH].endswith(SEAL):
        raise ModelFileError("cannot seal: sealed already; give it the FlatBuffer alone, ModelFile.flatbuffer")
    members = {
        CONTRACT_NAME: contract.to_json().encode(),
        # Other tools read them beside the network, which has no output for a taught label.
        LABELS_NAME: "".join(f"{label}\n" for label in contract.network_labels).encode(),
        **(files or {}),
    }
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), data)
        archive.comment = SEAL + b"0" * _DIGEST_LENGTH
    body = buffer.getvalue()[:-_DIGEST_LENGTH]
    return body + _digest(body)


def reseal(content: bytes, contract: Contract) -> bytes:
    """A copy of a sealed file with another contract.

    Raises:
        ModelFileError, ContractError: as `read_model` does.

    Example:
        >>> file = read_model("int8.tflite")
        >>> reseal(file.content, file.contract) == file.content
        True
    """
    return seal(read_model(content).flatbuffer, contract, associated_files(content))


def associated_files(content: bytes) -> dict[str, bytes]:
    """The members of a sealed file that was read, by name and in their order, but for its contract and its labels."""
    with open_archive(io.BytesIO(content)) as archive:
        kept = [name for name in archive.namelist() if name not in (CONTRACT_NAME, LABELS_NAME)]
        return {name: archive.read(name) for name in kept}


def _digest(body: bytes | memoryview) -> bytes:
    return sha256(body).encode()


def is_sealed(content: bytes) -> bool:
    """Whether content ends with our seal."""
    return content[-_DIGEST_LENGTH - len(SEAL) : -_DIGEST_LENGTH] == SEAL


def read_model(source: ModelSource, adopt: Callable[[bytes, str], Contract] | None = None) -> ModelFile:
    """Read a model once into memory and verify it.

    Args:
        source: a path, the file's bytes, or a binary file object.
        adopt: called with the content and name of a file without a seal, it checks the file and returns its contract;
            see `external.adopt.adopting`. By default such a file is refused.

    Raises:
        ModelFileError: missing, not a regular file, not a TensorFlow Lite model, not ours, truncated or changed.
        ContractError: the file is intact, but this version does not know its contract's version.

    Example:
        >>> read_model("int8.tflite").contract.input.shape
        (8, 8, 1)
    """
    content, name = _read(source)
    if adopt is not None and is_flatbuffer(content) and not is_sealed(content):
        return ModelFile(content, adopt(content, name), name)
    verify_seal(content, name)
    return ModelFile(content, _read_contract(content, name), name)


def has_seal(path: PathLike) -> bool:
    """Whether a file ends with our seal; its content is not checked. False if it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - works for strings too
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _DIGEST_LENGTH - len(SEAL)))
            return file.read(len(SEAL)) == SEAL
    except OSError:
        return False


def verify_seal(content: bytes, name: str) -> None:
    """Check identifier, seal and digest.

    Raises:
        ModelFileError: one of them is not as `seal` wrote it.
    """
    if not is_flatbuffer(content):
        from .recognition import why_no_model

        other = why_no_model(name)
        if other:
            raise ModelFileError(f"{name}: not a TensorFlow Lite model, but {other}")
        raise ModelFileError(
            f"{name}: not a TensorFlow Lite model ({len(content)} bytes, no TFL3 identifier): it is damaged or "
            "something else; copy it again or export it"
        )
    body, digest = memoryview(content)[:-_DIGEST_LENGTH], content[-_DIGEST_LENGTH:]
    if body[-len(SEAL) :] != SEAL:
        raise ModelFileError(
            f"{name}: no Pocketlens seal at its end: the file is truncated, or was not made by `pocketlens export`; "
            "copy it again or export it"
        )
    actual = _digest(body)
    if actual != digest:
        raise ModelFileError(
            f"{name}: damaged: its content has SHA-256 {actual[:12].decode()}..., its seal says "
            f"{digest[:12].decode(errors='replace')!r}...; copy it again"
        )


def _read(source: ModelSource) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "model (bytes)"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else "model (file object)"
        return read_file_object(source, MAX_MODEL_BYTES, ModelFileError, name), name
    return read_model_bytes(source)


def read_model_bytes(path: PathLike) -> tuple[bytes, str]:
    """The bytes of a model file, which are not checked, and its name for messages.

    Raises:
        ModelFileError: it cannot be read; for a folder, such as a run folder, the message says what it is.
    """
    if os.path.isdir(path):  # noqa: PTH112 - works for strings too
        from .recognition import why_no_model

        raise ModelFileError(f"{shown(path)}: {why_no_model(path)}")
    return read_regular_file(path, MAX_MODEL_BYTES, ModelFileError)


def _read_member(content: bytes, member: str, limit: int, name: str) -> bytes | None:
    # The file is sealed; these checks are for a seal that someone computed over other content.
    try:
        with open_archive(io.BytesIO(content)) as archive:
            if member not in archive.namelist():
                return None
            found = archive.getinfo(member)
            if found.compress_type != zipfile.ZIP_STORED:
                raise ModelFileError(f"{name}: {member} is compressed, expected a stored member")
            if found.file_size > limit:
                raise ModelFileError(f"{name}: {member} has {found.file_size} bytes, expected at most {limit}")
            return archive.read(found)
    except ModelFileError:
        raise
    except Exception as error:  # zipfile raises many kinds on hostile archives
        raise ModelFileError(f"{name}: no {member} can be read from it ({error}); export it again") from error


def _read_contract(content: bytes, name: str) -> Contract:
    text = _read_member(content, CONTRACT_NAME, MAX_JSON_BYTES, name)
    if text is None:
        raise ModelFileError(f"{name}: no {CONTRACT_NAME} can be read from it (there is none); export it again")
    try:
        return Contract.from_json(text)
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error
