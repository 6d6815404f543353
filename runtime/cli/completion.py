"""`pocketlens completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .app import Command, with_options
from .options import JSON_OPTION
from .output import print_json, print_line

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    example="pocketlens completion bash > \\\n      ~/.local/share/bash-completion/completions/pocketlens\n"
    'pocketlens completion zsh > "${fpath[1]}/_pocketlens"\n'
    "pocketlens completion fish > ~/.config/fish/completions/pocketlens.fish",
)
@click.argument("shell", type=click.Choice(_SHELLS), metavar="bash|zsh|fish")
@with_options(JSON_OPTION)
def completion(shell: str, as_json: bool) -> None:
    """Print the script that lets a shell complete commands, options, choices and files with the Tab key.

    Write it to the file that the example names, and open a new shell. In bash, `source <(pocketlens completion bash)`
    does it for the shell that is open.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click completes nothing for {shell}")
    root = click.get_current_context().find_root()
    script = found(root.command, {}, "pocketlens", "_POCKETLENS_COMPLETE").source().strip()
    if as_json:
        print_json({"shell": shell, "script": script})
        return
    for line in script.splitlines():
        print_line(line)
