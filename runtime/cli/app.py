"""What all commands share through click: lazy loading, exit statuses, one plain line for an error, messages.

Exit status: 0 done, 1 an error, 2 bad usage, 3 a gate failed, 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from .._version import __version__
from ..errors import PocketlensError, UsageError, describe, shortened
from ..files import shown
from ..progress import Silent, report_to
from ..recognition import suggestion
from .click_options import GroupedOption, HelpFormatter, click_settings, complete_files, format_groups
from .options import DeclaredCommand, Option, name_options
from .output import discard_output, ignore_pillow_warnings, print_line
from .progress_bar import begin_bar, is_terminal, terminal_width
from .tables import RunningTable
from .usage_hints import other_word, required_but_missing, unknown_option
from .value_types import in_words

STATUS_ERROR = 1
STATUS_GATE_FAILED = 3
#: The command that this process has begun last, if any.
_running: list[Command] = []
#: Packages whose messages (level INFO and above) a command shows on standard error.
_LOGGERS = ("runtime", "trainer", "exporter")


def report_progress() -> None:
    """Show all progress of this process on standard error."""
    report_to(begin_bar)


class _Context(click.Context):
    formatter_class = HelpFormatter


class MissingExtraError(PocketlensError, ImportError):
    """A command needs the packages of an extra, and only the device's packages are installed."""


def _hush(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        report_to(Silent)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)


def _show_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["debug"] = True


class Command(click.Command):
    """A click command with `--debug`, options in groups, and an example at the end of its help text.

    Args:
        example: lines to show under "Example:", unwrapped.
        requires: the modules without which the command cannot run, and that a device lacks at first.
        extra: the extra of our package that brings them.
        option_names: the options of library parameters that have another name on the command line, such as
            `{"normalize=False": "--no-normalise"}`; messages then name the option.
        quiet: whether it has `--quiet`, as it shows progress.
    """

    context_class = _Context

    def __init__(
        self,
        *args: Any,
        example: str = "",
        requires: tuple[str, ...] = (),
        extra: str = "workstation",
        option_names: Mapping[str, str] | None = None,
        quiet: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.requires = requires
        self.extra = extra
        self._option_names = dict(option_names or {})
        for parameter in self.params:
            parameter.type = in_words(parameter.type)
        if quiet:
            self.params.append(
                click.Option(
                    ["--quiet", "-q"],
                    is_flag=True,
                    expose_value=False,
                    callback=_hush,
                    help="Show neither progress nor notes; results, warnings and errors stay.",
                )
            )
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_show_debug,
                help="Show the traceback of an error.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [*args]  # click empties its list
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(unknown_option(self, words, error.option_name), ctx) from error
        except click.MissingParameter as error:
            problem = required_but_missing(self, words)
            if not problem:
                raise
            raise click.UsageError(problem, ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_groups(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"  {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        ctx.find_root().meta["command"] = self
        _running[:] = [self]
        try:
            return self._invoke(ctx)
        except UsageError as error:
            raise click.UsageError(self.in_its_words(str(error)), ctx) from error

    def in_its_words(self, message: str) -> str:
        """A library's message with the options of this command for the parameters that it names."""
        names = {option.name: max(option.opts, key=len) for option in self.params if isinstance(option, click.Option)}
        return name_options(message, {str(name): flag for name, flag in names.items()} | self._option_names)

    def _invoke(self, ctx: click.Context) -> Any:
        # Words after a group's own options are for a command below it, which has its own requirements, and its help.
        is_handed_on = isinstance(self, click.Group) and bool(ctx.args)
        missing = [name for name in self.requires if importlib.util.find_spec(name) is None]
        if missing and not is_handed_on:
            where = ", which a device does not have; on a workstation" if self.extra == "workstation" else ""
            words = ctx.command_path.partition(" ")[2] or self.name  # `repo status`, not `status`
            raise MissingExtraError(
                f"`pocketlens {words}` needs {', '.join(missing)}{where}: pip install 'pocketlens[{self.extra}]'"
            )
        return super().invoke(ctx)


def click_command(declared: DeclaredCommand) -> Command:
    """The click command for a declared command; it ends with the status that `run` returns."""

    @click.pass_context
    def callback(context: click.Context, /, **values: Any) -> None:
        context.exit(declared.run(**values))

    parameters: list[click.Parameter] = [
        GroupedOption([*option.flags, option.parameter], **click_settings(option)) for option in declared.options
    ]
    if declared.argument:
        parameters.append(
            click.Argument([declared.argument], nargs=-1, metavar=declared.metavar, shell_complete=complete_files)
        )
    return Command(
        declared.name,
        params=parameters,
        callback=callback,
        help=inspect.getdoc(declared.run),
        example=declared.example,
    )


def with_options(*options: Option, group: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds declared options to a click command's function.

    Args:
        group: the section of the help text for options without a group of their own.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            flags = [*option.flags, option.parameter]
            settings = click_settings(option)
            settings["group"] = settings["group"] or group
            function = click.option(*flags, cls=GroupedOption, **settings)(function)
        return function

    return decorate


def usage_error(declared: DeclaredCommand, error: UsageError) -> int:
    """Print a usage error as click does, and return the exit status."""
    parent = click.Context(click.Group("pocketlens"), info_name="pocketlens")
    command = click_command(declared)
    context = click.Context(command, info_name=declared.name, parent=parent)
    problem = click.UsageError(command.in_its_words(str(error)), context)
    _as_plain_text(problem).show()
    return problem.exit_code


def _as_plain_text(error: click.ClickException) -> click.ClickException:
    """The same error, whose words can be printed: click prints it, and it may quote a file's name."""
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, "\n".join(map(shown, shortened(value).split("\n"))))
    return error


class SuggestingGroup(click.Group):
    """A group that names the command which a misspelt one may stand for.

    Attributes:
        deeper: commands of other groups that may be meant, such as "data show".
        usual: the command that is meant by a word that resembles none; "" to suggest none.
    """

    context_class = _Context
    deeper: tuple[str, ...] = ()
    usual: str = ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if ctx.resilient_parsing or word.startswith("-") or self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        names = self.list_commands(ctx)
        hint = other_word(word, names) or suggestion(word, [*names, *self.deeper])
        if not hint and self.usual:
            hint = f"; did you mean '{ctx.info_name} {self.usual} {shown(word)}'?"
        return ctx.fail(f"No such command {shown(word)!r}{hint or '.'}")


class LazyGroup(SuggestingGroup):
    """A group that imports a subcommand only when it is called.

    Args:
        lazy: the subcommands, name to ("module:attribute", one line of help); `--help` imports none of them.
    """

    deeper = ("data show", "data save", "data errors", "data correct")

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command | DeclaredCommand = getattr(importlib.import_module(module), attribute)
        return click_command(command) if isinstance(command, DeclaredCommand) else command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=text) for name, (_, text) in self._lazy.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        report_progress()
        show_messages()
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _as_plain_text(error) from error
        except (click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            discard_output()
            ctx.exit(STATUS_ERROR)
        except KeyboardInterrupt:
            from ..child_process import STATUS_INTERRUPTED  # it imports more than a command's start needs

            print_line("Aborted!", error=True)
            ctx.exit(STATUS_INTERRUPTED)
        except Exception as error:
            if ctx.meta.get("debug"):
                for line in traceback.format_exc().splitlines():
                    print_line(line, error=True)
            print_line(f"error: {name_options_of_command(describe(error))}", error=True)
            ctx.exit(STATUS_ERROR)


def name_options_of_command(message: str) -> str:
    """A library's message with the options of the command that is running for the parameters that it names."""
    context = click.get_current_context(silent=True)
    # A thread of the command has no context of click.
    command = next(iter(_running), None) if context is None else context.find_root().meta.get("command")
    return command.in_its_words(message) if isinstance(command, Command) else message


class _MessageHandler(logging.Handler):
    """Prints a library's messages as plain lines on standard error.

    On a terminal a message that carries `figures`, names to values, is a row of a table that fits the terminal.
    """

    def __init__(self) -> None:
        super().__init__()
        self._table = RunningTable()

    def emit(self, record: logging.LogRecord) -> None:
        figures = getattr(record, "figures", None)
        if figures and is_terminal():
            lines = self._table.lines(figures, terminal_width())
        else:
            lines = [name_options_of_command(record.getMessage())]
        for line in lines:
            print_line(line, error=True)


def show_messages() -> None:
    """Print what our packages log, from level INFO on, to standard error; a second call changes nothing."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _MessageHandler) for handler in logger.handlers):
            logger.addHandler(_MessageHandler())
            logger.propagate = False
        logger.setLevel(logging.INFO)


def pocketlens(commands: dict[str, tuple[str, str]]) -> NoReturn:
    """Run the command that the process was started with, and end the process with its status."""
    ignore_pillow_warnings()
    group = LazyGroup(
        "pocketlens",
        lazy=commands,
        help="From a folder of images to a checked int8 TensorFlow Lite model, and to answers on a device.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(__version__, prog_name="pocketlens")(group)
    try:
        group(prog_name="pocketlens")  # ends the process
    except OSError as error:  # help and version are printed outside of `LazyGroup.invoke`
        print_line(f"error: {describe(error)}", error=True)
    sys.exit(STATUS_ERROR)
