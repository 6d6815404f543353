"""`pocketlens doctor`."""

from __future__ import annotations

import json

import click

from ..diagnostics import ERROR, examine
from .app import Command


@click.command(cls=Command, example="pocketlens doctor int8.tflite\npocketlens doctor --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, a finding each.")
@click.argument("model", required=False, metavar="[MODEL]")
def doctor(model: str | None, as_json: bool) -> None:
    """Tell what is wrong with this machine, or with MODEL on it, and the cure.

    Every interpreter installed is built and run for real. The exit status is 1 where something is wrong.
    """
    findings = examine(model)
    for finding in findings:
        if as_json:
            click.echo(json.dumps(finding.as_dict()))
        else:
            click.echo(f"{finding.status:7}  {finding.subject}: {finding.text}")
            if finding.cure:
                click.echo(f"         cure: {finding.cure}")
    if any(finding.status == ERROR for finding in findings):
        click.get_current_context().exit(1)
