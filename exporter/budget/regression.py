"""Sums over the operators of a model, as linear functions of their work with no negative coefficient.

Source of the fit: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems, 1974 (non-negative least squares).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.tflite.workload import OperatorWork, Workload, split_constant_work

#: An operator's name and type, such as ("CONV_2D", "INT8").
Kind: TypeAlias = tuple[str, str]
#: Operators with the kinds under which a device measures them.
Kinds: TypeAlias = Sequence[tuple[Kind, OperatorWork]]
#: A number of the fit: of an operator's kind, which feature; or the constant of a whole model.
_Column: TypeAlias = tuple[Kind, int]
_MODEL: _Column = (("", ""), 0)
#: The name of a kind for what operators of a type share.
_SHARED = "shared"
#: Operators with weights, and the rank of these.
WITH_WEIGHTS = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}


class Features(NamedTuple):
    """What an operator's part of a sum depends on.

    Attributes:
        own: gives the values of an operator; the first is 1.
        shared: gives what an operator takes of something that all operators of a type use in turn, such as memory. It
            grows by what an operator takes where that is more than there is; see `Allocator` of the library ruy.
    """

    own: Callable[[OperatorWork], Sequence[float]]
    shared: Callable[[OperatorWork], Sequence[float]] = lambda _: ()


class OperatorSum(NamedTuple):
    """A fitted sum.

    Attributes:
        features: what an operator's part depends on.
        coefficients: one for each feature, by kind and feature.
    """

    features: Features
    coefficients: dict[_Column, float]

    def knows(self, kind: Kind) -> bool:
        """Whether operators of a kind were among those of the fit."""
        return (kind, 0) in self.coefficients

    def predict(self, operators: Kinds) -> float:
        """The sum for a model; operators of unknown kinds count nothing."""
        return sum(
            value * self.coefficients.get(column, 0.0) for column, value in _row(operators, self.features).items()
        )


def fit_sum(
    models: Sequence[Kinds],
    targets: npt.NDArray[Any],
    scales: npt.NDArray[Any],
    features: Features,
) -> OperatorSum:
    """Fit a sum to models.

    Args:
        models: the operators of each.
        targets: the sum of each.
        scales: an error of this size counts the same for each.
        features: as for `OperatorSum`.
    """
    from sklearn.linear_model import LinearRegression  # here: it takes long to import

    rows = [_row(operators, features) for operators in models]
    columns = sorted({column for row in rows for column in row})
    matrix = np.array([[row.get(column, 0.0) for column in columns] for row in rows]) / scales[:, None]
    largest = matrix.max(axis=0)
    largest[largest == 0] = 1
    fit = LinearRegression(positive=True, fit_intercept=False).fit(matrix / largest, targets / scales)
    return OperatorSum(features, dict(zip(columns, (fit.coef_ / largest).tolist(), strict=True)))


def timed_operators(work: Workload) -> Iterator[tuple[Kind, OperatorWork]]:
    """The operators of a model that take time in each call, with their kinds.

    What reads constants alone is computed once, when the model is loaded, and is as good as a constant: such are the
    weights of float16. Weights of another type than the activations make a kind of their own, such as
    ("CONV_2D", "FLOAT32 with weights INT8"), whose kernels are others.
    """
    for operator in split_constant_work(work)[1].operators:
        name, kind = kind_of(operator)
        if name in WITH_WEIGHTS:
            weights = work.tensors[operator.reads[1]].info.type
            kind += "" if weights == operator.type else f" with weights {weights}"
        yield (name, kind), operator


def is_constant_work(work: OperatorWork) -> bool:
    """Whether an operator reads constants alone, as those that dequantize weights do; see `split_constant_work`."""
    return work.bytes_read == 0 and work.weight_bytes > 0


def weights_of(work: OperatorWork) -> tuple[int, ...]:
    """The shape of the weights of a convolution or a dense layer; empty for other operators, and for odd shapes."""
    rank = WITH_WEIGHTS.get(work.name)
    found = work.inputs[1] if len(work.inputs) > 1 else ()
    return found if len(found) == rank and len(work.outputs[0]) > 1 else ()


def whole_groups(count: int, group: int) -> int:
    """The least multiple of `group` that is not below `count`."""
    return -(-count // group) * group


def kind_of(work: OperatorWork) -> Kind:
    """The kind of an operator whose weights have the type of its activations."""
    if is_constant_work(work):
        return work.name, f"{work.type} of constants"
    if work.name != "QUANTIZE":
        return work.name, work.type
    width = work.bytes_read // max(1, math.prod(work.inputs[0]))
    return work.name, f"{work.type} from {'quantized' if width < 4 else 'float'} values"


def _row(operators: Kinds, features: Features) -> dict[_Column, float]:
    """The features of a model: sums over its operators, and the size of what they share."""
    row = {_MODEL: 1.0}
    for kind, work in operators:
        for place, value in enumerate(features.own(work)):
            row[kind, place] = row.get((kind, place), 0.0) + value
        for place, value in enumerate(features.shared(work)):
            column = (_SHARED, work.type), place
            row[column] = row.get(column, 0.0) + (value if value > row.get(column, 0.0) else 0.0)
    return row
