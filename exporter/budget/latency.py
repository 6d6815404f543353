"""A device's time for a call, fitted to the probes of its profile.

For each operator and type: a constant, multiply-adds, bytes read and written, and bytes of weights. Convolutions and
dense layers also have the multiply-adds with channels rounded up to whole vectors, as their kernels compute them, and
the values that are gathered into windows. More work never takes less time, and errors count in proportion to the time:
a tenth of a small probe counts as much as a tenth of a large one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.device_profile.format import DeviceProfile, Setting
from runtime.tflite.workload import OperatorWork

from .regression import Features, Kinds, OperatorSum, fit_sum, is_constant_work, kind_of, weights_of, whole_groups

_FOLDS = 5
#: Errors of networks among the probes count twice: models that are predicted are networks.
_NETWORK_WEIGHT = 2.0
#: Of a normal distribution, 90 % lie within so many standard deviations.
_WITHIN_90_PERCENT = 1.645
#: Filters that kernels compute at once, and the values of a pixel that they multiply at once.
_FILTERS, _DEPTHS = (8, 16, 32), (4, 8)


class LatencyModel(NamedTuple):
    """The time of a call on one device with one interpreter and number of threads.

    Attributes:
        milliseconds: of a call, by its operators.
        low, high: factors of a prediction between which 90 % of networks lie that were not used for the fit.
    """

    milliseconds: OperatorSum
    low: float
    high: float


def fit_latency(profile: DeviceProfile, setting: Setting) -> LatencyModel:
    """Fit the time of a call to the probes that were measured with a setting."""
    measured = [
        ([(kind_of(one), one) for one in probe.operators], time)
        for probe, time in zip(profile.probes, setting.times_ms, strict=True)
        # What is computed once takes no time in a call: such probes are there for their memory.
        if time is not None and not any(map(is_constant_work, probe.operators))
    ]
    models = [operators for operators, _ in measured]
    times = np.array([time for _, time in measured])
    networks = np.array([is_network(operators) for operators in models])
    factor = math.exp(_WITHIN_90_PERCENT * _spread(models, times, networks))
    return LatencyModel(_fit(models, times, networks), 1 / factor, factor)


def is_network(operators: Kinds) -> bool:
    """Whether a probe is a network, and not one operator several times."""
    return len({work.name for _, work in operators}) > 1


def _fit(models: Sequence[Kinds], times: npt.NDArray[Any], networks: npt.NDArray[Any]) -> OperatorSum:
    return fit_sum(models, times, times / np.where(networks, _NETWORK_WEIGHT, 1.0), Features(_features))


def _features(work: OperatorWork) -> list[float]:
    found = [1.0, work.multiply_adds, work.bytes_read, work.bytes_written, work.weight_bytes]
    weights = weights_of(work)
    if not weights:
        return found
    pixels = math.prod(work.outputs[0][:-1])
    channels, depth = work.outputs[0][-1], math.prod(weights[1:])
    if work.name == "DEPTHWISE_CONV_2D":
        return [*found, pixels * whole_groups(channels, 16) * math.prod(weights[1:3])]
    if work.name == "FULLY_CONNECTED":
        return [*found, *(pixels * whole_groups(channels, filters) * whole_groups(depth, 16) for filters in _FILTERS)]
    # A kernel goes through a window pixel by pixel, or through its row of copied values at once.
    taps = math.prod(weights[1:3])
    by_pixel = [
        pixels * whole_groups(channels, filters) * taps * whole_groups(weights[3], _DEPTHS[1]) for filters in _FILTERS
    ]
    by_row = [pixels * whole_groups(channels, filters) * whole_groups(depth, _DEPTHS[0]) for filters in _FILTERS]
    return [*found, *by_pixel, *by_row, pixels * depth, pixels]


def _spread(models: Sequence[Kinds], times: npt.NDArray[Any], networks: npt.NDArray[Any]) -> float:
    """The standard deviation of the logarithm of measured over predicted time, for a network outside the fit.

    Networks that resemble the probes are predicted better than others, and single operators worse than sums of many. So
    it is the geometric mean of the errors of both, by cross-validation.
    """
    found = [_held_out_error(models, times, networks, np.flatnonzero(judged)) for judged in (networks, ~networks)]
    known = [error for error in found if error > 0]
    return math.prod(known) ** (1 / len(known)) if known else 0.0


def _held_out_error(
    models: Sequence[Kinds], times: npt.NDArray[Any], networks: npt.NDArray[Any], judged: npt.NDArray[Any]
) -> float:
    """The root mean square error of some probes, each fold of which is predicted from all others."""
    errors = []
    for fold in range(min(_FOLDS, len(judged))):
        held = judged[fold::_FOLDS]
        kept = np.setdiff1d(np.arange(len(times)), held)
        if len(kept):
            fitted = _fit([models[index] for index in kept], times[kept], networks[kept])
            predicted = [(times[index], fitted.predict(models[index])) for index in held]
            errors += [math.log(time / found) for time, found in predicted if found > 0]
    return math.sqrt(sum(error**2 for error in errors) / len(errors)) if errors else 0.0
