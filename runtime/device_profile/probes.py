"""The probes: models that each have one operator of our networks several times, and a few small whole networks.

Both are needed: an operator alone shows what it costs at a shape, a network what operators cost one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..tflite.arena import arena_bytes
from ..tflite.workload import OperatorWork, read_workload, split_constant_work
from .probe_network import FLOAT16, FLOAT32, INT8, PROBE_TYPES, UINT8, ProbeNetwork

#: How often a probe repeats its operator: a single one takes less than the call around it. Large ones are not
#: repeated so often, so that a slow device is done in time.
_COPIES, _LARGE_COPIES, _LARGE_WORK = 4, 2, 500_000

#: Convolutions: side of the picture, channels, filters, side of the window, stride.
_CONVOLUTIONS = (
    *((28, 1, 8, 3, 1), (28, 1, 12, 3, 1), (28, 1, 16, 3, 1), (28, 1, 32, 3, 1), (32, 3, 10, 3, 1), (32, 3, 16, 3, 1)),
    *(
        (32, 3, 24, 3, 1),
        (28, 8, 8, 3, 1),
        (28, 10, 10, 3, 1),
        (28, 16, 16, 3, 1),
        (24, 6, 6, 3, 1),
        (20, 12, 12, 3, 1),
    ),
    *((16, 24, 24, 3, 1), (14, 8, 16, 3, 1), (14, 16, 32, 3, 1), (14, 12, 18, 3, 1), (14, 20, 20, 3, 1)),
    *(
        (10, 10, 10, 3, 1),
        (10, 20, 40, 3, 1),
        (8, 1, 10, 3, 1),
        (8, 12, 12, 3, 1),
        (7, 16, 16, 3, 1),
        (7, 32, 32, 3, 1),
    ),
    *((7, 20, 48, 3, 1), (7, 64, 64, 3, 1), (6, 24, 48, 3, 1), (5, 10, 30, 3, 1), (5, 30, 30, 3, 1), (4, 16, 16, 3, 1)),
    *((4, 48, 48, 3, 1), (3, 24, 36, 3, 1), (2, 18, 24, 3, 1), (2, 40, 80, 3, 1), (40, 1, 8, 5, 2), (48, 3, 16, 5, 2)),
    *((64, 3, 24, 5, 2), (96, 3, 12, 5, 2), (96, 1, 6, 5, 2), (64, 3, 16, 3, 2), (48, 24, 32, 3, 2)),
    *((28, 8, 16, 1, 1), (24, 16, 64, 1, 1), (14, 16, 96, 1, 1), (14, 96, 24, 1, 1), (7, 32, 192, 1, 1)),
    *((7, 96, 160, 1, 1), (3, 160, 64, 1, 1)),
)
#: Depthwise convolutions: side of the picture, channels, side of the window, stride.
_DEPTHWISE = (
    *((48, 16, 3, 1), (24, 48, 3, 2), (24, 32, 3, 1), (12, 96, 3, 1), (6, 192, 3, 1), (3, 240, 3, 1), (12, 96, 5, 1)),
    *((12, 72, 5, 2), (6, 192, 5, 1)),
)
#: Dense layers: values, units.
_DENSE = (
    *((16, 2), (32, 10), (48, 10), (64, 20), (100, 100), (128, 10), (24, 12), (256, 64), (784, 16), (784, 128)),
    *((400, 100), (1024, 40), (3072, 32), (2352, 100), (3072, 128), (300, 256)),
)
#: Pictures for operators without weights: side, channels.
_PICTURES = ((28, 8), (28, 16), (14, 32), (20, 10), (48, 24), (10, 12), (7, 48), (5, 30))
_LENGTHS = (1, 10, 128, 1024, 12544)
_CLASSES = (2, 10, 100, 1000)
#: Residual networks like `cnn`: side and channels of the picture, filters of the three stages, blocks of each.
_NETWORKS = (
    *((8, 1, (8, 12, 16), 0), (12, 3, (10, 20, 30), 1), (16, 1, (6, 10, 14), 2), (20, 1, (10, 10, 30), 1)),
    *((24, 3, (8, 16, 16), 0), (28, 1, (8, 16, 32), 0), (28, 1, (12, 16, 24), 1), (32, 3, (16, 32, 48), 1)),
    *((32, 3, (20, 24, 64), 0), (40, 3, (14, 20, 40), 0), (48, 3, (8, 16, 24), 1), (64, 1, (16, 24, 32), 1)),
)
#: Networks of dense layers: values, and the units of the layers.
_DENSE_NETWORKS = ((64, (32, 10)), (192, (20, 20, 10)), (784, (128, 10)), (784, (32, 16, 4)), (3072, (64, 5)))
#: Those that are measured with float16 weights too, for the memory of what is dequantized.
_HALF_NETWORKS = (_NETWORKS[0], _NETWORKS[2], _NETWORKS[6], _NETWORKS[7])
_HALF_DENSE_NETWORKS = (_DENSE_NETWORKS[0], _DENSE_NETWORKS[3], _DENSE_NETWORKS[4])
#: Side up to which `cnn` works on every pixel, and below which its first stage is not pooled.
_STEM_SIDE, _POOLED_SIDE = 32, 16


class Probe(NamedTuple):
    """A model to measure.

    Attributes:
        name: what it probes, such as `"CONV_2D INT8 28x28x8 8x3x3 stride 1"`; no two have the same.
        operators: what it makes a device do, its repetitions included.
        tensor_bytes: the memory that its tensors share, as `arena.arena_bytes` plans it without copied windows.
        arena_bytes: the same with the windows that quantized convolutions of TensorFlow Lite's own kernels copy.
        content: the model file; empty for a probe of a profile.
    """

    name: str
    operators: tuple[OperatorWork, ...]
    tensor_bytes: int
    arena_bytes: int
    content: bytes = b""


def all_probes() -> Iterator[Probe]:
    """Every probe, each built when it is asked for; the same ones in the same order each time."""
    for kind in PROBE_TYPES:
        for name, build in _recipes(kind):
            network = ProbeNetwork(kind)
            yield _probe(f"{name} {kind}", network.content(build(network)))
    for name, build in _networks(_HALF_NETWORKS, _HALF_DENSE_NETWORKS):
        network = ProbeNetwork(FLOAT32, weights=FLOAT16)
        yield _probe(f"{name} {FLOAT32} with weights {FLOAT16}", network.content(build(network)))


def count_probes() -> int:
    """The number of probes."""
    return sum(1 for kind in PROBE_TYPES for _ in _recipes(kind)) + len(_HALF_NETWORKS) + len(_HALF_DENSE_NETWORKS)


def _probe(name: str, content: bytes) -> Probe:
    once, work = split_constant_work(read_workload(content, name))
    # The numbers of tensors mean nothing outside their model.
    operators = tuple(one._replace(reads=(), writes=()) for one in (*once, *work.operators))
    return Probe(name, operators, arena_bytes(work, copies_windows=False), arena_bytes(work), content)


#: Builds a network, and gives the tensors that are its answer.
_Build = Callable[[ProbeNetwork], list[int]]


def _recipes(kind: str) -> Iterator[tuple[str, _Build]]:
    yield from _weighted()
    yield from _moving()
    yield from _pointwise(kind)
    yield from _networks(_NETWORKS, _DENSE_NETWORKS)


def _networks(
    residual: Sequence[tuple[int, int, tuple[int, ...], int]], dense: Sequence[tuple[int, tuple[int, ...]]]
) -> Iterator[tuple[str, _Build]]:
    for side, channels, filters, blocks in residual:
        name = f"residual network {side}x{side}x{channels} {'-'.join(map(str, filters))} blocks {blocks}"
        yield name, partial(_residual, side=side, channels=channels, filters=filters, blocks=blocks)
    for length, units in dense:
        name = f"dense network {length} {'-'.join(map(str, units))}"
        yield name, partial(_dense_layers, length=length, units=units)


def _weighted() -> Iterator[tuple[str, _Build]]:
    """Probes of the operators that multiply by weights."""
    for side, channels, filters, window, stride in _CONVOLUTIONS:
        name = f"CONV_2D {side}x{side}x{channels} {filters}x{window}x{window} stride {stride}"
        work = (side // stride) ** 2 * channels * filters * window**2
        yield _repeated(name, (side, side, channels), work, "convolution", filters, window, stride)
    for side, channels, window, stride in _DEPTHWISE:
        name = f"DEPTHWISE_CONV_2D {side}x{side}x{channels} {window}x{window} stride {stride}"
        yield _repeated(name, (side, side, channels), 0, "depthwise", window, stride)
    for length, units in _DENSE:
        yield _repeated(f"FULLY_CONNECTED {length} {units}", (length,), length * units, "dense", units)


def _moving() -> Iterator[tuple[str, _Build]]:
    """Probes of operators that combine or move the values of pictures."""
    for side, channels in _PICTURES:
        shape, size = (side, side, channels), f"{side}x{side}x{channels}"
        yield _repeated(f"MAX_POOL_2D {size}", shape, 0, "pool")
        yield _repeated(f"MEAN {size}", shape, 0, "mean")
        yield f"ADD {size}", partial(_sums, name="ADD", shape=shape)
    for side, channels in _PICTURES[::3]:
        shape, size = (side, side, channels), f"{side}x{side}x{channels}"
        yield _repeated(f"AVERAGE_POOL_2D {size}", shape, 0, "pool", "AVERAGE_POOL_2D")
        yield _repeated(f"AVERAGE_POOL_2D {size} whole", shape, 0, "pool", "AVERAGE_POOL_2D", side)
        yield _repeated(f"PAD {size}", shape, 0, "pad")
        yield _repeated(f"RESHAPE {size}", shape, 0, "reshape", (1, side * side * channels))
        yield f"MUL {size}", partial(_sums, name="MUL", shape=shape)
        for name in ("ADD", "SUB", "MUL"):
            yield _repeated(f"{name} {size} constant", shape, 0, "combine", name)


def _pointwise(kind: str) -> Iterator[tuple[str, _Build]]:
    """Probes of operators that compute each value, or each row, on its own, and of conversions between types."""
    for name in ("LOGISTIC", "TANH", "RELU", "RELU6", "HARD_SWISH"):
        for length in _LENGTHS:
            yield _repeated(f"{name} {length}", (length,), 0, "pointwise", name)
    for length in _CLASSES:
        yield _repeated(f"SOFTMAX {length}", (length,), 0, "pointwise", "SOFTMAX")
    conversions = [("QUANTIZE", FLOAT32, INT8)]
    if kind == INT8:
        conversions = [("QUANTIZE", INT8, UINT8), ("QUANTIZE", UINT8, INT8), ("DEQUANTIZE", INT8, FLOAT32)]
    for name, given, wanted in conversions:
        for length in _LENGTHS:
            build = partial(_conversions, name=name, length=length, given=given, wanted=wanted)
            yield f"{name} {given} to {wanted} {length}", build


def _repeated(name: str, shape: tuple[int, ...], work: int, method: str, *arguments: object) -> tuple[str, _Build]:
    """A probe that applies a method of `ProbeNetwork` several times to the same input."""
    copies = _LARGE_COPIES if work > _LARGE_WORK else _COPIES

    def build(network: ProbeNetwork) -> list[int]:
        x = network.given((1, *shape))
        return [getattr(network, method)(x, *arguments) for _ in range(copies)]

    return name, build


def _sums(network: ProbeNetwork, name: str, shape: tuple[int, ...]) -> list[int]:
    one, other = network.given((1, *shape)), network.given((1, *shape))
    return [network.combine(one, name, other) for _ in range(_COPIES)]


def _conversions(network: ProbeNetwork, name: str, length: int, given: str, wanted: str) -> list[int]:
    x = network.given((1, length), given)
    return [network.converted(x, name, wanted) for _ in range(_COPIES)]


def _residual(network: ProbeNetwork, side: int, channels: int, filters: tuple[int, ...], blocks: int) -> list[int]:
    """A network in the shape of `cnn`; see `trainer.models.factory`."""
    x = _pixels(network, (1, side, side, channels))
    halve = side > _STEM_SIDE
    x = network.convolution(x, filters[0], 5 if halve else 3, 2 if halve else 1)
    side = math.ceil(side / 2) if halve else side
    x = _blocks(network, x, filters[0], blocks)
    x = network.pool(x) if side >= _POOLED_SIDE else x
    x = _blocks(network, network.convolution(x, filters[1]), filters[1], blocks)
    x = network.pool(x)
    x = _blocks(network, network.convolution(x, filters[2]), filters[2], blocks)
    return _answer(network, network.dense(network.mean(x), 10, relu=False))


def _blocks(network: ProbeNetwork, x: int, filters: int, count: int) -> int:
    for _ in range(count):
        x = network.combine(network.convolution(network.convolution(x, filters), filters), "ADD", x)
    return x


def _dense_layers(network: ProbeNetwork, length: int, units: tuple[int, ...]) -> list[int]:
    x = network.reshape(_pixels(network, (1, length, 1, 1)), (1, length))
    for width in units[:-1]:
        x = network.dense(x, width)
    return _answer(network, network.dense(x, units[-1], relu=False))


def _pixels(network: ProbeNetwork, shape: tuple[int, ...]) -> int:
    """The input of a network; that of int8 takes pixels."""
    if network.kind == FLOAT32:
        return network.given(shape)
    return network.converted(network.given(shape, UINT8), "QUANTIZE", INT8)


def _answer(network: ProbeNetwork, x: int) -> list[int]:
    x = network.pointwise(x, "SOFTMAX")
    return [x if network.kind == FLOAT32 else network.converted(x, "QUANTIZE", UINT8)]
