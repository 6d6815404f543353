"""Declared options as click's, and their help: in groups, limits in words, no broken words; and their completion.

An option joins a group by its `group`; `in_group` in `options` and `option_in` here set it for several.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .options import Option
from .value_types import range_in_words

#: The group of options without one, and the groups that come after all others.
_OTHER = "Other"
_LAST_GROUPS = ("Output", _OTHER)
#: Longer lists of choices stand in the help text and not in the column of the options.
_MAX_CHOICES = 28
_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Options whose value is called so take a file or a folder.
_FILES = {"FILE", "DIR", "PATH", "RUN", "LIST", "FOLDER", "LIBRARY"}


class HelpFormatter(click.HelpFormatter):
    """Help text whose lines do not break within `as-is` or `--min-score`."""

    _HYPHEN, _UNBROKEN = "-", "\N{NON-BREAKING HYPHEN}"

    def write_text(self, text: str) -> None:
        super().write_text(text.replace(self._HYPHEN, self._UNBROKEN))

    def write_dl(self, rows: Any, *args: Any, **kwargs: Any) -> None:
        unbroken = [(first, second.replace(self._HYPHEN, self._UNBROKEN)) for first, second in rows]
        super().write_dl(unbroken, *args, **kwargs)

    def getvalue(self) -> str:
        return super().getvalue().replace(self._UNBROKEN, self._HYPHEN)


class GroupedOption(click.Option):
    """A click option with a group in the help text, and limits and defaults in one pair of brackets.

    Args:
        group: the heading of its section; "" for the last one.
    """

    def __init__(self, *args: Any, group: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        if self.metavar is None and isinstance(self.type, click.Choice):
            choices = list(map(str, self.type.choices))
            if len("|".join(choices)) > _MAX_CHOICES:
                self.metavar = "NAME"
                text, bracket, default = (self.help or "").partition("[default")
                self.help = f"{text.rstrip()} Choices: {', '.join(choices)}. {bracket}{default}".rstrip()
        elif self.metavar is None and isinstance(self.type, click.types.IntParamType):
            self.metavar = "N"
        elif self.metavar is None and isinstance(self.type, click.types.FloatParamType):
            self.metavar = "NUMBER"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        names, text = record
        if isinstance(self.type, click.IntRange | click.FloatRange):
            text = text.replace(self.type._describe_range(), range_in_words(self.type))
        return names, re.sub(r"\]\s+\[", "; ", text).replace("; ]", "]").replace("  []", "")


class _Typed(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1, which Debian has
    """A value that the option's own function converts."""

    name = "text"

    def __init__(self, option: Option) -> None:
        self._option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):  # a default, or converted already
            return value
        try:
            return self._option.convert(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def click_settings(option: Option) -> dict[str, Any]:
    """What click.Option is given for a declared option."""
    ranged = option.minimum is not None or option.maximum is not None
    kind: Any = option.type if option.type in (str, int, float) else _Typed(option)
    if option.choices:
        kind = click.Choice(option.choices)
    elif ranged and option.type is int:
        low, high = (None if bound is None else int(bound) for bound in (option.minimum, option.maximum))
        kind = click.IntRange(low, high)
    elif ranged:
        kind = click.FloatRange(option.minimum, option.maximum)
    return {
        "type": None if option.type is bool else kind,
        "is_flag": option.type is bool,
        "default": option.start,
        "multiple": option.multiple,
        "metavar": option.metavar,
        "show_default": option.show_default,
        "help": option.help,
        "group": option.group,
        "shell_complete": complete_files if _FILES & {*re.split(r"[|.]", option.metavar or "")} else None,
    }


class _OutputFile(click.Path):
    """A file to write, whose name says its kind: a viewer goes by it.

    Args:
        suffix: the end of its name, such as `".png"`.
    """

    def __init__(self, suffix: str) -> None:
        super().__init__(path_type=Path, dir_okay=False)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if Path(str(value)).suffix.lower() != self._suffix:
            self.fail(f"{str(value)!r}, expected a name that ends in {self._suffix}", param, ctx)
        return path


def output_file(flag: str, help_text: str, default: str | None = None, suffix: str = ".png") -> Option:
    """An option that names a file to write."""
    kind = _OutputFile(suffix)
    text = help_text if default else f"{help_text} [default: none]"
    return Option((flag,), text, type=kind, metavar="FILE", default=default, show_default=default is not None)


def option_in(group: str) -> Callable[..., Callable[[_Function], _Function]]:
    """As `click.option`, for options of one group."""
    return partial(click.option, cls=GroupedOption, group=group)


def format_groups(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command, a section for each group."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record is not None:
            sections.setdefault(getattr(parameter, "group", "") or _OTHER, []).append(record)
    if sections.keys() <= {*_LAST_GROUPS}:  # too few for sections
        sections = {"": [record for records in sections.values() for record in records]}
    for group in sorted(sections, key=lambda group: _LAST_GROUPS.index(group) + 1 if group in _LAST_GROUPS else 0):
        with formatter.section(f"{group} options".strip().capitalize()):
            formatter.write_dl(sections[group])


def complete_files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell completes for a file or folder: its own list of files."""
    return [CompletionItem(incomplete, type="file")]
