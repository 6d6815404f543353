"""What all drawings share: text that fits, colours, and a figure as PNG."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure  # without pyplot: no display, no global state

from runtime.files import shown, write_whole
from runtime.heat_map import PALETTE
from runtime.image_formats import PLOT_MARK

if TYPE_CHECKING:
    from matplotlib.legend import Legend

#: Pixels an inch.
DPI = 110
#: Markers to go with the palette's colours.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: How many series have a colour and marker of their own.
MAX_STYLES = len(PALETTE) * len(MARKERS)
#: Right and wrong: green and vermilion, so dark that text in them can be read on white. A mark and a dashed frame say
#: the same without a colour.
CORRECT, WRONG = "#00664a", "#a83a00"
#: Shares from 0 to 1, and values around 0.
SHARES = LinearSegmentedColormap.from_list("shares", ["white", PALETTE[0]])
AROUND_ZERO = LinearSegmentedColormap.from_list("around zero", [PALETTE[1], "white", PALETTE[0]])
#: From this share on, white text is easier to read on `SHARES` than black text.
DARK_SHARE = 0.86
_LONGEST_NAME = 24


def shorten(text: str, length: int = _LONGEST_NAME) -> str:
    """Text from outside in printable form, cut to a length: matplotlib raises TypeError on undecodable bytes."""
    text = shown(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def series_style(place: int) -> tuple[str, str]:
    """The colour and the marker of a series by its place; neighbours differ in both."""
    colours = len(PALETTE)
    return PALETTE[place % colours], MARKERS[(place + place // colours) % len(MARKERS)]


def pale(place: int) -> tuple[float, float, float]:
    """A colour of the palette, so pale that black text can be read on it."""
    red, green, blue = (1 - 0.2 * (1 - part) for part in to_rgb(PALETTE[place]))
    return red, green, blue


def show_as_text(legend: Legend) -> None:
    """Show the names in a legend as they are: a label with dollar signs is no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG, marked as a plot, without the date and the library's version."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None, **PLOT_MARK})
    return buffer.getvalue()


def save_png(path: Path, figure: Figure) -> None:
    """Write the figure as a PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, png_bytes(figure))
