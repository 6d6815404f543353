"""Models of someone else's, for several tests: converted with TensorFlow, and TFLite metadata written as others do.

Where models are given ready-made (see conftest), those are, and a test that changes one is skipped.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.exports import READY_MADE

if TYPE_CHECKING:
    import flatbuffers

LABELS = ("cat", "dog", "owl")


@cache
def converted(
    kind: str = "float32",
    shape: tuple[int, ...] = (8, 8, 3),
    outputs: int = 3,
    batch: int | None = 1,
    activation: str | None = "",
) -> bytes:
    """A small convolutional classifier.

    Args:
        kind: float32, uint8 or int8.
        shape: of the input; without an axis of channels a grey picture.
        activation: of the last layer, by Keras's name; "" for softmax, or sigmoid if there is one output.
    """
    if activation != "" or len(shape) != 3:
        _skip_without_tensorflow()
    elif READY_MADE is not None:
        path = READY_MADE / ready_made_name(kind, outputs)
        assert path.exists() and shape == (8, 8, 3) and batch == 1, "not among the ready-made models"  # noqa: PT018
        return path.read_bytes()
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    given = tf.keras.Input(shape=shape, batch_size=1)
    picture = given if len(shape) == 3 else tf.keras.layers.Reshape((*shape, 1))(given)
    hidden = tf.keras.layers.Conv2D(4, 3, activation="relu")(picture)
    hidden = tf.keras.layers.GlobalAveragePooling2D()(hidden)
    last = tf.keras.layers.Dense(
        outputs,
        activation=activation if activation != "" else "softmax" if outputs > 1 else "sigmoid",
        bias_initializer="ones",  # none at all, as zeros become, and tflite-runtime dies of it on ARM
    )(hidden)
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(given, last))
    if kind != "float32":
        rng = np.random.default_rng(0)
        pictures = [rng.uniform(-1, 1, (1, *shape)).astype(np.float32) for _ in range(8)]
        pictures += [np.full((1, *shape), value, np.float32) for value in (-1, 1)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    return bytes(converter.convert())


def ready_made_name(kind: str, outputs: int) -> str:
    """The file of `converted(kind, outputs=outputs)` among the ready-made models."""
    return f"foreign-{kind}-{outputs}.tflite"


def _skip_without_tensorflow() -> None:
    if READY_MADE is not None:
        pytest.skip("needs TensorFlow's schema, and models are given ready-made")


def changed(flatbuffer: bytes, change: Callable[[Any], object]) -> bytes:
    """A model unpacked with TensorFlow's own schema module, changed, and packed again."""
    _skip_without_tensorflow()
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_metadata(flatbuffer: bytes, metadata: bytes, files: dict[str, bytes], compression: int = 0) -> bytes:
    """A model with a TFLITE_METADATA buffer, and files in a zip archive behind it."""
    _skip_without_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema

    def add(model: schema.ModelT) -> None:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(metadata, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
        model.metadata = [*(model.metadata or []), entry]

    archive = io.BytesIO()
    archive.write(changed(flatbuffer, add))
    if files:
        with zipfile.ZipFile(archive, "a", compression) as members:
            for name, data in files.items():
                members.writestr(name, data)
    return archive.getvalue()


def metadata(
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    colour: int = 0,
    labels_files: Sequence[tuple[str, str]] = (("labels.txt", ""),),
) -> bytes:
    """The metadata's FlatBuffer.

    Args:
        mean, std: of the normalization; none is written where mean is empty.
        colour: 0 unknown, 1 RGB, 2 greyscale.
        labels_files: (name, locale) of each file that labels the output's axis.
    """
    _skip_without_tensorflow()
    import flatbuffers

    builder = flatbuffers.Builder(512)
    units = [_normalization(builder, mean, std)] if mean else []
    builder.StartObject(2)  # ImageProperties
    builder.PrependInt8Slot(0, colour, 0)
    properties = builder.EndObject()
    builder.StartObject(3)  # Content
    builder.PrependUint8Slot(0, 2, 0)
    builder.PrependUOffsetTRelativeSlot(1, properties, 0)
    content = builder.EndObject()
    given = _table(builder, 7, {3: content, 4: _vector(builder, units)})
    files = [_file(builder, *file) for file in labels_files]
    answer = _table(builder, 7, {6: _vector(builder, files)})
    graph = _table(builder, 7, {2: _vector(builder, [given]), 3: _vector(builder, [answer])})
    name = builder.CreateString("a classifier")
    builder.Finish(_table(builder, 8, {0: name, 3: _vector(builder, [graph])}), b"M001")
    return bytes(builder.Output())


def _normalization(builder: flatbuffers.Builder, mean: Sequence[float], std: Sequence[float]) -> int:
    numbers = []
    for values in (mean, std):
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        numbers.append(builder.EndVector())
    options = _table(builder, 2, dict(enumerate(numbers)))
    builder.StartObject(2)  # ProcessUnit
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    return int(builder.EndObject())


def _file(builder: flatbuffers.Builder, name: str, locale: str) -> int:
    texts = [builder.CreateString(name), builder.CreateString(locale) if locale else 0]
    builder.StartObject(5)  # AssociatedFile
    builder.PrependUOffsetTRelativeSlot(0, texts[0], 0)
    builder.PrependInt8Slot(2, 2, 0)
    builder.PrependUOffsetTRelativeSlot(3, texts[1], 0)
    return int(builder.EndObject())


def _table(builder: flatbuffers.Builder, slots: int, offsets: dict[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
