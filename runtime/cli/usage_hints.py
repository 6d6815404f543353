"""What a person may have meant by an unknown command or option, and by options that are missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import click

from ..files import shown
from ..recognition import suggestion

#: What other tools call our commands.
_OTHER_WORDS = {
    "predict": "classify",
    "infer": "classify",
    "fit": "train",
    "convert": "export",
    "quantize": "export",
    "quantise": "export",
    "test": "evaluate",
    "score": "evaluate",
    "summary": "inspect",
    "help": "--help",
    "version": "--version",
}
#: What people call an argument whose metavar has one of these words.
_ARGUMENTS = {"csv": {"dataset", "data"}, "path": {"image", "images", "input", "file"}}


def other_word(word: str, names: Collection[str]) -> str:
    """`; did you mean 'classify'?` for a word of other tools; "" where it is none, or there is no such command."""
    meant = _OTHER_WORDS.get(word.lower(), "")
    return f"; did you mean {meant!r}?" if meant in names or meant.startswith("-") else ""


def unknown_option(command: click.Command, words: Sequence[str], name: str) -> str:
    """What to say about an option that a command does not have.

    Args:
        words: the command line after the command.
        name: the option as click understood it: of `-out` it takes `-o`.
    """
    typed = next((word for word in words if word.startswith(name) and not name.startswith("--")), name)
    problem = f"No such option {shown(typed)!r}"
    plain = typed.lstrip("-").lower()
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and plain in _names(parameter):
            return f"{problem}: give {parameter.metavar} without an option."
    flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]
    hint = suggestion(typed, flags)
    if not hint and len(plain) == 1:
        hint = next((f"; did you mean {flag!r}?" for flag in flags if flag[2] == plain), "")
    return f"{problem}{hint or '.'}"


def required_but_missing(command: click.Command, words: Sequence[str]) -> str:
    """What to say where required options are missing: all of them at once; "" if it is an argument that is missing."""
    given = {word.partition("=")[0] for word in words}
    missing = [
        max(parameter.opts, key=len)
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.required and not given.intersection(parameter.opts)
    ]
    if not missing:
        return ""
    problem = f"Missing option{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}"
    has_argument = any(isinstance(parameter, click.Argument) for parameter in command.params)
    if words and not words[0].startswith("-") and not has_argument and "--dataset" in missing:
        return f"{problem}; did you mean '--dataset {shown(words[0])}'?"
    return f"{problem}."


def _names(argument: click.Argument) -> set[str]:
    """The names of options that people try in place of an argument."""
    words = set(re.findall(r"[a-z]+", (argument.metavar or "").lower()))
    return words.union(*(names for word, names in _ARGUMENTS.items() if word in words))
