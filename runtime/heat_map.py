"""Draws an explanation with Pillow alone: the picture as the network takes it, and the parts that matter in colour.

The same explanation gives the same bytes.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from .files import shown
from .image_formats import PLOT_MARK
from .images import Pixels
from .occlusion import Box, Explanation

#: Okabe and Ito's colours, which colour-blind people can tell apart: blue, vermilion, green, purple, orange, sky blue,
#: black. All colours of drawings, plots and pages come from here.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
#: Parts that support the answer, and parts that speak against it.
_SUPPORTS, _AGAINST = PALETTE[1], PALETTE[0]
#: Under the colours the picture is grey, from this value on over this range: both colours show on black and on white.
_DARKEST, _RANGE = 60, 180
#: The longer side of a picture, the margin, and the height of the scale, in pixels.
_SIDE, _MARGIN, _BAR = 400, 16, 18
_LEAST_WIDTH = 700
_TITLE, _TEXT = 20, 14
_NEAREST, _SMOOTH = Image.Resampling.NEAREST, Image.Resampling.BICUBIC


def beside_its_map(
    pixels: Pixels, drops: npt.NDArray[np.float64], framed: Box | None, full_colour: float, side: int
) -> Image.Image:
    """The picture, and beside it `overlay` of the same arguments."""
    size = _fitted(pixels, side)
    colour = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    image = Image.new("RGB", (2 * size[0] + _MARGIN, size[1]), "white")
    image.paste(_resized(colour, size), (0, 0))
    image.paste(overlay(pixels, drops, framed, full_colour, side), (size[0] + _MARGIN, 0))
    return image


def overlay(
    pixels: Pixels, drops: npt.NDArray[np.float64], framed: Box | None, full_colour: float, side: int
) -> Image.Image:
    """The picture in grey, with the map over it in colour, and a frame around a part.

    Args:
        pixels, drops, full_colour: as an `Explanation` has them.
        framed: the part, in pixels of the picture.
        side: pixels of the longer side of the result.
    """
    size = _fitted(pixels, side)
    single = pixels.shape[2] == 1
    grey = Image.fromarray(pixels[:, :, 0] if single else np.ascontiguousarray(pixels)).convert("L")
    base = _DARKEST + np.asarray(_resized(grey, size), np.float64) * (_RANGE / 255)
    values = np.asarray(Image.fromarray(drops.astype(np.float32)).resize(size, _SMOOTH), np.float64)
    image = Image.fromarray(_tinted(base, values / full_colour))
    if framed is not None:
        _frame(image, framed, size[0] / pixels.shape[1], size[1] / pixels.shape[0])
    return image


def _fitted(pixels: Pixels, side: int) -> tuple[int, int]:
    """Width and height of a picture, of which the longer one is `side`."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    enlarged = size[0] >= image.width
    return image.resize(size, _NEAREST if enlarged else Image.Resampling.LANCZOS)


def _tinted(base: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Pixels:
    """Grey values, shape (height, width), under the colours of values from -1 to 1."""
    strength = np.clip(np.abs(values), 0, 1)[..., np.newaxis] * 0.85
    colours = np.where(values[..., np.newaxis] > 0, _rgb(_SUPPORTS), _rgb(_AGAINST))
    tinted: Pixels = np.rint(base[..., np.newaxis] * (1 - strength) + colours * strength).astype(np.uint8)
    return tinted


def _rgb(colour: str) -> npt.NDArray[np.float64]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], np.float64)


def _frame(image: Image.Image, box: Box, across: float, down: float) -> None:
    draw = ImageDraw.Draw(image)
    left, top = round(box.left * across), round(box.top * down)
    right, bottom = round(box.right * across) - 1, round(box.bottom * down) - 1
    for inset, colour in ((0, "white"), (1, "black"), (2, "white")):
        corners = (left + inset, top + inset, right - inset, bottom - inset)
        if corners[0] < corners[2] and corners[1] < corners[3]:
            draw.rectangle(corners, outline=colour)


def explanation_png(found: Explanation, title: str) -> bytes:
    """The picture beside its map, with label, score, a scale and a sentence about the region, as a PNG.

    Args:
        title: a line about the picture and the model.
    """
    framed = None if found.region is None else found.region.box
    pair = beside_its_map(found.pixels, found.drops, framed, found.full_colour, _SIDE)
    width = max(pair.width + 2 * _MARGIN, _LEAST_WIDTH)
    image = Image.new("RGB", (width, pair.height + _TITLE + 6 * _TEXT + _BAR + 6 * _MARGIN), "white")
    line = _Lines(ImageDraw.Draw(image), width - 2 * _MARGIN)
    top = line.write(_MARGIN, f"{found.label}  {found.score:.3f}", _TITLE)
    top = line.write(top, title, _TEXT) + _MARGIN // 2
    image.paste(pair, (_MARGIN, top))
    top = _draw_scale(image, line, top + pair.height + _MARGIN, found.full_colour)
    for text in summary(found):
        top = line.write(top, text, _TEXT)
    buffer = io.BytesIO()
    mark = PngInfo()
    for name, value in PLOT_MARK.items():
        mark.add_text(name, value)
    image.crop((0, 0, width, top + _MARGIN)).save(buffer, "PNG", pnginfo=mark)
    return buffer.getvalue()


def summary(found: Explanation) -> list[str]:
    """What was found, in a few sentences."""
    lines, region = [], found.region
    if found.is_unknown:
        lines.append('A device answers "unknown": the score is below the threshold of the model.')
    if region is not None:
        box, (height, width) = region.box, found.pixels.shape[:2]
        share = (
            ""
            if region.share is None
            else f", {abs(100 * region.share):.0f} % {'less' if region.share >= 0 else 'more'}"
        )
        lines.append(
            f"What matters most is in columns {box.left} to {box.right - 1} and rows {box.top} to {box.bottom - 1} of "
            f"{width} x {height}."
        )
        lines.append(f"Without this part the score is {region.score_without:.3f}{share}.")
    elif found.largest_drop >= found.largest_rise:
        lines.append(f"No part of the picture changes the score by more than {found.largest_drop:.2g}.")
    else:
        lines.append(
            f"No part of the picture supports the label: without a part the score falls by at most "
            f"{found.largest_drop:.2g}, and rises by up to {found.largest_rise:.2g}."
        )
    return lines


def _draw_scale(image: Image.Image, line: _Lines, top: int, limit: float) -> int:
    """A bar of the colours with the scores that they stand for; the place below it."""
    left, width = _MARGIN, 240
    values = np.broadcast_to(np.linspace(-1, 1, width), (_BAR, width))
    image.paste(Image.fromarray(_tinted(np.full((_BAR, width), _DARKEST + _RANGE / 2), values)), (left, top))
    below = top + _BAR + 4
    for at, text in ((left, f"rises {limit:.3g}"), (left + width // 2, "0"), (left + width, f"falls {limit:.3g}")):
        line.write(below, text, _TEXT, at, anchor={left: 0.0, left + width // 2: 0.5}.get(at, 1.0))
    line.write(top, "how the score changes without a part; framed: what matters most", _TEXT, left + width + _MARGIN)
    return below + _TEXT + _MARGIN


class _Lines:
    """Writes lines of text in the font that Pillow has."""

    def __init__(self, draw: ImageDraw.ImageDraw, width: int) -> None:
        self._draw, self._width = draw, width

    def write(self, top: int, text: str, size: int, left: int = _MARGIN, anchor: float = 0.0) -> int:
        """Write a line, without its middle if it is too long; the place below it."""
        font = _font(size)
        text = shown(text)
        if isinstance(font, ImageFont.ImageFont):  # an old Pillow has Latin letters alone
            text = text.encode("latin-1", "replace").decode("latin-1")
        while font.getlength(text) > self._width and len(text) > 8:
            text = f"{text[: len(text) // 2 - 2]}...{text[len(text) // 2 + 2 :]}"
        self._draw.text((left - round(anchor * font.getlength(text)), top), text, "black", font)
        return top + size + 6


def _font(size: int) -> Any:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # before Pillow 10.1 it had one size
        return ImageFont.load_default()
