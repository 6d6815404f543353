"""`pocketlens doctor`."""

from __future__ import annotations

import click

from ..diagnostics import ERROR, examine
from .app import Command, name_options_of_command, with_options
from .click_options import complete_files
from .model_options import DELEGATE
from .options import JSON_OPTION
from .output import print_json, print_line


@click.command(cls=Command, example="pocketlens doctor int8.tflite\npocketlens doctor --json")
@with_options(DELEGATE, JSON_OPTION)
@click.argument("model", required=False, metavar="[MODEL]", shell_complete=complete_files)
def doctor(model: str | None, delegate: str | None, as_json: bool) -> None:
    """Check this machine, and MODEL on it, and say how to cure what is wrong.

    Every installed interpreter is created and run. The exit status is 1 if something is wrong.
    """
    findings = examine(model, delegate)
    for finding in findings:
        if as_json:
            print_json(finding.as_dict())
        else:
            print_line(f"{finding.status:7}  {finding.subject}: {name_options_of_command(finding.text)}")
            if finding.cure:
                print_line(f"         cure: {name_options_of_command(finding.cure)}")
    if any(finding.status == ERROR for finding in findings):
        click.get_current_context().exit(1)
