"""`pocketlens inspect`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from runtime.cli.app import Command, with_options
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown
from runtime.native_output import quiet_tensorflow
from runtime.recognition import suggestion

from .options import output_folder

if TYPE_CHECKING:
    from ..keras_inspection.layers import Layer
    from ..keras_inspection.weights import WeightFigures


#: Tensors of more values are printed with their first and last ones only.
_MAX_PRINTED_VALUES = 2000


@click.command(
    "inspect",
    cls=Command,
    requires=("tensorflow", "matplotlib"),
    example="pocketlens inspect runs/digits --out look/\npocketlens inspect runs/digits --layer conv2d_1 --json\n"
    "pocketlens inspect runs/plain --layer hidden_1 --values --npy weights/",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@with_options(
    Option(
        ("--layer",),
        "Show the weights and biases of this layer. [default: all layers, without weights]",
        metavar="NAME",
    ),
    Option(
        ("--values",),
        "Also print the values of the layer's weights; with --json all of them.",
        type=bool,
        default=False,
    ),
    Option(
        ("--npy",),
        "Write the layer's weights into this folder: NAME-kernel.npy, NAME-bias.npy. [default: none]",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
    ),
    output_folder(
        "Draw the model (model.png), the layer's weights (weights-NAME.png), and those of a first layer as images "
        "(kernels-NAME.png), into this folder."
    ),
    JSON_OPTION,
)
def inspect(run: Path, layer: str | None, values: bool, npy: Path | None, out: Path | None, as_json: bool) -> None:
    """Show a trained model's layers: output shapes, parameters, multiply-adds, and weights.

    Multiply-adds are those of convolutions and dense layers, for one image; batch normalization folds into the
    convolution before it. No code in the run folder is run.
    """
    from ..data.run_folder import read_run

    if layer is None and (values or npy):
        raise UsageError("--values and --npy are for the weights of one layer: name it with --layer")
    found = read_run(run)
    quiet_tensorflow()
    from ..evaluation.predictions import describe_outputs
    from ..keras_inspection.archive import load_keras_model
    from ..keras_inspection.layers import layers_of
    from ..keras_inspection.weights import weight_figures

    model = load_keras_model(found.model_path)
    outputs = describe_outputs(found.contract.task, len(found.contract.labels))
    layers = layers_of(model)
    chosen = _chosen(layers, layer) if layer else None
    weights = weight_figures(chosen.layer) if chosen else []
    pictures = _draw(out, found.name, layers, chosen, weights, found.contract.input.shape) if out else []
    files = _write_arrays(npy, chosen.name, weights) if npy and chosen else []
    if as_json:
        result: dict[str, Any] = {
            "run": str(run),
            "outputs": outputs,
            "parameters": model.count_params(),
            **_total(layers),
            "layers": [
                each.as_dict() | {"weights": [w.as_dict(channels=False) for w in weight_figures(each.layer)]}
                for each in layers
            ],
            "pictures": [str(picture) for picture in pictures],
        }
        if chosen:
            tensors = [w.as_dict(channels=True, values=values) for w in weights]
            result["layer"] = chosen.as_dict() | {"weights": tensors, "files": [str(file) for file in files]}
        print_json(result)
        return
    for line in (
        _layer_lines(chosen, weights) if chosen else [*_lines(layers, model.count_params()), f"output: {outputs}"]
    ):
        print_wrapped(line)
    for line in _value_lines(weights) if values else ():
        print_line(line)
    for file in files:
        print_line(f"file: {shown(file)}")
    for picture in pictures:
        print_line(f"picture: {shown(picture)}")


def _chosen(layers: list[Layer], name: str) -> Layer:
    for layer in layers:
        if layer.name == name:
            return layer
    names = [layer.name for layer in layers]
    raise UsageError(f"--layer {name!r}: there is no such layer; there are {', '.join(names)}{suggestion(name, names)}")


def _total(layers: list[Layer]) -> dict[str, Any]:
    """The multiply-adds of all layers, and the names of layers that are not counted."""
    return {
        "multiply_adds": sum(layer.multiply_adds or 0 for layer in layers),
        "not_counted": [layer.name for layer in layers if layer.multiply_adds is None],
    }


def _lines(layers: list[Layer], parameters: int) -> list[str]:
    rows = [["layer", "kind", "output", "parameters", "multiply-adds"]]
    for layer in layers:
        kind = f"{layer.kind} {layer.detail}".strip()
        work = "?" if layer.multiply_adds is None else f"{layer.multiply_adds:,}"
        rows.append([shown(layer.name), kind, _size(layer), f"{layer.parameters:,}", work])
    total = _total(layers)
    lines = [
        *columns(rows, left=2),
        "",
        f"{parameters:,} parameters, {total['multiply_adds']:,} multiply-adds an image",
    ]
    if total["not_counted"]:
        lines.append(f"not counted: {', '.join(total['not_counted'])}")
    return lines


def _size(layer: Layer) -> str:
    return "x".join("?" if side is None else str(side) for side in layer.shape)


def _layer_lines(layer: Layer, weights: list[WeightFigures]) -> list[str]:
    work = "not counted" if layer.multiply_adds is None else f"{layer.multiply_adds:,}"
    lines = [
        f"{shown(layer.name)}: {layer.kind} {layer.detail}".rstrip(),
        f"input: {', '.join(map(shown, layer.inputs)) or 'none'}",
        f"output: {_size(layer)}",
        f"parameters: {layer.parameters:,}",
        f"multiply-adds: {work}",
    ]
    if not weights:
        return [*lines, "weights: none"]
    rows = [["weights", "shape", "min", "max", "mean", "std", "zeros", "channel spread"]]
    for found in weights:
        figures = (f"{value:.4g}" for value in (found.least, found.greatest, found.mean, found.std))
        spread = "-" if found.spread is None else f"{found.spread:.1f}"
        rows.append([found.name, "x".join(map(str, found.values.shape)), *figures, f"{found.zeros:.1%}", spread])
    return [*lines, "", *columns(rows)]


def _value_lines(weights: list[WeightFigures]) -> list[str]:
    """The values of each tensor, as numpy prints them."""
    lines = []
    for found in weights:
        size, shape = found.values.size, "x".join(map(str, found.values.shape))
        more = "" if size <= _MAX_PRINTED_VALUES else f"; too many to print all {size:,}: --json and --npy have them"
        text = np.array2string(
            found.values, max_line_width=78, precision=4, suppress_small=True, threshold=_MAX_PRINTED_VALUES
        )
        lines += ["", f"{shown(found.name)} {shape}{more}", *text.splitlines()]
    return lines


def _file_name(layer: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", layer)


def _write_arrays(folder: Path, layer: str, weights: list[WeightFigures]) -> list[Path]:
    """Write each tensor as a file of numpy; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for found in weights:
        files.append(folder / f"{_file_name(layer)}-{_file_name(found.name)}.npy")
        np.save(files[-1], found.values)
    return files


def _draw(
    out: Path,
    name: str,
    layers: list[Layer],
    chosen: Layer | None,
    weights: list[WeightFigures],
    input_shape: tuple[int, ...],
) -> list[Path]:
    from ..keras_inspection.weights import first_layer_kernels
    from ..plots.model_graph import save_network
    from ..plots.weights import save_kernels, save_weights

    parameters = sum(layer.parameters for layer in layers)
    pictures = [out / "model.png"]
    save_network(pictures[0], layers, f"{name}: {parameters:,} parameters")
    if chosen and weights:
        title = f"{chosen.name}: {chosen.kind} {chosen.detail}"
        pictures.append(out / f"weights-{_file_name(chosen.name)}.png")
        save_weights(pictures[-1], weights, title)
        first = next(layer for layer in layers if layer.parameters)
        kernels = first_layer_kernels(weights, input_shape) if first.name == chosen.name else None
        if kernels is not None:
            bias = next((tensor.values for tensor in weights if tensor.name == "bias"), None)
            pictures.append(out / f"kernels-{_file_name(chosen.name)}.png")
            save_kernels(pictures[-1], kernels, bias, title)
    return pictures
