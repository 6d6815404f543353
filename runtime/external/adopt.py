"""Assembles the contract of a model that Pocketlens did not make, from options and from TFLite metadata.

Nothing is guessed, except what follows from the file: the size of the image, the number of channels, that a quantized
input takes the pixels as they are, and that an output without an activation needs one. Only the user can notice a wrong
mean or colour; `pocketlens info` shows the assembled contract.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..contract import Contract
from ..errors import ContractError, ModelFileError, shortened
from ..files import PathLike
from ..input_spec import COLOURS, ImageInput
from ..interpreter import AUTO
from ..model_file import CONTRACT_NAME, ORIGIN, SEAL
from ..postprocessing import unknown_remark
from ..tflite.graph import TensorInfo
from ..tflite.metadata import Metadata, read_metadata
from ..tflite.model import Structure, check_structure
from .labels import LabelList, load_labels, parse_label_lines
from .purpose import QUANTIZED, TYPES, refuse_other_purposes, refuse_unbounded, refuse_unmet_needs
from .sandbox import trust
from .scores import check_contract_scores, choose_scores, needs_scores

_log = logging.getLogger(__name__)
#: Parts of our files, of which a damaged one still has some: the seal, the contract's name, the contract's first field,
#: the entry in the FlatBuffer.
_TRACES = (SEAL, CONTRACT_NAME.encode(), b'"pocketlens-contract"', ORIGIN)


class ExternalOptions(NamedTuple):
    """What a person knows about a model that has no contract; None stands for the model's metadata or the default.

    Attributes:
        labels: a file with one label a line (UTF-8, in the order of the outputs, or each behind the number of its
            output), or the labels.
        colour: `"grey"`, `"rgb"` or `"bgr"`; by default grey for one channel, rgb for three.
        resize, filter, orientation, background: as for `ImageInput`, with its defaults.
        mean, std: in pixel units, one number, or one a channel: the input is `(pixel - mean) / std`.
        scores: `"softmax"` or `"sigmoid"` to make probabilities of logits, or `"as-is"` to answer the outputs as they
            are; by default the activation that the last operator lacks.
        task: as for `Contract`; by default `"binary"` for one output and two labels, else `"multiclass"`.
    """

    labels: PathLike | Sequence[str] | None = None
    colour: str | None = None
    resize: str | None = None
    filter: str | None = None
    orientation: str | None = None
    background: Sequence[int] | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    scores: str | None = None
    task: str | None = None


class Adopted(NamedTuple):
    """The contract of a model that Pocketlens did not make, and what a person should know about it."""

    contract: Contract
    notes: tuple[str, ...] = ()


def adopt(
    content: bytes,
    name: str,
    options: ExternalOptions | Contract,
    library: str = AUTO,
    delegate: str | None = None,
    *,
    trusted: bool = False,
) -> Adopted:
    """Check a model that carries no seal, assemble its contract, and try it in a child process.

    Args:
        content: the model file.
        name: the file's name, for messages.
        options: what is known about it; or its contract.
        library, delegate: the interpreter that tries it; see `interpreter.build`.
        trusted: do not try it, and accept loops and computed shapes.

    Raises:
        ModelFileError: damaged, a damaged file of ours, no image classifier, its time or memory depends on its input,
            or it does not run.
        ContractError: the options are not enough, or do not fit the model.
        InterpreterError: it could not be tried.
    """
    refuse_ours(content, name)
    structure = check_structure(content, name)
    refuse_unmet_needs(structure, name, delegate)
    metadata = read_metadata(content, structure, name)
    if isinstance(options, Contract):
        adopted = _with_contract(structure, options, name)
    else:
        adopted = assemble(structure, metadata, options, name)
    if not trusted:
        refuse_unbounded(structure, name)
        trust(content, name, library, delegate, adopted.contract)
    for note in adopted.notes:
        _log.warning("%s: %s", name, note)
    return adopted


def adopting(
    options: ExternalOptions, library: str = AUTO, delegate: str | None = None, *, trusted: bool = False
) -> Callable[[bytes, str], Contract]:
    """The function that `read_model` calls for a model of someone else's; arguments as for `adopt`."""
    return lambda content, name: adopt(content, name, options, library, delegate, trusted=trusted).contract


def refuse_ours(content: bytes, name: str) -> None:
    """Refuse a file of ours without its seal: no option repairs a damaged file.

    Raises:
        ModelFileError: the file contains something that only Pocketlens writes.
    """
    if any(trace in content for trace in _TRACES):
        raise ModelFileError(f"{name}: damaged: made by Pocketlens, and its seal is not whole; copy it again")


def _with_contract(structure: Structure, contract: Contract, name: str) -> Adopted:
    """The contract that a person gave, checked against the model; raises ContractError."""
    from .scaling import check_scaling  # brings numpy, which `doctor` must not need

    try:
        if len(structure.outputs) == 1:
            check_contract_scores(structure, contract)
        if contract.input.kind == "image" and len(structure.inputs) == 1 and structure.inputs[0].type in TYPES:
            check_scaling(contract.image_input, structure.inputs[0])
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error
    return Adopted(contract)


def assemble(structure: Structure, metadata: Metadata | None, options: ExternalOptions, name: str) -> Adopted:
    """The contract of a model that has none. Options win over metadata.

    Raises:
        ModelFileError: it is no image classifier, or labels or scaling are missing.
        ContractError: options are missing, out of range, or do not fit it.
    """
    known = metadata or Metadata()
    outputs = refuse_other_purposes(structure, name)
    missing = missing_options(structure, known, options)
    if missing:
        hint = " (the input is (pixel - mean) / std)" if "std" in missing else ""
        if "scores" in missing:
            hint += f" (softmax, sigmoid or as-is: it ends with {structure.ending.operator or 'no operator'})"
        raise ModelFileError(
            f"{name}: not made by Pocketlens (or cut off), and it does not say all that is needed; "
            f"give {' and '.join(f'`{option}`' for option in missing)}{hint}, or use a model with TFLite metadata"
        )
    if options.labels is not None:
        found = load_labels(options.labels)
    else:
        found = parse_label_lines(known.labels or b"", f"{name}: {known.labels_name}")
    task = options.task or ("binary" if outputs == 1 and len(found.labels) == 2 else "multiclass")
    _check_count(found.labels, 2 if task == "binary" and outputs == 1 else outputs, task, name)
    try:
        return _assembled(structure, known, options, found, task)
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error


def _assembled(
    structure: Structure, metadata: Metadata, options: ExternalOptions, found: LabelList, task: str
) -> Adopted:
    given = structure.inputs[0]
    scores = choose_scores(structure, task, options.task, options.scores)
    spec, scaling_note = _image_input(given, metadata, options)
    notes = (found.note, unknown_remark(found.labels), scaling_note, scores.note)
    return Adopted(Contract(found.labels, spec, task, scores=scores.scores), tuple(filter(None, notes)))


def missing_options(structure: Structure, metadata: Metadata | None, options: ExternalOptions) -> list[str]:
    """The names of the options that must still be given; empty for a model that can be used."""
    known = metadata or Metadata()
    missing = []
    if options.labels is None and known.labels is None:
        missing.append("labels")
    quantized = bool(structure.inputs) and structure.inputs[0].type in QUANTIZED
    either = options.mean is not None or options.std is not None
    if not ((quantized and not either) or (known.mean and known.std and not either)):
        missing += [name for name in ("mean", "std") if getattr(options, name) is None]
    if options.scores is None and needs_scores(structure):
        missing.append("scores")
    return missing


def _check_count(labels: Sequence[str], outputs: int, task: str, name: str) -> None:
    if len(labels) == outputs:
        return
    hint = ""
    if len(labels) + 1 == outputs:
        hint = '; some models have a first output for none of the classes: put "background" before the labels'
    elif len(labels) == outputs + 1:
        hint = f"; is the first, {shortened(labels[0], 80, 20)!r}, for an output that this model does not have?"
    raise ContractError(f"{name}: {len(labels)} labels for {outputs} outputs (task {task}){hint}")


def _image_input(given: TensorInfo, metadata: Metadata, options: ExternalOptions) -> tuple[ImageInput, str]:
    """The contract's input, and what there is to say about its scaling."""
    from .scaling import Scaling, check_scaling, metadata_scaling, raw_scaling  # brings numpy

    # Tutorials leave the axis of one channel out: 1 x height x width is a grey image.
    _, height, width, channels = (*given.shape, 1)[:4]
    colour = options.colour or metadata.colour or ("grey" if channels == 1 else "rgb")
    more: dict[str, Any] = {}
    for name in ("resize", "filter", "orientation", "background"):
        if getattr(options, name) is not None:
            more[name] = getattr(options, name)
    if COLOURS.get(colour, channels) != channels:
        raise ContractError(f"colour is {colour!r} of {COLOURS[colour]} channels, the model's input has {channels}")

    def scaled(mean: Any, std: Any) -> ImageInput:
        return ImageInput(height, width, colour, mean=_spread(mean, channels), std=_spread(std, channels), **more)

    if options.mean is not None:
        scaling = Scaling(options.mean, options.std)  # type: ignore[arg-type]  # both are given, or neither
    elif metadata.mean and metadata.std:
        scaling = metadata_scaling(given, scaled(metadata.mean, metadata.std))
    else:
        scaling = raw_scaling(given)
    spec = scaled(scaling.mean, scaling.std)
    check_scaling(spec, given)
    return spec, scaling.note


def _spread(values: Any, channels: int) -> tuple[float, ...]:
    """One number a channel, also where one number serves all channels."""
    found = tuple(values) if isinstance(values, list | tuple) else (values,)
    return found * channels if len(found) == 1 else found
