"""The tensors of a model, held against its contract."""

from __future__ import annotations

import math

import numpy as np

from .contract import Contract
from .errors import ModelFileError
from .files import shown
from .preprocessing import TensorSpec


def only_tensor(details: list[dict[str, object]], what: str, name: str) -> TensorSpec:
    """The only input or output of a model; raises ModelFileError if there are others."""
    if len(details) != 1:
        raise ModelFileError(f"{name}: {len(details)} {what}s, expected 1")
    return TensorSpec.from_details(details[0])


def output_tensors(
    details: list[dict[str, object]], contract: Contract, name: str
) -> tuple[TensorSpec, TensorSpec | None]:
    """The tensor of the scores, and that of the embedding if the contract names one.

    An interpreter may give outputs in any order, so the name counts.
    """
    if not contract.embedding:
        return only_tensor(details, "output", name), None
    tensors = [TensorSpec.from_details(one) for one in details]
    tensors.sort(key=lambda tensor: tensor.name == contract.embedding)
    if [tensor.name == contract.embedding for tensor in tensors] != [False, True]:
        found = ", ".join(tensor.name for tensor in tensors)
        raise ModelFileError(
            f"{name}: outputs {shown(found)}, its contract says one of scores and one called {contract.embedding}"
        )
    return tensors[0], tensors[1]


def check_shapes(contract: Contract, input: TensorSpec, output: TensorSpec, name: str) -> None:
    """Raise ModelFileError where the tensors are not those of the contract."""
    # An input of shape 1 x height x width is a grey image.
    if (*input.shape, 1)[:4] != (1, *contract.input.shape) and input.shape != (1, *contract.input.shape):
        raise ModelFileError(f"{name}: input of shape {input.shape}, its contract says {(1, *contract.input.shape)}")
    if math.prod(output.shape) != contract.outputs:  # other people's models may give 1 x 1 x 1 x labels
        raise ModelFileError(
            f"{name}: output of shape {output.shape}, its contract names {len(contract.labels)} labels "
            f"for the task {contract.task}"
        )
    if not output.is_quantized and output.dtype != np.float32:
        raise ModelFileError(f"{name}: output of type {output.dtype}, expected float32, uint8 or int8")
