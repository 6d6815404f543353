"""What an interpreter allocates for a model on a device, fitted to the probes of the device's profile.

The tensors' memory is computed from the file (`runtime.tflite.arena`). What an interpreter takes beside it, such as
XNNPACK's copies of the weights and its tables of places, depends on its version and processor: it is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from runtime.device_profile.format import DeviceProfile, Setting
from runtime.tflite.arena import arena_bytes
from runtime.tflite.workload import OperatorWork, Workload, split_constant_work

from .latency import is_network
from .regression import (
    Features,
    Kinds,
    OperatorSum,
    fit_sum,
    is_constant_work,
    kind_of,
    timed_operators,
    weights_of,
    whole_groups,
)

#: Errors of networks among the probes count so many times: only there do several operators share memory.
_NETWORK_WEIGHT = 4.0
_PRODUCTS = ("CONV_2D", "FULLY_CONNECTED")
#: Filters are stored in groups of so many: with AVX-512, XNNPACK of tflite-runtime has the first, of ai-edge-litert
#: the second.
_GROUPS = (16, 32)
#: XNNPACK places weights that it dequantized at multiples of so many bytes.
_ALIGNMENT = 16
#: An error of a tenth of a probe's memory counts the same for each, but for the smallest.
_LEAST_BYTES = 200_000


class MemoryModel(NamedTuple):
    """The memory of a model on one device with one interpreter and number of threads.

    Attributes:
        copies_windows: whether quantized convolutions copy their windows there; XNNPACK's do not.
        beside: the bytes beside the tensors, by the operators; None where the device could not count them.
    """

    copies_windows: bool
    beside: OperatorSum | None

    def predict_bytes(self, work: Workload) -> int:
        """What the interpreter allocates for a model, its file apart."""
        tensors = arena_bytes(work, copies_windows=self.copies_windows)
        once, _ = split_constant_work(work)
        # A profile that is older than such probes cannot tell whether results of constants are kept: they count.
        known = self.beside is not None and all(self.beside.knows(kind_of(one)) for one in once)
        tensors += 0 if known else sum(one.bytes_written for one in once)
        operators = [*_unpacked(once), *timed_operators(work)]
        return tensors + (0 if self.beside is None else round(self.beside.predict(operators)))


def fit_memory(profile: DeviceProfile, setting: Setting) -> MemoryModel:
    """Fit the memory to the probes that were measured with a setting."""
    measured = [
        (_kinds(probe.operators), probe, grown)
        for probe, grown in zip(profile.probes, setting.grown_bytes, strict=True)
        if grown is not None
    ]
    if not measured:
        return MemoryModel(copies_windows=True, beside=None)
    models, probes, counts = zip(*measured, strict=True)
    grown = np.array(counts)
    networks = np.array([is_network(operators) for operators in models])
    scales = np.maximum(grown, _LEAST_BYTES) / np.where(networks, _NETWORK_WEIGHT, 1.0)
    found = []
    for copies_windows in (True, False):
        tensors = np.array([probe.arena_bytes if copies_windows else probe.tensor_bytes for probe in probes])
        beside = fit_sum(models, grown - tensors, scales, Features(_kept, _taken_in_turn))
        predicted = tensors + [beside.predict(operators) for operators in models]
        found.append((float(np.sum(((grown - predicted) / scales) ** 2)), MemoryModel(copies_windows, beside)))
    return min(found, key=lambda entry: entry[0])[1]


def _kinds(operators: Sequence[OperatorWork]) -> Kinds:
    """The operators of a probe with their kinds."""
    once = [one for one in operators if is_constant_work(one)]
    return [*_unpacked(once), *((kind_of(one), one) for one in operators if not is_constant_work(one))]


def _unpacked(operators: Sequence[OperatorWork]) -> Kinds:
    """The operators that are computed once, each with the bytes by which it makes the block of their results grow.

    XNNPACK of tflite-runtime keeps float16 weights as float32 in one `std::vector<char>` (`static_unpacked_data_` in
    `xnnpack_delegate.cc`), beside the packed ones. Where it must grow, it doubles at least, and what is not filled is
    allocated too. That of ai-edge-litert keeps none.
    """
    found, size, capacity = [], 0, 0
    for one in operators:
        added = whole_groups(one.bytes_written, _ALIGNMENT)
        needed = size + max(size, added) if size + added > capacity else capacity
        found.append((kind_of(one), one._replace(bytes_written=needed - capacity, weight_bytes=0)))
        size, capacity = size + added, needed
    return found


def _kept(work: OperatorWork) -> list[float]:
    """What may be kept for an operator from call to call."""
    found = [1.0, work.bytes_written, work.weight_bytes]
    weights = weights_of(work)
    if not weights:
        return found
    pixels = math.prod(work.outputs[0][:-1])
    channels = work.outputs[0][-1]
    depth = math.prod(weights[1:])
    grouped = [whole_groups(channels, group) * depth for group in _GROUPS]
    # A place for each pixel of each window, and whole groups of filters.
    return [*found, pixels * math.prod(weights[1:3]), *grouped, pixels * depth, channels]


def _taken_in_turn(work: OperatorWork) -> list[float]:
    """What an operator may need while it runs, in memory that the next one uses again.

    A product of matrices copies both into groups of rows and columns; so does TensorFlow Lite's own int8.
    """
    weights = weights_of(work)
    if not weights or work.name not in _PRODUCTS:
        return []
    pixels = math.prod(work.outputs[0][:-1])
    depth = whole_groups(math.prod(weights[1:]), 4)
    return [
        (whole_groups(work.outputs[0][-1], _GROUPS[0]) + whole_groups(pixels, _GROUPS[0])) * (depth + 4),
        pixels * math.prod(weights[1:-1]),
    ]
