"""The command `pocketlens`: the table of subcommands, and those that run on a device."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ._version import __version__
from .command_line import Command, LazyGroup, describe
from .errors import ModelFileError, PocketlensError
from .files import shown
from .quiet import held_stderr

MODEL_VARIABLE = "POCKETLENS_MODEL"


@click.group(
    cls=LazyGroup,
    lazy={
        "classify": ("runtime.cli:classify", "Classify images with an exported model."),
        "info": ("runtime.cli:info", "Show what is inside an exported model."),
        "train": ("trainer.cli:train", "Train a classifier (workstation)."),
        "export": ("exporter.cli:export", "Convert, check and publish a trained run (workstation)."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="pocketlens")
def main() -> None:
    """From a folder of images to a checked int8 TensorFlow Lite model, and to answers on a device."""
    # What Pillow warns of (large images, odd tags) is either refused by the limits of `images` or harmless.
    warnings.filterwarnings("ignore", module="PIL")


@main.command(
    cls=Command,
    example="pocketlens classify --model int8.tflite shoe.jpg\n"
    "pocketlens classify --model int8.tflite --json *.jpg | jq .predictions[0].label",
)
@click.option(
    "--model",
    "model_path",
    metavar="FILE",
    help=f"The model; without it ${MODEL_VARIABLE}, else the newest of ours in this folder.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Answers for each image.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of one invocation.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, an image each.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def classify(model_path: str | None, top: int, threads: int, as_json: bool, paths: tuple[str, ...]) -> None:
    """Classify each image PATH and print its best labels.

    An image that cannot be read does not stop the rest: its error stands on its own line, and the exit status
    is 1 at the end.
    """
    from .classifier import Classifier  # numpy and Pillow cost a tenth of a second that --help need not pay

    path = model_path or _default_model()
    if not model_path:
        click.echo(f"model: {shown(path)}", err=True)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(path, num_threads=threads)
    failed = False
    for image in paths:
        try:
            answers: list[dict[str, Any]] = [p.as_dict() for p in classifier.classify(image, top)]
        except PocketlensError as error:
            failed = True
            _print_error(image, describe(error), as_json)
            continue
        if as_json:
            _print_line({"path": image, "predictions": answers})
        else:
            text = "  ".join(f"{a['label']} {a['score']:.3f}" for a in answers)
            click.echo(f"{shown(image)}: {text}")
    if failed:
        click.get_current_context().exit(1)


def _print_error(image: str, text: str, as_json: bool) -> None:
    if as_json:
        _print_line({"path": image, "error": text})
    else:
        click.echo(f"error: {text}", err=True)


def _print_line(value: dict[str, Any]) -> None:
    # Escaped to ASCII: a file name need not be text. Flushed by echo, so that a reader sees each line at once.
    click.echo(json.dumps(value))


def _default_model() -> str:
    """The model that is meant where none is named.

    Raises:
        ModelFileError: there is none.
    """
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return named
    for path in _newest_first(Path()):
        with path.open("rb") as file:  # ours ends with the seal; reading the end costs nothing
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 128))
            if b"pocketlens-sha256:" in file.read():
                return str(path)
    raise ModelFileError(
        f"no model: name one with --model or ${MODEL_VARIABLE}; no *.tflite of Pocketlens lies in this folder"
    )


def _newest_first(folder: Path) -> Iterator[Path]:
    models = [path for path in folder.glob("*.tflite") if path.is_file()]
    return iter(sorted(models, key=lambda path: path.stat().st_mtime_ns, reverse=True))


@main.command(
    cls=Command,
    example="pocketlens info int8.tflite\npocketlens info --json int8.tflite | jq .contract.labels",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("model", metavar="MODEL")
def info(model: str, as_json: bool) -> None:
    """Show MODEL: its contract, tensors, size, and how it was made. Its integrity is checked first."""
    from .inspection import inspect_model

    with held_stderr():  # the interpreter announces its delegates
        found = inspect_model(model)
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in _info_lines(found):
        click.echo(line)


def _info_lines(found: dict[str, Any]) -> Iterator[str]:
    contract, made = found["contract"], found["contract"]["provenance"]
    spec = contract["input"]
    yield f"{shown(found['path'])}: {found['bytes']:,} bytes, intact"
    yield f"  sha256    {found['sha256']}"
    yield (
        f"  task      {contract['task']}, {len(contract['labels'])} labels: {', '.join(contract['labels'][:20])}"
        + (", ..." if len(contract["labels"]) > 20 else "")
    )
    yield f"  picture   {spec['width']} x {spec['height']} {spec['colour']}, {spec['resize']}, {spec['filter']} filter"
    yield f"  scaling   (pixel - {spec['mean']}) / {spec['std']}, transparency on {spec['background']}"
    for what in ("input", "output"):
        tensor = found[what]
        quantization = f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}" if tensor["scale"] else ""
        yield f"  {what:<8}  {tensor['dtype']} {tensor['shape']}{quantization}"
    if found["feeds_raw_pixels"]:
        yield "            the pixels go in as they are, with no arithmetic"
    yield f"  made      from {made['dataset'] or 'unknown'} of {made['date'] or 'unknown date'}, seed {made['seed']}"
    yield f"            with {', '.join(f'{k} {v}' for k, v in made['packages'].items()) or 'unknown packages'}"
    yield f"  files     {', '.join(found['files'])}"


if __name__ == "__main__":
    main()
