"""The converter's functions with arguments that JSON can hold and files for all else, so that a child can run them.

`model_converter` calls them, here or in a child process. This module brings TensorFlow and no Keras.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime import Contract


def import_converter() -> None:
    """Import TensorFlow: the first call of a child, which runs while the parent does other things."""
    importlib.import_module(f"{__package__}.converter")


def convert_to_file(
    out: str,
    network: str,
    contract: str,
    samples: str,
    recipe: Sequence[str],
    layers: Sequence[str],
    per_tensor_dense: bool,
) -> None:
    """`converter.convert_saved`, with the model written to `out`; `recipe` has the fields of a `Recipe`."""
    from .converter import convert_saved
    from .recipe import Recipe

    flatbuffer = convert_saved(
        Path(network),
        Recipe(*recipe),
        Contract.from_json(contract),
        np.load(samples),
        layers,
        per_tensor_dense=per_tensor_dense,
    )
    Path(out).write_bytes(flatbuffer)


def calibrate_to_file(out: str, network: str, contract: str, samples: str, layers: Sequence[str]) -> None:
    """`converter.calibrate_saved`, with the model written to `out`."""
    from .converter import calibrate_saved

    Path(out).write_bytes(calibrate_saved(Path(network), Contract.from_json(contract), np.load(samples), layers))


def quantize_to_file(
    out: str, calibrated: str, recipe: Sequence[str], float_nodes: Sequence[str], per_tensor_dense: bool
) -> None:
    """`converter.quantize` of the model in the file `calibrated`, written to `out`."""
    from . import converter
    from .recipe import Recipe

    Path(out).write_bytes(
        converter.quantize(
            Path(calibrated).read_bytes(), Recipe(*recipe), float_nodes, per_tensor_dense=per_tensor_dense
        )
    )
