"""Reads standard TFLite metadata: the scaling of an image model's input, and its labels.

The metadata is a FlatBuffer of its own in the model's buffer TFLITE_METADATA; the files that it names are in a zip
archive behind the model. Source: metadata_schema.fbs of TensorFlow Lite Support. Normalization, colour space and labels
are read; score calibration and thresholds are not applied.
"""

from __future__ import annotations

import io
import zipfile
from typing import NamedTuple

from ..archives import open_archive
from ..contract import MAX_LABELS_BYTES
from ..errors import ModelFileError
from ..files import shown
from .model import Structure
from .reader import Table
from .verifier import FlatBufferError, Schema, verify_flatbuffer

ENTRY = "TFLITE_METADATA"
MAX_ARCHIVE_BYTES = 8 * 2**20

#: Fields that are not read are `0`: they do no harm, and are not refused.
METADATA_SCHEMA = Schema(
    b"M001",
    "ModelMetadata",
    {
        "ModelMetadata": "0 0 0 vtSubGraphMetadata",
        "SubGraphMetadata": "0 0 vtTensorMetadata vtTensorMetadata",
        "TensorMetadata": "0 0 0 tContent vtProcessUnit 0 vtAssociatedFile",
        "Content": "1 uContentProperties",
        "ImageProperties": "1",
        "ProcessUnit": "1 uProcessUnitOptions",
        "NormalizationOptions": "v4 v4",
        "AssociatedFile": "s 0 1 s",
    },
    {
        "ContentProperties": "NONE FeatureProperties ImageProperties BoundingBoxProperties AudioProperties",
        "ProcessUnitOptions": "NONE NormalizationOptions ScoreCalibrationOptions ScoreThresholdingOptions "
        "BertTokenizerOptions SentencePieceTokenizerOptions RegexTokenizerOptions",
    },
)
IMAGE, NORMALIZATION, AXIS_LABELS = 2, 1, 2
COLOUR_SPACES = {1: "rgb", 2: "grey"}
_ZIP_START = b"PK\3\4"
#: An archive begins after the FlatBuffer's padding.
_MAX_PADDING = 64


class Metadata(NamedTuple):
    """The metadata of the only input and the only output.

    Attributes:
        mean, std: in pixel units, one number or one a channel; empty if absent.
        colour: "rgb", "grey", or "" if absent.
        labels: the content of the file of labels; None if absent.
        labels_name: that file's name.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    colour: str = ""
    labels: bytes | None = None
    labels_name: str = ""


def read_metadata(content: bytes, structure: Structure, name: str) -> Metadata | None:
    """The metadata of a model whose structure was checked; None if it has none.

    Raises:
        ModelFileError: metadata or archive are damaged or too large.
    """
    check_archive(content, structure.end, name)
    if ENTRY not in structure.metadata:
        return None
    begin, end = structure.metadata[ENTRY]
    data = content[begin:end]
    try:
        verify_flatbuffer(data, METADATA_SCHEMA)
    except FlatBufferError as error:
        raise ModelFileError(f"{name}: its TFLite metadata is damaged: {error}; copy it again") from error
    graphs = Table.root(data).tables(3)
    if not graphs:
        return Metadata()
    given, answers = graphs[0].tables(2), graphs[0].tables(3)
    found = _input(given[0]) if given else Metadata()
    file = _labels_file(answers[0]) if answers else ""
    if not file:
        return found
    return found._replace(labels=_read_member(content, structure.end, file, name), labels_name=shown(file))


def check_archive(content: bytes, end: int, name: str) -> None:
    """Refuse a file that ends within the archive behind its FlatBuffer.

    Args:
        content: the file.
        end: the end of the FlatBuffer.
        name: the file's name, for messages.

    Raises:
        ModelFileError: an archive begins there, and its end is missing.
    """
    if _ZIP_START in content[end : end + _MAX_PADDING] and not zipfile.is_zipfile(io.BytesIO(content[end:])):
        raise ModelFileError(f"{name}: damaged: the archive behind the model is cut off; copy it again")


def _input(table: Table) -> Metadata:
    colour, mean, std = "", (), ()
    about = table.table(3)
    properties = about.table(1) if about and about.number(0, "B") == IMAGE else None
    if properties:
        colour = COLOUR_SPACES.get(properties.number(0, "b"), "")
    for unit in table.tables(4):
        options = unit.table(1) if unit.number(0, "B") == NORMALIZATION else None
        if options:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
    return Metadata(mean, std, colour)


def _labels_file(table: Table) -> str:
    """The name of the file of labels; if there are several, the one without a locale."""
    files = [file for file in table.tables(6) if file.number(2, "b") == AXIS_LABELS]
    files.sort(key=lambda file: bool(file.text(3)))
    return files[0].text(0) if files else ""


def _read_member(content: bytes, end: int, member: str, name: str) -> bytes:
    # Only the archive: its directory must not point into the model.
    if len(content) - end > MAX_ARCHIVE_BYTES:
        raise ModelFileError(f"{name}: the archive behind the model has more than {MAX_ARCHIVE_BYTES // 2**20} MiB")
    where = f"{name}: {shown(member)!r}, which its TFLite metadata names,"
    try:
        with open_archive(io.BytesIO(content[end:])) as archive:
            info = archive.getinfo(member)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise ModelFileError(f"{where} is compressed in a way that is not read, or encrypted")
            with archive.open(info) as file:
                # Never decompresses more than this, whatever size the archive claims.
                data = file.read(MAX_LABELS_BYTES + 1)
    except ModelFileError:
        raise
    except KeyError as error:
        raise ModelFileError(f"{where} is not in its archive; copy it again, or give labels") from error
    except Exception as error:  # zipfile raises many kinds on hostile archives
        raise ModelFileError(f"{where} cannot be read from its archive ({error}); copy it again") from error
    if len(data) > MAX_LABELS_BYTES:
        raise ModelFileError(f"{where} has more than {MAX_LABELS_BYTES // 2**20} MiB")
    return data
