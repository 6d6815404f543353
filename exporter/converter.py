"""Converts a Keras model to a FlatBuffer. This is the only module that uses TFLiteConverter."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python.conversion_metadata_schema_py_generated import ModelType
from tensorflow.lite.python.convert import mlir_quantize  # what tf.lite's own debugger calls

from runtime import Contract
from runtime.native_output import held_stderr

from .errors import ExportError
from .operator_support import layer_of
from .recipe import Recipe
from .representative_dataset import converter_samples

#: The converter writes a temporary SavedModel: TensorFlow writes its weights twice, and the file is handed over too.
_COPIES, _BYTES_A_WEIGHT, _ROOM_BESIDE = 3, 4, 4 * 2**20

#: Where in its graph MLIR found a fault, which says nothing to a user.
_LOCATION = re.compile(r"<unknown>:0: |error: loc\(.*?\)+: ")
_MAX_REASON = 300


def convert(
    model: Any, recipe: Recipe, contract: Contract, samples: npt.NDArray[Any], *, per_tensor_dense: bool = False
) -> bytes:
    """The model as a TensorFlow Lite FlatBuffer, converted in this process; `model_converter` has the safe way.

    Args:
        model: from `keras_loading.load_model`.
        recipe, contract, samples, per_tensor_dense: as for `convert_saved`.

    Raises:
        ExportError: the converter refuses the model.
    """
    from trainer.keras_inspection.graph import layer_names  # brings Keras

    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        save_for_converter(model, Path(folder))
        return convert_saved(
            Path(folder), recipe, contract, samples, layer_names(model), per_tensor_dense=per_tensor_dense
        )


def save_for_converter(model: Any, folder: Path) -> None:
    """Write a Keras model as a SavedModel, as TFLiteConverter.from_keras_model does.

    Once for all the files of a model: this takes twice as long as a conversion.

    Raises:
        ExportError: Keras cannot write it.
    """
    import keras  # not needed where the SavedModel is converted

    _check_room(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    inputs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]
    archive.add_endpoint("serve", partial(model.__call__, training=False), inputs)
    with _held_output("the network cannot be prepared for the converter: "):
        archive.write_out(str(folder))


def convert_saved(
    saved: Path,
    recipe: Recipe,
    contract: Contract,
    samples: npt.NDArray[Any],
    layers: Collection[str],
    *,
    per_tensor_dense: bool = False,
) -> bytes:
    """A saved network as a TensorFlow Lite FlatBuffer.

    Args:
        saved: the folder, from `save_for_converter`.
        samples: those of a `RepresentativeDataset`; used where the recipe needs them.
        layers: the names of the model's layers, for messages.
        per_tensor_dense: one scale for all the weights of a dense layer. tflite-runtime 2.14 lacks the operator
            (FULLY_CONNECTED 12) that the converter writes for dense layers of dynamic range otherwise.

    Raises:
        ExportError: the converter refuses the model.
    """
    converter = _open(saved)
    _configure(converter, recipe)
    converter._experimental_disable_per_channel_quantization_for_dense_layers = per_tensor_dense
    if recipe.needs_representative_dataset:
        converter.representative_dataset = lambda: converter_samples(samples, contract.input)
    return _run(converter, recipe, layers)


def calibrate_saved(saved: Path, contract: Contract, samples: npt.NDArray[Any], layers: Collection[str]) -> bytes:
    """A saved network in float32 with the range of each activation written into it: the input of `quantize`.

    Args:
        saved, samples, layers: as for `convert_saved`.

    Raises:
        ExportError: the converter refuses the model.
    """
    converter = _open(saved)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: converter_samples(samples, contract.input)
    converter._experimental_calibrate_only = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the input's range, which only `quantize` needs
        return _run(converter, Recipe.int8(), layers)


def quantize(
    calibrated: bytes, recipe: Recipe, float_nodes: Collection[str] = (), *, per_tensor_dense: bool = False
) -> bytes:
    """An int8 model in which some operators stay float32, between a DEQUANTIZE and a QUANTIZE.

    Args:
        calibrated: from `calibrate_saved`.
        recipe: an int8 recipe, for the types of input and output.
        float_nodes: names of the tensors that these operators write.
        per_tensor_dense: as for `convert`.

    Raises:
        ExportError: the converter refuses the model.
    """
    kind = getattr(tf, recipe.io)
    return _quantized(
        calibrated,
        input_data_type=kind,
        output_data_type=kind,
        denylisted_nodes=set(float_nodes),
        disable_per_channel_for_dense_layers=per_tensor_dense,
    )


def instrument(calibrated: bytes) -> bytes:
    """An int8 model that also runs each operator in float32 and compares. Only TensorFlow's own interpreter runs it."""
    return _quantized(calibrated, enable_numeric_verify=True)


def _quantized(calibrated: bytes, **options: Any) -> bytes:
    with _held_output("int8: cannot be quantized: "):
        flatbuffer: bytes = mlir_quantize(calibrated, **options)
    return flatbuffer


def _open(saved: Path) -> Any:
    with _held_output("the network cannot be read by the converter: "):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter._metadata.environment.modelType = ModelType.KERAS_MODEL  # it would be called a SavedModel in the file
    return converter


def _run(converter: Any, recipe: Recipe, layers: Collection[str]) -> bytes:
    with _held_output(f"{recipe.name}: cannot be converted: ", layers):
        flatbuffer: bytes = converter.convert()
    return flatbuffer


@contextlib.contextmanager
def _held_output(problem: str, layers: Collection[str] = ()) -> Iterator[None]:
    """Hold back what Keras and MLIR print, and make one line of their errors.

    Raises:
        ExportError: the block raised an error; the traceback has the whole text.
    """
    error: Exception | None = None
    with held_stderr(), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        except Exception as raised:  # the converter, MLIR and Keras each raise their own classes
            error = raised  # raised below: an error here would let out what is held back
    if error is not None:
        raise ExportError(f"{problem}{_explain(error, layers)}") from error


def _check_room(model: Any) -> None:
    """Refuse a folder for temporary files that is too small: the converter's own error would not name it."""
    folder, needed = tempfile.gettempdir(), _COPIES * _BYTES_A_WEIGHT * model.count_params() + _ROOM_BESIDE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            f"{folder}: {free / 2**20:.1f} MiB are free, and the conversion needs {needed / 2**20:.1f} MiB there; make "
            "room, or name another folder for temporary files by $TMPDIR"
        )


def _explain(error: Exception, layers: Collection[str]) -> str:
    """The converter's reason in one line: the operations that have no built-in operator, with their layers."""
    text = str(error)
    found = re.findall(r'fused\["\w+:", "([^"@]+)@[^\n]*\'tf\.(\w+)\' op is neither a custom op', text)
    if "TensorList" in text:
        return (
            "the loop of a recurrent layer has no fixed batch; build the layer with unroll=True, which keeps the "
            "weights, or give the .keras file instead of a SavedModel"
        )
    if not found:  # the same line for each layer, as a rule
        lines = [line for line in text.splitlines() if " note: " not in line]
        plain = _LOCATION.sub("", " ".join(dict.fromkeys(lines)))
        return " ".join(plain.split())[:_MAX_REASON]
    named = dict.fromkeys(f"{operation} of layer {layer_of(path, layers)!r}" for path, operation in found)
    return f"no built-in operator for {', '.join(named)}; replace the layer by one of ordinary operators"


def _configure(converter: Any, recipe: Recipe) -> None:
    if recipe.mode == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    # No other operators: one without an integer kernel is then an error, and not a float operator among the others.
    elif recipe.mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, recipe.io)
    elif recipe.mode == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
