"""Templates of the documents: markup is in `templates/`, values come from Python, and every value is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup


class Cell(NamedTuple):
    """A cell of a table: its text, and the name of its style in `report.html` ("" for none)."""

    text: str
    style: str = ""


class ReportTable(NamedTuple):
    """A table: the headings, and the cells of each row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of_texts(cls, columns: Sequence[str], rows: Iterable[Iterable[str]]) -> ReportTable:
        """A table whose cells are plain text."""
        return cls(columns, [[Cell(text) for text in row] for row in rows])


def render(template: str, **values: Any) -> str:
    """A document from its template, with values escaped for the document's language.

    Args:
        template: a file of `templates/`. HTML is escaped by Jinja2. Markdown is escaped by `escape_markdown`.
        values: the template's variables; a missing one raises `jinja2.UndefinedError`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        finalize=None if template.endswith(".html.j2") else _markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


def _markdown(value: object) -> Markup:
    """A value as Markdown. It is marked as escaped, so that the escaping for HTML leaves it alone."""
    return value if isinstance(value, Markup) else Markup(escape_markdown(str(value)))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: special characters escaped, and line breaks, which end a table, as spaces."""
    return re.sub(r"([\\`*_\[\]#|<>&~])", r"\\\1", re.sub(r"\s*[\r\n]+\s*", " ", text))
