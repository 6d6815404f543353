"""Commands and options declared as plain data, and a parser for command lines that need nothing else.

Importing click takes longer than a small model needs to answer. So `parse` reads the lines that it is sure of. Lines
that ask for help, hold a mistake or are unusual are left to click, which is given the same declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option of a command.

    Attributes:
        flags: its spellings, the longest first, such as `("--recursive", "-r")`.
        help: its help text.
        name: the parameter that gets the value; "" for the first flag's own name.
        type: converts the text of a value, or raises ValueError: `str`, `int`, `float` or a function. `bool` makes a
            flag that takes no value.
        default: the value if the option is absent; with `multiple` always the empty tuple.
        minimum, maximum: limits of a number, both allowed.
        choices: the allowed values of a text, in any case; empty allows any.
        multiple: the option may be repeated, and gives a tuple.
        metavar: the name of the value in the help text.
        show_default: whether the help text names the default.
        group: its section in the help text; "" for the last one.
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
    group: str = ""

    @property
    def parameter(self) -> str:
        """The name of the parameter that gets the value."""
        return self.name or self.flags[0].lstrip("-").replace("-", "_")

    @property
    def start(self) -> Any:
        """The value if the option is absent."""
        return () if self.multiple else self.default

    def convert(self, text: str) -> Any:
        """The value of a text.

        Raises:
            ValueError: the text is not an allowed value.
        """
        value = self.type(text)
        if self.choices:
            value = next((choice for choice in self.choices if choice.lower() == text.lower()), None)
            if value is None:
                raise ValueError(text)
        if self.minimum is not None and not value >= self.minimum:
            raise ValueError(text)
        if self.maximum is not None and not value <= self.maximum:
            raise ValueError(text)
        return value


#: Every command with a result has it.
JSON_OPTION = Option(
    ("--json",),
    "Print JSON: one object, or one object a line if there are several results.",
    name="as_json",
    type=bool,
    default=False,
    group="Output",
)


def in_group(group: str, *options: Option) -> tuple[Option, ...]:
    """The options, in one section of the help text."""
    return tuple(option._replace(group=group) for option in options)


class DeclaredCommand(NamedTuple):
    """A command declared as data.

    Attributes:
        name: its name after `pocketlens`.
        run: called with the values of all options and with the arguments (as a tuple); returns the exit status. Its
            docstring is the command's help text.
        options: the options in the order of the help text.
        argument: the parameter that gets the arguments; "" if the command takes none.
        metavar: the name of the arguments in the help text.
        example: lines to show under "Example:".
    """

    name: str
    run: Callable[..., int]
    options: tuple[Option, ...]
    argument: str = ""
    metavar: str = ""
    example: str = ""


def parse(command: DeclaredCommand, arguments: Sequence[str]) -> dict[str, Any] | None:
    """The parameters for `command.run`, or None if click must read the line: for help, mistakes and rare spellings."""
    flags = {flag: option for option in command.options for flag in option.flags}
    values = {option.parameter: option.start for option in command.options}
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if not _is_option(word):
            words.append(word)
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
        values[command.argument] = tuple(words)
    elif words:
        return None
    return values


def name_options(message: str, flags: Mapping[str, str]) -> str:
    """A library's message with the options of a command: `` `parameter` `` and `` `parameter=value` `` are replaced.

    Args:
        flags: the option of each parameter, or of a parameter with its value, such as `normalize=False`, if that has
            an option of its own.

    Example:
        >>> name_options("lower `epochs`, or set `task=binary`", {"epochs": "--epochs", "task": "--task"})
        'lower --epochs, or set --task binary'
    """
    if "`" not in message:
        return message
    import re  # here, as most runs print no such message

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
