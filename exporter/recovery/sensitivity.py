"""Sensitivity: measures with TensorFlow Lite's quantization debugger which activations lose most in 8 bits."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime import Contract
from runtime.input_spec import InputSpec
from runtime.native_output import held_stderr

from ..converter import instrument
from ..model_converter import ModelConverter
from ..representative_dataset import converter_samples

_VERIFY = "NumericVerify"


@dataclass(frozen=True)
class Sensitivity:
    """How much one activation loses in 8 bits.

    Attributes:
        nodes: names for `ModelConverter.quantize`: the operator that writes the activation and those that read it. All
            of them have to stay float; otherwise the activation is still rounded to 8 bits between them.
        lost: the mean share of a channel's power that rounding takes, 0 to 1; 1 means that the channels are lost.
    """

    nodes: tuple[str, ...]
    lost: float


def find_sensitivity(converter: ModelConverter, calibrated: bytes, count: int) -> list[Sensitivity]:
    """`measure_sensitivity` where the model is converted, with the first samples of the converter.

    Raises:
        ExportError: the model cannot be measured.
    """
    found = converter.measure(f"{__name__}:{measure_file.__name__}", calibrated, count)
    return [Sensitivity(tuple(nodes), lost) for nodes, lost in found]


def measure_file(calibrated: str, samples: str, contract: str, count: int) -> list[tuple[tuple[str, ...], float]]:
    """`measure_sensitivity` with values that JSON can hold, for `ModelConverter.measure`."""
    spec = Contract.from_json(contract).input
    found = measure_sensitivity(Path(calibrated).read_bytes(), np.load(samples)[:count], spec)
    return [(sensitivity.nodes, sensitivity.lost) for sensitivity in found]


def measure_sensitivity(calibrated: bytes, samples: npt.NDArray[Any], spec: InputSpec) -> list[Sensitivity]:
    """The activations, the most sensitive first.

    The debugger's own figure, the error over the tensor's step, shows nothing for a channel that is smaller than the
    step, since its error is small, too. So each channel's error is compared with the channel itself.

    Args:
        calibrated: from `ModelConverter.calibrate`.
        samples: as in `RepresentativeDataset`.
        spec: the input that they are scaled for.
    """
    options = tf.lite.experimental.QuantizationDebugOptions(layer_direct_compare_metrics={"lost": _lost})
    with held_stderr(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf.lite's interpreter is deprecated; nothing else here uses it
        debugger = tf.lite.experimental.QuantizationDebugger(
            quant_debug_model_content=instrument(calibrated),
            debug_dataset=lambda: converter_samples(samples, spec),
            debug_options=options,
        )
        debugger.run()
        operators = debugger._quant_interpreter._get_ops_details()
        names = {t["index"]: t["name"] for t in debugger._quant_interpreter.get_tensor_details()}
    compared = {}
    for operator in operators:
        if operator["op_name"] == _VERIFY:
            name = names[operator["outputs"][0]]
            compared[operator["inputs"][0]] = (_plain(name), float(debugger.layer_statistics[name]["lost"]))
    found = []
    for index, (name, lost) in compared.items():
        readers = [reader for reader in _readers(operators, index, compared) if reader != name]
        if readers and np.isfinite(lost):  # nothing reads the output, where most scores are rightly near 0
            found.append(Sensitivity(tuple(dict.fromkeys((name, *readers))), lost))
    return sorted(found, key=lambda sensitivity: -sensitivity.lost)


def _readers(operators: list[dict[str, object]], index: int, compared: dict[int, tuple[str, float]]) -> Iterator[str]:
    """The names of the operators that read a tensor."""
    for operator in operators:
        if operator["op_name"] != _VERIFY and index in operator["inputs"]:  # type: ignore[operator]
            for written in operator["outputs"]:  # type: ignore[attr-defined]
                if written in compared:
                    yield compared[written][0]


def _plain(verify_name: str) -> str:
    """The name of the tensor that `NumericVerify/NAME:INDEX` compares; MLIR puts a digit after the name."""
    name = verify_name.rsplit(":", 1)[0].removeprefix(f"{_VERIFY}/")
    return name[:-1] if name[-1:].isdigit() else name


def _lost(real: npt.NDArray[np.float32], stored: npt.NDArray[np.int8], scale: float, zero_point: int) -> float:
    """The mean over the channels of error power over power, at most 1; NaN where there is no signal at all."""
    channels = real.shape[-1]
    values = real.reshape(-1, channels).astype(np.float64)
    error = (stored.reshape(-1, channels).astype(np.float64) - zero_point) * scale - values
    power = (values**2).sum(axis=0)
    has_signal = power > 0
    if not has_signal.any():
        return float("nan")
    return float(np.minimum(1.0, (error**2).sum(axis=0)[has_signal] / power[has_signal]).mean())
