"""The one place where commands print: whatever a file, a server or a name holds, it stays text on its own line.

It imports no click, as `classify` uses it too.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from ..errors import shortened
from ..files import shown

#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@")


def print_line(text: str, *, error: bool = False) -> None:
    """Print one line and flush it.

    Control characters, and characters that the stream's encoding lacks, are printed as backslash escapes; the middle of
    a very long line is left out.

    Args:
        error: print to standard error; otherwise to standard output. A daemon may have closed either.
    """
    _write(shown(shortened(text)), sys.stderr if error else sys.stdout)


def print_wrapped(text: str, indent: int = 2) -> None:
    """Print a line to standard output as `print_line` does; on a narrow terminal it goes on below, between its words.

    Args:
        indent: blanks before what goes on.
    """
    width = output_width()
    if width is None or len(text) <= width:
        print_line(text)
        return
    import textwrap

    blanks = " " * (indent if width > 2 * indent else 2)
    for line in textwrap.wrap(shown(shortened(text)), width, subsequent_indent=blanks, break_on_hyphens=False):
        print_line(line)


def output_width() -> int | None:
    """Columns of the terminal that standard output writes to; None where it is none."""
    try:
        return os.get_terminal_size(1).columns or None if sys.stdout.isatty() else None
    except (AttributeError, OSError, ValueError):  # a daemon has closed it
        return None


def ellipsis() -> str:
    """What stands for the middle of a shortened text, of one column in the encoding of standard output."""
    return "…" if (getattr(sys.stdout, "encoding", "") or "").lower().startswith("utf") else "~"


def redraw_line(text: str) -> None:
    """Put a text in place of the terminal's line that standard error is at; the text must be printable."""
    stream = sys.stderr
    stream.write(f"\r{text}\x1b[K")
    stream.flush()


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, whole and in ASCII, as a file's name need not be text."""
    import json

    _write(json.dumps(value), sys.stdout)


def print_csv(*cells: object) -> None:
    """Print one line of CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    import csv
    import io

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(_cell(cell) for cell in cells)
    _write(buffer.getvalue(), sys.stdout)


def ignore_pillow_warnings() -> None:
    """Hide Pillow's warnings about large images and odd tags: the limits of `images` refuse what is dangerous."""
    import logging

    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what is logged as an error


def discard_output() -> None:
    """Send further output to nowhere, after its reader has ended, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = shown(cell)
    # The name "-" stands for standard input; alone it is no formula.
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text


def _write(line: str, stream: Any) -> None:
    if stream is None:
        return
    try:
        try:
            stream.write(f"{line}\n")
        except UnicodeEncodeError:
            stream.write(f"{line.encode(stream.encoding, 'backslashreplace').decode(stream.encoding)}\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # a write names no place
        raise OSError(
            error.errno, error.strerror, "standard output" if stream is sys.stdout else "standard error"
        ) from error
