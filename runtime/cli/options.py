"""A command as plain data: from it a parser reads a well-formed line at once, and click does everything else.

click costs more to import than a small model needs to answer. So `parse` reads only the lines that it is sure of;
of a line with help, a mistake or anything unusual in it, it says nothing, and click, which is made from the same
table, prints the help or names the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option of a command.

    Attributes:
        flags: how it is written, the longest spelling first, such as `("--recursive", "-r")`.
        help: what it does, in a line.
        name: of the parameter that gets its value; "" for the first flag's own.
        type: makes a value of what was typed, or raises ValueError: `str`, `int`, `float`, a function; a `bool` is a
            flag that takes no value.
        default: its value where it is not given; with `multiple` always the empty tuple.
        minimum, maximum: of a number, both included.
        choices: the only values of a text; empty for any.
        multiple: it may be repeated, and gives a tuple.
        metavar: what help calls its value.
        show_default: help names the default.
    """

    flags: tuple[str, ...]
    help: str
    name: str = ""
    type: Callable[[str], Any] = str
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    metavar: str | None = None
    show_default: bool = False

    @property
    def parameter(self) -> str:
        """The name of the parameter that gets its value."""
        return self.name or self.flags[0].lstrip("-").replace("-", "_")

    @property
    def start(self) -> Any:
        """Its value where it is not given."""
        return () if self.multiple else self.default

    def convert(self, text: str) -> Any:
        """The value of what was typed.

        Raises:
            ValueError: it is no such value.
        """
        value = self.type(text)
        if self.choices and value not in self.choices:
            raise ValueError(text)
        if self.minimum is not None and not value >= self.minimum:
            raise ValueError(text)
        if self.maximum is not None and not value <= self.maximum:
            raise ValueError(text)
        return value


class DeclaredCommand(NamedTuple):
    """A command declared as data.

    Attributes:
        name: its own, after `pocketlens`.
        run: called with every option's value and the arguments (as `argument`, a tuple); gives the exit status.
            Its docstring is the command's help.
        options: in the order of its help.
        argument: the parameter that gets what is no option; "" where nothing may be left over.
        metavar: what help calls that.
        example: lines to show under "Example:".
    """

    name: str
    run: Callable[..., int]
    options: tuple[Option, ...]
    argument: str = ""
    metavar: str = ""
    example: str = ""


def parse(command: DeclaredCommand, arguments: Sequence[str]) -> dict[str, Any] | None:
    """The parameters of `command.run`, or None where click should judge: for help, mistakes and rare spellings."""
    flags = {flag: option for option in command.options for flag in option.flags}
    values = {option.parameter: option.start for option in command.options}
    left_over: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if not _is_option(word):
            left_over.append(word)
            continue
        flag, given, text = word.partition("=")
        option = flags.get(flag)
        if option is None or (given and (option.type is bool or not flag.startswith("--"))):
            return None
        if option.type is bool:
            values[option.parameter] = True
            continue
        if not given:
            text = next(rest, "-?")
            if _is_option(text) and not text[1:2].isdecimal():  # a negative number is a value
                return None
        try:
            value = option.convert(text)
        except ValueError:
            return None
        values[option.parameter] = (*values[option.parameter], value) if option.multiple else value
    if command.argument:
        values[command.argument] = tuple(left_over)
    elif left_over:
        return None
    return values


def name_options(message: str, flags: Mapping[str, str]) -> str:
    """A library's message in the words of a command: `` `parameter` `` and `` `parameter=value` `` become its options.

    Args:
        flags: by parameter, or by parameter and value where that is an option by itself, such as `normalize=False`.

    Example:
        >>> name_options("lower `epochs`, or set `task=binary`", {"epochs": "--epochs", "task": "--task"})
        'lower --epochs, or set --task binary'
    """
    if "`" not in message:
        return message
    import re  # here: a message is rare

    def named(found: re.Match[str]) -> str:
        name, given, value = found[1], found[2], found[3]
        if f"{name}={value}" in flags:
            return flags[f"{name}={value}"]
        if name not in flags:
            return found[0]
        return f"{flags[name]} {value}" if given and value != "True" else flags[name]

    return re.sub(r"`([a-z][a-z_0-9]*)(?:(=)([^`]*))?`", named, message)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"
