"""`pocketlens selftest`."""

from __future__ import annotations

import click

from ..files import shown
from ..native_output import held_stderr
from ..selftest.runner import run_selftest
from .app import Command, with_options
from .click_options import complete_files
from .model_options import INTERPRETER_OPTIONS, TRUSTED
from .options import JSON_OPTION
from .output import print_json, print_line


@click.command(
    cls=Command, example="pocketlens selftest int8.tflite\npocketlens selftest --interpreter ai_edge_litert int8.tflite"
)
@with_options(*INTERPRETER_OPTIONS, TRUSTED, JSON_OPTION)
@click.argument("model", metavar="MODEL", shell_complete=complete_files)
def selftest(threads: int, interpreter: str, delegate: str | None, trusted: bool, as_json: bool, model: str) -> None:
    """Check that MODEL answers here as it did on the workstation.

    The model file holds a few images and the scores that the workstation's interpreters gave for them. An integer model
    must give the same bits with the same library on the same kind of processor. On another processor or library, or
    with a float model, the scores must be the same within a tolerance that the file states. If they are not, the exit
    status is 1.
    """
    with held_stderr():  # the interpreter announces its delegates
        found = run_selftest(model, interpreter, delegate, threads, trusted=trusted)
    if as_json:
        print_json({"model": model, "passed": found.passed, **found._asdict()})
    else:
        print_line(f"{shown(model)}: {found.text()}")
    if not found.passed:
        click.get_current_context().exit(1)
