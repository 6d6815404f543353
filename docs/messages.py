"""Writes the list of all error messages into the reference, from the sources, when the site is built."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLACE = "<!-- messages -->"
ROOT = Path(__file__).parents[1]
_LEAST = 12
#: Errors that a user meets; others stay inside.
KINDS = (
    *(
        "ImageError",
        "FeaturesError",
        "ModelFileError",
        "ContractError",
        "InterpreterError",
        "WatchError",
        "ActionError",
        "CacheError",
    ),
    *("DatasetError", "RunError", "TrainingError", "ExportError", "UsageError", "MissingExtraError"),
)


def on_page_markdown(markdown: str, **_more: Any) -> str:
    """Called by MkDocs for each page."""
    if PLACE not in markdown:
        return markdown
    found: dict[str, set[str]] = {}
    for error, text in raised():
        found.setdefault(error, set()).add(text.replace("`", "'").replace("|", "\\|"))
    blocks = (
        f"## {error}\n\n" + "\n".join(f"- `{text}`" for text in sorted(found[error]))
        for error in KINDS
        if error in found
    )
    return markdown.replace(PLACE, "\n\n".join(blocks))


def raised() -> Iterator[tuple[str, str]]:
    """The name and the text of each error that is raised with a text; `…` stands for what differs."""
    for package in ("runtime", "trainer", "exporter"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                    name = ast.unparse(node.exc.func).rpartition(".")[2]
                    text = template(node.exc.args[0])
                    if name in KINDS and len(text.strip("…: ")) >= _LEAST:
                        yield name, " ".join(text.split())


def template(node: ast.expr) -> str:
    """The text of an expression."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return "…"
