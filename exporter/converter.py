"""Converts a Keras model to a FlatBuffer. This is the only module that uses TFLiteConverter."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Collection
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize  # what tf.lite's own debugger calls

from runtime import Contract
from runtime.native_output import held_stderr
from trainer.keras_inspection.graph import layer_names

from .errors import ExportError
from .operator_support import layer_of
from .recipe import Recipe
from .representative_dataset import converter_samples

#: The converter writes a temporary SavedModel: TensorFlow writes its weights twice, and the file is handed over too.
_COPIES, _BYTES_A_WEIGHT, _ROOM_BESIDE = 3, 4, 4 * 2**20


def convert(
    model: Any,
    recipe: Recipe,
    contract: Contract,
    samples: npt.NDArray[Any],
    *,
    per_tensor_dense: bool = False,
) -> bytes:
    """The model as a TensorFlow Lite FlatBuffer.

    Args:
        model: from `keras_loading.load_model`.
        samples: those of a `RepresentativeDataset`; used where the recipe needs them.
        per_tensor_dense: one scale for all the weights of a dense layer. tflite-runtime 2.14 lacks the operator
            (FULLY_CONNECTED 12) that the converter writes for dense layers of dynamic range otherwise.

    Raises:
        ExportError: the converter refuses the model.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    _configure(converter, recipe)
    converter._experimental_disable_per_channel_quantization_for_dense_layers = per_tensor_dense
    if recipe.needs_representative_dataset:
        converter.representative_dataset = lambda: converter_samples(samples, contract.input)
    return _run(converter, recipe, model)


def calibrate(model: Any, contract: Contract, samples: npt.NDArray[Any]) -> bytes:
    """The model in float32 with the range of each activation written into it: the input of `quantize`.

    Raises:
        ExportError: the converter refuses the model.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: converter_samples(samples, contract.input)
    converter._experimental_calibrate_only = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the input's range, which only `quantize` needs
        return _run(converter, Recipe.int8(), model)


def quantize(
    calibrated: bytes, recipe: Recipe, float_nodes: Collection[str] = (), *, per_tensor_dense: bool = False
) -> bytes:
    """An int8 model in which some operators stay float32, between a DEQUANTIZE and a QUANTIZE.

    Args:
        calibrated: from `calibrate`.
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
    try:
        with held_stderr():
            flatbuffer: bytes = mlir_quantize(calibrated, **options)
    except Exception as error:  # MLIR raises its own class
        raise ExportError(f"int8: cannot be quantized: {' '.join(str(error).split())[:500]}") from error
    return flatbuffer


def _run(converter: Any, recipe: Recipe, model: Any) -> bytes:
    _check_room(model)
    try:
        # Keras prints where it saved its intermediate model, and MLIR prints remarks.
        with held_stderr(), contextlib.redirect_stdout(io.StringIO()):
            flatbuffer: bytes = converter.convert()
    except Exception as error:  # the converter, MLIR and Keras each raise their own classes
        raise ExportError(f"{recipe.name}: cannot be converted: {_explain(error, layer_names(model))}") from error
    return flatbuffer


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
    if not found:  # the same line for each layer, as a rule
        return " ".join(" ".join(dict.fromkeys(text.splitlines())).split())[:500]
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
