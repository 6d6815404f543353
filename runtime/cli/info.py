"""`pocketlens info`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..files import shown
from ..input_spec import IGNORE
from ..model_file import read_model
from ..model_info import inspect_model
from ..native_output import held_stderr
from .app import Command, name_options_of_command, with_options
from .click_options import complete_files
from .model_options import DELEGATE, EXTERNAL_OPTIONS, TRUSTED, without_none
from .options import JSON_OPTION
from .output import print_json, print_line, print_wrapped

_SHOWN_FEATURES = 20
#: Blanks before values.
_INDENT = 12
#: What the options of missing parameters take, other than numbers.
_WANTED = {"labels": "FILE", "scores": "softmax|sigmoid|as-is"}


@click.command(
    cls=Command,
    example="pocketlens info int8.tflite\npocketlens info --json int8.tflite | jq .contract.labels\n"
    "pocketlens info --labels labels.txt --mean 127.5 --std 127.5 mobilenet.tflite",
)
@click.option("--verify", is_flag=True, help="Only check the seal and the contract, without an interpreter.")
@with_options(*EXTERNAL_OPTIONS, DELEGATE, TRUSTED, JSON_OPTION)
@click.argument("model", metavar="MODEL", shell_complete=complete_files)
def info(model: str, verify: bool, delegate: str | None, trusted: bool, as_json: bool, **external: Any) -> None:
    """Show MODEL: its contract, tensors, size, what a call costs, and how it was made. Its integrity is checked first.

    The options under "External model" describe a model that was not made by Pocketlens; without them, the output
    says what is missing.
    """
    if verify:
        file = read_model(model)
        values = {"path": file.name, "bytes": len(file.content), "sha256": file.sha256, "intact": True}
        print_json(values) if as_json else print_line(f"{file.name}: {len(file.content):,} bytes, intact")
        return
    with held_stderr():  # the interpreter announces its delegates
        found = inspect_model(model, delegate, trusted=trusted, **without_none(external))
    found["missing"] = [f"{name} (--{name} {_WANTED.get(name, 'N')})" for name in found["missing"]]
    if as_json:
        print_json(found)
        return
    for line in _info_lines(found):
        print_wrapped(line, _INDENT)


def _info_lines(found: dict[str, Any]) -> Iterator[str]:
    whole = "intact" if found["sealed"] else "not made by Pocketlens"
    yield f"{shown(found['path'])}: {found['bytes']:,} bytes, {whole}"
    yield f"  sha256    {found['sha256']}"
    if "contract" in found:
        yield from _contract_lines(found)
    else:
        yield f"  outputs   {len(found['outputs'])}: {', '.join(map(str, found['outputs']))}"
    yield f"  operators {', '.join(found['operators'])}"
    if found["cost"]:
        cost = found["cost"]
        yield (
            f"  cost      {cost['multiply_adds']:,} multiply-adds, {cost['weight_bytes']:,} bytes of weights, "
            f"{cost['arena_bytes']:,} bytes of memory for tensors"
        )
    yield f"  files     {', '.join(map(shown, found['files'])) or 'none'}"
    for text in found["lacking"]:
        yield f"  lacking   {text}"
    for text in found.get("notes", ()):
        yield f"  note      {name_options_of_command(text)}"
    for text in found["obstacles"]:
        yield f"  obstacle  {name_options_of_command(text)}"
    for text in found["missing"]:
        yield f"  missing   {text}"


def _contract_lines(found: dict[str, Any]) -> Iterator[str]:
    contract, made = found["contract"], found["contract"]["provenance"]
    spec = contract["input"]
    yield (
        f"  task      {contract['task']}, {len(contract['labels'])} labels: {', '.join(contract['labels'][:20])}"
        + (", ..." if len(contract["labels"]) > 20 else "")
    )
    yield from _feature_lines(spec) if spec["kind"] == "features" else _picture_lines(spec)
    if "scores" in contract:
        yield f"  scores    {contract['scores']}"
    confidence = contract.get("confidence")
    if confidence:
        yield f"  scores    temperature {confidence['temperature']:g}, {_threshold(confidence['threshold'])}"
    if "decision" in (confidence or {}):
        subject = "a label" if contract["task"] == "multilabel" else contract["labels"][1]
        yield f"  decision  {subject} is predicted from {confidence['decision']:g} on"
    for what in ("input", "output"):
        tensor = found[what]
        quantization = f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}" if tensor["scale"] else ""
        yield f"  {what:<8}  {tensor['dtype']} {tensor['shape']}{quantization}"
    if "embedding" in found:
        yield f"  embedding {found['embedding']:,} values, so that classes can be taught"
    for one in found.get("taught", ()):
        count, label = one["pictures"], shown(one["label"])
        yield f"  taught    {label}: {count} pictures, leave-one-out {one['recognized']} of {count}"
    if found["pixels"]:
        yield f"  pixels    {', '.join(_pixel_texts(found['pixels']))} in the tensor"
    if found["feeds_raw_pixels"]:
        yield "            the pixels go in as they are, with no arithmetic"
    if found["sealed"]:
        seed = made["seed"]
        yield f"  made      from {made['dataset'] or 'unknown'} of {made['date'] or 'unknown date'}, seed {seed}"
        yield f"            with {', '.join(f'{k} {v}' for k, v in made['packages'].items()) or 'unknown packages'}"


def _pixel_texts(pixels: dict[str, list[float]]) -> Iterator[str]:
    """`128 becomes 0.502`, or the values of three channels between slashes where they differ."""
    for pixel, values in pixels.items():
        yield f"{pixel} becomes {' / '.join(f'{value:.4g}' for value in dict.fromkeys(values))}"


def _picture_lines(spec: dict[str, Any]) -> Iterator[str]:
    stored = ", EXIF orientation ignored" if spec.get("orientation") == IGNORE else ""
    size = f"{spec['width']} x {spec['height']} {spec['colour']}"
    yield f"  picture   {size}, {spec['resize']}, {spec['filter']} filter{stored}"
    yield f"  scaling   (pixel - {spec['mean']}) / {spec['std']}, transparency on {spec['background']}"


def _feature_lines(spec: dict[str, Any]) -> Iterator[str]:
    for number, (name, mean, std) in enumerate(zip(spec["names"], spec["mean"], spec["std"], strict=True)):
        if number == _SHOWN_FEATURES:
            yield f"            and {len(spec['names']) - number} more"
            return
        yield f"  {'' if number else 'features':8}  {name}: (value - {mean:g}) / {std:g}"


def _threshold(value: float) -> str:
    return f'"unknown" below {value:g}' if value else "no threshold"
