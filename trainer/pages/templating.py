"""Templates of documents: markup is in `templates/`, values come from Python, and every value is escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from runtime.heat_map import PALETTE

from ..plots.figure import CORRECT, DARK_SHARE, WRONG

#: The layout, the style and the parts that all pages share, and the trainer's own pages.
_SHARED = Path(__file__).with_name("templates")


def render(template: str, folder: Path = _SHARED, **values: Any) -> str:
    """A document from its template, with values escaped for the document's language.

    Args:
        template: a file of `folder`. HTML is escaped by Jinja2. Markdown is escaped by `escape_markdown`.
        folder: the folder of the template, which may use the shared `page.html.j2` and `parts.html.j2`.
        values: the template's variables; a missing one raises `jinja2.UndefinedError`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _SHARED]),
        autoescape=True,
        finalize=None if template.endswith(".html.j2") else _markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(palette=PALETTE, correct=CORRECT, wrong=WRONG, dark_share=DARK_SHARE)
    return environment.get_template(template).render(values)


def _markdown(value: object) -> Markup:
    """A value as Markdown. It is marked as escaped, so that the escaping for HTML leaves it alone."""
    return value if isinstance(value, Markup) else Markup(escape_markdown(str(value)))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: special characters escaped, and line breaks, which end a table, as spaces."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", re.sub(r"\s*[\r\n]+\s*", " ", text))
