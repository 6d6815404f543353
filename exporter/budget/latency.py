"""A device's time for an operator, as a linear function of its work, fitted to the probes of a profile.

For each operator and type: a constant, multiply-adds, bytes read and written, and bytes of weights. Convolutions and
dense layers also have the multiply-adds with channels rounded up to whole vectors, as their kernels compute them, and
the values that are gathered into windows. No coefficient is negative, so that more work never takes less time, and
errors count in proportion to the time: a tenth of a small probe counts as much as a tenth of a large one.

Source of the fit: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems, 1974 (non-negative least squares).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.device_profile.format import DeviceProfile, Setting
from runtime.tflite.workload import OperatorWork, Workload

#: An operator's name and type, such as ("CONV_2D", "INT8").
Kind: TypeAlias = tuple[str, str]
#: A number of the fit: of an operator's kind, which feature; or the call around the operators.
_Column: TypeAlias = tuple[Kind, int]
_CALL: _Column = (("", ""), 0)
_FOLDS = 5
#: Networks among the probes count so many times: models that are predicted are networks.
_NETWORK_WEIGHT = 4.0
#: Of a normal distribution, 90 % lie within so many standard deviations.
_WITHIN_90_PERCENT = 1.645
#: Values that a vector instruction computes at once.
_LANES = (8, 16)
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class LatencyModel(NamedTuple):
    """The times of operators on one device with one interpreter and number of threads.

    Attributes:
        coefficients: the ms for one of each feature, by kind and feature.
        low, high: factors of a prediction between which 90 % of networks lie that were not used for the fit.
    """

    coefficients: dict[_Column, float]
    low: float
    high: float

    def knows(self, kind: Kind) -> bool:
        """Whether the device has measured operators of a kind."""
        return (kind, 0) in self.coefficients

    def predict_ms(self, operators: Iterable[tuple[Kind, OperatorWork]]) -> float:
        """The ms of a call with these operators, all of kinds that it knows."""
        row = _row(operators)
        return sum(value * self.coefficients.get(column, 0.0) for column, value in row.items())


def fit_latency(profile: DeviceProfile, setting: Setting) -> LatencyModel:
    """Fit the times of operators to the probes that were measured with a setting."""
    measured = [
        (_row((_kind(one), one) for one in probe.operators), time, _is_network(probe.operators))
        for probe, time in zip(profile.probes, setting.times_ms, strict=True)
        if time is not None
    ]
    columns = sorted({column for row, _, _ in measured for column in row})
    matrix = np.array([[row.get(column, 0.0) for column in columns] for row, _, _ in measured])
    times = np.array([time for _, time, _ in measured])
    networks = np.array([is_network for _, _, is_network in measured])
    coefficients = _solve(matrix, times, networks)
    spread = _spread(matrix, times, networks)
    factor = math.exp(_WITHIN_90_PERCENT * spread)
    return LatencyModel(dict(zip(columns, coefficients.tolist(), strict=True)), 1 / factor, factor)


def timed_operators(work: Workload) -> Iterator[tuple[Kind, OperatorWork]]:
    """The operators of a model that take time in each call, and the kinds under which a device measures them.

    What reads constants alone is computed once, when the model is loaded. Weights of another type than the activations
    make a kind of their own, such as ("CONV_2D", "FLOAT32 with weights INT8"), whose kernels are others.
    """
    fixed = {index for index, tensor in enumerate(work.tensors) if tensor.constant}
    for operator in work.operators:
        if operator.reads and fixed.issuperset(operator.reads):
            fixed.update(operator.writes)
            continue
        name, kind = _kind(operator)
        if name in _WEIGHTED:
            weights = work.tensors[operator.reads[1]].info.type
            kind += "" if weights == operator.type else f" with weights {weights}"
        yield (name, kind), operator


def _kind(work: OperatorWork) -> Kind:
    """The kind of an operator whose weights have the type of its activations."""
    if work.name != "QUANTIZE":
        return work.name, work.type
    width = work.bytes_read // max(1, math.prod(work.inputs[0]))
    return work.name, f"{work.type} from {'quantized' if width < 4 else 'float'} values"


def _row(operators: Iterable[tuple[Kind, OperatorWork]]) -> dict[_Column, float]:
    """The features of a model: sums over its operators."""
    row = {_CALL: 1.0}
    for kind, work in operators:
        for place, value in enumerate(_features(work)):
            row[kind, place] = row.get((kind, place), 0.0) + value
    return row


def _features(work: OperatorWork) -> list[float]:
    found = [1.0, work.multiply_adds, work.bytes_read, work.bytes_written, work.weight_bytes]
    if work.name not in _WEIGHTED or len(work.inputs) < 2 or len(work.outputs[0]) < 2:
        return found
    weights, pixels = work.inputs[1], math.prod(work.outputs[0][:-1])
    channels, depth = work.outputs[0][-1], math.prod(weights[1:])
    if work.name == "DEPTHWISE_CONV_2D":
        return [*found, pixels * _whole(channels, _LANES[1]) * math.prod(weights[1:3])]
    if work.name == "FULLY_CONNECTED":
        return [*found, pixels * _whole(channels, _LANES[1]) * _whole(depth, _LANES[1])]
    # A kernel goes through a window pixel by pixel, or through its row of copied values at once.
    taps = math.prod(weights[1:3])
    by_pixel = [pixels * _whole(channels, lanes) * taps * _whole(weights[3], 8) for lanes in _LANES]
    by_row = [pixels * _whole(channels, lanes) * _whole(depth, lanes // 2) for lanes in _LANES]
    return [*found, *by_pixel, *by_row, pixels * depth, pixels]


def _whole(length: int, lanes: int) -> int:
    return -(-length // lanes) * lanes


def _is_network(operators: Sequence[OperatorWork]) -> bool:
    """Whether a probe is a network, and not one operator several times."""
    return len({one.name for one in operators}) > 1


def _solve(matrix: npt.NDArray[Any], times: npt.NDArray[Any], networks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    from sklearn.linear_model import LinearRegression  # here: it takes long to import

    relative = matrix / times[:, None]
    scales = relative.max(axis=0)
    scales[scales == 0] = 1
    fit = LinearRegression(positive=True, fit_intercept=False)
    fit.fit(relative / scales, np.ones(len(times)), sample_weight=np.where(networks, _NETWORK_WEIGHT, 1.0))
    found: npt.NDArray[Any] = fit.coef_ / scales
    return found


def _spread(matrix: npt.NDArray[Any], times: npt.NDArray[Any], networks: npt.NDArray[Any]) -> float:
    """The standard deviation of the logarithm of measured over predicted time, of networks outside the fit.

    By cross-validation: networks of each fold in turn are predicted from all other probes. Without networks each probe
    counts as one.
    """
    judged = np.flatnonzero(networks) if networks.any() else np.arange(len(times))
    errors = []
    for fold in range(min(_FOLDS, len(judged))):
        held = judged[fold::_FOLDS]
        kept = np.setdiff1d(np.arange(len(times)), held)
        if len(kept):
            predicted = matrix[held] @ _solve(matrix[kept], times[kept], networks[kept])
            good = predicted > 0
            errors += np.log(times[held][good] / predicted[good]).tolist()
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0
