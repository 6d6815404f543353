"""Lets mkdocstrings show our docstrings' `Example:` as code: the parser knows the plural only."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExamplesInDocstrings(griffe.Extension):
    """Called for each object that is documented."""

    def on_instance(self, *, obj: griffe.Object, **_more: Any) -> None:
        """Rename the section."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
