"""Writes the tables of every command into the reference, from click's own declarations, when the site is built."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import click

from runtime.cli.app import LazyGroup
from runtime.cli.main import COMMANDS

PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, **_more: Any) -> str:
    """Called by MkDocs for each page: the place of the tables becomes the tables.

    Within code in a table, other readers of Markdown want `|` escaped, and MkDocs shows the backslash.
    """
    return markdown.replace(r"\|", " | ").replace(PLACE, "\n".join(tables(LazyGroup("pocketlens", lazy=COMMANDS), "")))


def tables(command: click.Command, name: str, level: int = 2) -> Iterator[str]:
    """The description, arguments, options and examples of a command and of those below it."""
    context = click.Context(command, info_name=f"pocketlens {name}".strip())
    if name:
        yield f"\n{'#' * level} {name} {{ #{name.replace(' ', '-')} }}\n"
        yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
        for paragraph in (command.help or "").replace("\b", "").split("\n\n"):
            yield f"{_plain(paragraph)}\n"
        yield "| option | meaning |\n|---|---|"
        for option in command.get_params(context):
            record = option.get_help_record(context)
            yield from [f"| `{record[0].replace('|', ' | ')}` | {_plain(record[1])} |"] if record else []
        formatter = context.make_formatter()
        command.format_epilog(context, formatter)
        yield f"\n```text\n{formatter.getvalue().strip()}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            yield from tables(found, f"{name} {below}".strip(), level + bool(name)) if found else ()


def _plain(text: str) -> str:
    return re.sub(r"([*_[\]])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
