"""What all commands share: lazy loading, exit statuses, one plain line for an error.

Exit status: 0 done, 1 an error, 2 bad usage; a command may add its own (`export` has 3: the gate failed).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from typing import Any

import click

from .errors import PocketlensError

STATUS_ERROR = 1


def progress(length: int, label: str) -> Any:
    """A progress bar over `length` steps on standard error, with the time left; use it as a context manager.

    On a terminal it is drawn; elsewhere only the label is printed, once. See `click.progressbar`.
    """
    return click.progressbar(
        length=length, label=label, file=sys.stderr, update_min_steps=max(1, length // 200), item_show_func=_shown_item
    )


def _shown_item(item: object) -> str:
    return "" if item is None else str(item)


class MissingExtraError(PocketlensError, ImportError):
    """A command of the workstation was called where only the device's packages are installed."""


def _show_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["debug"] = True


class Command(click.Command):
    """A command with `--debug`, whose example stands at the end of its help as it is written.

    Args:
        example: lines to show under "Example:".
        requires: modules of the workstation without which the command cannot run.
    """

    def __init__(self, *args: Any, example: str = "", requires: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.requires = requires
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_show_debug,
                help="On an error, show the traceback.",
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"  {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        missing = [name for name in self.requires if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingExtraError(
                f"`pocketlens {self.name}` needs {', '.join(missing)}, which a device does not have; "
                "on a workstation: pip install 'pocketlens[workstation]'"
            )
        return super().invoke(ctx)


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is called.

    Args:
        lazy: name to ("module:attribute", one line of help): `--help` imports none of them.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # The reader of our output left, as `head` does; there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            ctx.exit(STATUS_ERROR)
        except Exception as error:
            if ctx.meta.get("debug"):
                click.echo(traceback.format_exc(), err=True, nl=False)
            click.echo(f"error: {describe(error)}", err=True)
            ctx.exit(STATUS_ERROR)


def describe(error: BaseException) -> str:
    """An error in one plain line."""
    text = " ".join(str(error).split())
    if isinstance(error, PocketlensError):
        return text
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__}: {text[:500]} (--debug shows where)"
