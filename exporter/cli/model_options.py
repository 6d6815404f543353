"""The options of `pocketlens export` that describe a model which Pocketlens did not train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from runtime.cli.click_options import option_in
from runtime.contract import MAX_JSON_BYTES, Contract
from runtime.errors import ContractError
from runtime.files import read_regular_file, shown
from runtime.input_spec import COLOURS, FILTERS, ORIENTATIONS, RESIZES
from runtime.recognition import recognize

from ..recipe import OUTPUTS

if TYPE_CHECKING:
    from runtime.external.adopt import ExternalOptions

_Function = TypeVar("_Function", bound=Callable[..., Any])
_PREPROCESSING = ("labels", "colour", "resize", "filter", "orientation", "background", "mean", "std")
_NAMES = ("calibration", "test", "val", "contract", "outputs", *_PREPROCESSING)


class _Numbers(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """One number, or three with commas between."""

    name = "n[,n,n]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3):
            self.fail(f"{value!r}, expected one number, or three with commas between", param, ctx)
        return numbers


_PATH = click.Path(path_type=Path)
_option = option_in("External model")
_OPTIONS = (
    _option(
        "--labels",
        type=_PATH,
        metavar="FILE",
        help="MODEL's labels, one a line, in the order of its outputs. [default: the labels in --contract]",
    ),
    _option(
        "--calibration",
        type=_PATH,
        metavar="DIR",
        help="Images like those that MODEL was trained on. [default: none; MODEL needs it]",
    ),
    _option(
        "--test",
        type=_PATH,
        metavar="DIR",
        help="Images that MODEL was not trained on, with one subfolder for each label. [default: none; MODEL needs it]",
    ),
    _option(
        "--val",
        type=_PATH,
        metavar="DIR",
        help="Validation images, with one subfolder for each label. [default: no validation images]",
    ),
    _option(
        "--contract",
        type=_PATH,
        metavar="FILE",
        help="MODEL's contract.json, instead of --labels and what follows. [default: none]",
    ),
    _option(
        "--outputs",
        type=click.Choice(OUTPUTS),
        help="What MODEL gives; a softmax or a sigmoid is appended to logits. [default: found out]",
    ),
    _option(
        "--mean",
        type=_Numbers(),
        help="MODEL takes (pixel - mean) / std, with pixels from 0 to 255. [default: scaling layers at its input]",
    ),
    _option(
        "--std",
        type=_Numbers(),
        help="The std of this formula: one number, or one a channel. [default: scaling layers at its input]",
    ),
    _option(
        "--colour", type=click.Choice(tuple(COLOURS)), help="MODEL's colours. [default: grey or rgb, by its channels]"
    ),
    _option("--resize", type=click.Choice(RESIZES), help="How an image gets MODEL's size. [default: stretch]"),
    _option(
        "--filter",
        type=click.Choice(FILTERS),
        help="The resampling filter; tf-bilinear is image_dataset_from_directory's. [default: hamming]",
    ),
    _option(
        "--orientation",
        type=click.Choice(ORIENTATIONS),
        help="Turn photos by their EXIF tag; Keras's loaders ignore it. [default: exif]",
    ),
    _option("--background", type=_Numbers(), help="Red, green and blue under transparency. [default: 255,255,255]"),
)


def model_options(function: _Function) -> _Function:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class ModelOptions(NamedTuple):
    """An external model: its folders of images, its contract or the parts of one, and the words of the command."""

    calibration: Path
    test: Path
    val: Path | None
    contract: Contract | ExternalOptions
    words: tuple[str, ...]


def parse_model_options(model: Path, options: Mapping[str, Any]) -> ModelOptions | None:
    """The options that describe an external model; None where there are none, as for a run.

    Args:
        options: the values of all options, by parameter.

    Raises:
        ContractError: the contract file cannot be read.
        click.UsageError: options exclude each other, or folders are missing.
    """
    given = {name: value for name, value in options.items() if name in _NAMES and value is not None}
    if not given:
        return None
    if recognize(model).kind == "run":
        flags = ", ".join(f"--{name}" for name in given)
        raise click.UsageError(
            f"{shown(model)} is a run folder, which holds its labels, images and preprocessing; leave {flags} out."
        )
    both = [f"--{name}" for name in _PREPROCESSING if name in given]
    if "contract" in given and both:
        raise click.UsageError(f"--contract says what {', '.join(both)} would; give one of them.")
    missing = [f"--{name}" for name in ("calibration", "test") if name not in given]
    if missing:
        raise click.UsageError(f"Missing {' and '.join(missing)}: a model of your own needs folders of images.")
    words = [str(model)]
    for name, value in given.items():
        words += [f"--{name}", ",".join(f"{n:g}" for n in value) if isinstance(value, tuple) else str(value)]
    contract = _read_contract(given["contract"]) if "contract" in given else _contract_parts(given)
    return ModelOptions(given["calibration"], given["test"], given.get("val"), contract, tuple(words))


def _contract_parts(given: dict[str, Any]) -> ExternalOptions:
    from runtime.external.adopt import ExternalOptions  # brings numpy, which help does not need

    parts = {name: given[name] for name in _PREPROCESSING if name in given}
    if "background" in parts:
        parts["background"] = tuple(int(n) if n == int(n) else n for n in parts["background"])
    return ExternalOptions(**parts)


def _read_contract(path: Path) -> Contract:
    content, name = read_regular_file(path, MAX_JSON_BYTES, ContractError)
    try:
        return Contract.from_json(content)
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error
