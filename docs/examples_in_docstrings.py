"""Lets mkdocstrings read our docstrings: its parser knows `Examples:` only, and one parameter a line."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExamplesInDocstrings(griffe.Extension):
    """Changes the docstring of each object that is documented."""

    def on_instance(self, *, obj: griffe.Object, **_more: Any) -> None:
        """Rename the section of examples, and give parameters that share a description a line each."""
        if obj.docstring:
            text = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^( +)((?:\w+, )+)(\w+): ", _apart, text, flags=re.MULTILINE)


def _apart(found: re.Match[str]) -> str:
    indent, others, last = found.groups()
    return "".join(f"{indent}{name}: see `{last}`.\n" for name in others.split(", ")[:-1]) + f"{indent}{last}: "
