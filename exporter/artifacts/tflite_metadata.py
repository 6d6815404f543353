"""Standard TFLite metadata inside the FlatBuffer, which other tools read.

Source: metadata_schema.fbs of TensorFlow Lite Support. `runtime.tflite.metadata` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from runtime import Contract
from runtime.model_file import LABELS_NAME, ORIGIN, ORIGIN_NAME
from runtime.tflite.metadata import AXIS_LABELS, COLOUR_SPACES, ENTRY, IMAGE, METADATA_SCHEMA, NORMALIZATION
from runtime.tflite.model import MODEL_SCHEMA

#: The oldest version of the metadata schema that has every field written here.
_MIN_PARSER_VERSION = "1.0.0"
#: The content type of tensors that are no images.
_FEATURE = 1
#: Kernels read weights in vectors of 16 bytes, and MediaPipe refuses a model with unaligned weights.
_ALIGNMENT = 16
#: The name that `keras_loading` gives the outer model, and how many leading parts of a tensor's name are models.
_SCOPE, _MODELS = "classifier_1/", 2


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns weights: TensorFlow's schema requires it, and TensorFlow's Python code does not do it."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803 - flatbuffers' names
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def with_metadata(flatbuffer: bytes, contract: Contract) -> bytes:
    """A converted model with TFLite metadata, brief names of tensors, and an entry that names Pocketlens.

    Args:
        flatbuffer: the converter's output.
        contract: of the model. The metadata names a file of labels, which `runtime.seal` appends to the model.
    """
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = brief_name((tensor.name or b"").decode("utf-8", "replace")).encode()
    if contract.embedding:
        _name_outputs(model, contract.embedding)
    model.metadata = list(model.metadata or [])
    for name, data in ((ENTRY, build_metadata(contract)), (ORIGIN_NAME, ORIGIN)):
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = name, len(model.buffers) - 1
        model.metadata.append(entry)
    builder = _Builder(len(flatbuffer) + 4096)
    builder.Finish(model.Pack(builder), MODEL_SCHEMA.identifier)
    return bytes(builder.Output())


def _name_outputs(model: Any, embedding: str) -> None:
    """Put the scores first and the embedding second, and give the embedding's tensor its name.

    The converter gives outputs in any order; only the model's signature says which is which.
    """
    (signature,) = model.signatureDefs
    graph = model.subgraphs[0]
    graph.outputs = [entry.tensorIndex for entry in sorted(signature.outputs, key=lambda entry: entry.name)]
    scores, second = (graph.tensors[index] for index in graph.outputs)
    if scores.name == embedding.encode():
        scores.name = b"scores"
    second.name = embedding.encode()


def brief_name(name: str) -> str:
    """A tensor's name, reduced to the names of its layers, each once.

    The converter lists every operation that was fused into a tensor, with its whole path. In a small network these
    names are 2 % of the file.

    Example:
        >>> brief_name("classifier_1/cnn_1/re_lu_1/Relu;classifier_1/cnn_1/conv_1/BiasAdd;classifier_1/cnn_1/conv_1/x")
        're_lu_1;conv_1'
    """
    paths = [path.split("/")[_MODELS:] if path.startswith(_SCOPE) else [path] for path in name.split(";")]
    if len(paths) == 1 or not all(paths):
        return "/".join(paths[0]) or name
    return ";".join(dict.fromkeys(path[0] for path in paths))


def build_metadata(contract: Contract) -> bytes:
    """The FlatBuffer of the metadata: normalization, colour space, and the file of labels.

    The file of labels is named only if it has one line an output, which a binary model does not have. The standard
    has no name for the order blue, green, red, so the colour space of such a model is unknown.
    """
    builder = flatbuffers.Builder(1024)
    model_input = _features(builder, contract) if contract.input.kind == "features" else _image(builder, contract)
    files = [_labels(builder)] if len(contract.labels) == contract.outputs else []
    model_output = _tensor(builder, "score", "The score of each label", _content(builder, _FEATURE, {}), 6, files)
    outputs = [model_output]
    if contract.embedding:
        text = "What the last dense layer takes"
        outputs.append(_tensor(builder, contract.embedding, text, _content(builder, _FEATURE, {}), 6, []))
    graph = _table(builder, 4, {2: _tables(builder, [model_input]), 3: _tables(builder, outputs)})
    texts = {0: f"{contract.provenance.dataset or contract.input.kind} classifier", 7: _MIN_PARSER_VERSION}
    offsets = {slot: builder.CreateString(text) for slot, text in texts.items()}
    builder.Finish(_table(builder, 8, {**offsets, 3: _tables(builder, [graph])}), METADATA_SCHEMA.identifier)
    return bytes(builder.Output())


def _tensor(
    builder: flatbuffers.Builder, name: str, description: str, content: int, slot: int, parts: Sequence[int]
) -> int:
    texts = {number: builder.CreateString(text) for number, text in enumerate((name, description))}
    return _table(builder, 7, {**texts, 3: content, slot: _tables(builder, parts)})


def _image(builder: flatbuffers.Builder, contract: Contract) -> int:
    numbers = {name: number for number, name in COLOUR_SPACES.items()}
    content = _content(builder, IMAGE, {0: numbers.get(contract.image_input.colour, 0)})
    return _tensor(builder, "image", "The picture", content, 4, [_normalization(builder, contract)])


def _features(builder: flatbuffers.Builder, contract: Contract) -> int:
    """Without normalization: the standard has it for images only, and a reader would apply it to pixels."""
    return _tensor(builder, "features", "The readings, standardised", _content(builder, _FEATURE, {}), 4, [])


def _content(builder: flatbuffers.Builder, kind: int, properties: Mapping[int, int]) -> int:
    builder.StartObject(max(1, len(properties)))
    for slot, value in properties.items():
        builder.PrependInt8Slot(slot, value, 0)
    return _union(builder, 3, kind, builder.EndObject())


def _normalization(builder: flatbuffers.Builder, contract: Contract) -> int:
    spec = contract.input
    numbers = {
        slot: builder.CreateNumpyVector(np.asarray(values, np.float32))
        for slot, values in enumerate((spec.mean, spec.std))
    }
    return _union(builder, 2, NORMALIZATION, _table(builder, 2, numbers))


def _labels(builder: flatbuffers.Builder) -> int:
    name = builder.CreateString(LABELS_NAME)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependInt8Slot(2, AXIS_LABELS, 0)
    return int(builder.EndObject())


def _union(builder: flatbuffers.Builder, slots: int, kind: int, table: int) -> int:
    """A table whose first two fields are a union: the kind, and a table of that kind."""
    builder.StartObject(slots)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, table, 0)
    return int(builder.EndObject())


def _table(builder: flatbuffers.Builder, slots: int, offsets: Mapping[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _tables(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
