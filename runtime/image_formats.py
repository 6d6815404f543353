"""Which formats of images are decoded, how their files are named, and how other formats are recognised."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any, BinaryIO, cast

import PIL
from PIL import Image

from .errors import ImageError
from .image_blocks import Blocks, check_blocks
from .memory import DecodingRoom

#: The formats that are decoded: their first bytes, and the module and class of Pillow for them. An allow-list, because
#: Pillow knows formats that start other programs (EPS). AVIF is not among them: the frame inside can be far larger than
#: the header says, so that its memory cannot be bounded (400 x 300 pixels took 30 MB).
_PLUGINS = {
    "JPEG": ((b"\xff\xd8\xff",), "JpegImagePlugin", "JpegImageFile"),
    "PNG": ((b"\x89PNG\r\n\x1a\n",), "PngImagePlugin", "PngImageFile"),
    "WEBP": ((b"RIFF",), "WebPImagePlugin", "WebPImageFile"),
    "BMP": ((b"BM",), "BmpImagePlugin", "BmpImageFile"),
    "GIF": ((b"GIF87a", b"GIF89a"), "GifImagePlugin", "GifImageFile"),
    "TIFF": ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TiffImagePlugin", "TiffImageFile"),
}
FORMATS = tuple(_PLUGINS)
#: The modules that decode them, which are imported by name.
PLUGIN_MODULES = tuple(f"PIL.{module}" for _, module, _ in _PLUGINS.values())
#: The endings of such files' names, in lower case. An MPO is a JPEG with further JPEGs behind it.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

#: The text in a PNG by which our own plots are known: they are not images of a data set.
PLOT_MARK = {"Pocketlens": "plot"}

#: The first version of Pillow that decodes a damaged TIFF with fax or JPEG compression in the same way each time. Older
#: ones take what it lacks from memory that they have not cleared: of 12,000 damaged TIFFs, one in 20 of those with fax
#: compression and one in 600 with JPEG gave other pixels each time in all versions from 9.4 to 12.3, of others none.
FIRST_WITH_STABLE_TIFFS = (13,)
_TIFF_COMPRESSION = 259
#: CCITT's run lengths, T.4 (group 3) and T.6 (group 4), run lengths at whole words; and JPEG, old and new.
_UNSTABLE_COMPRESSIONS = {2: "fax", 3: "fax", 4: "fax", 32771: "fax", 6: "JPEG", 7: "JPEG"}

#: Brands of ISO base media files (ISO/IEC 14496-12), and what such a file is.
_BRANDS = {
    b"avif": "an AVIF image",
    b"avis": "an AVIF image",
    b"crx ": "a camera's raw photo (CR3)",
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC or HEIF image, as phones make"
    ),
}
#: First bytes of other formats.
_OTHERS = (
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"FUJIFILMCCD-RAW", "a camera's raw photo (RAF)"),
    (b"IIU\0", "a camera's raw photo (RW2)"),
    (b"%PDF", "a PDF document"),
)


def find_opener(data: bytes) -> Callable[[BinaryIO], Image.Image]:
    """Pillow's class for such a file; Image.open would import five formats to open one.

    Raises:
        ImageError: the format is not one that is decoded; the message names it, if it is known, and the cure.
    """
    for name, (signatures, module, opener) in _PLUGINS.items():
        if data.startswith(signatures):
            if name == "TIFF":
                _silence_libtiff()
            return cast(Callable[[BinaryIO], Image.Image], getattr(importlib.import_module(f"PIL.{module}"), opener))
    if data[4:8] == b"TFL3":
        raise ImageError("a TensorFlow Lite model, and no image")
    kind = _other_format(data)
    if kind:
        raise ImageError(f"{kind}, which is not decoded; convert it to JPEG")
    raise ImageError(f"not an image of a known format ({', '.join(FORMATS)})")


@cache
def _silence_libtiff() -> None:
    """Let libtiff write nothing to standard error about a damaged file: an ImageError says what is wrong with it."""
    try:
        import ctypes

        # The loader looks for a symbol in the libraries that a module needs, too.
        libtiff = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)
    except (ImportError, OSError, AttributeError, TypeError):  # built in another way, or not for Linux
        return


def open_encoded(data: bytes, name: str, room: DecodingRoom) -> tuple[Image.Image, Blocks]:
    """The image in a file's bytes, not decoded, and what the file holds beside its pixels.

    The room is reserved that opening it takes.

    Raises:
        ImageError: it cannot be opened, or exceeds a limit; the message begins with the name.
    """
    if not data:
        raise ImageError(f"{name}: empty file")
    try:
        opener = find_opener(data)
        # From memory: Pillow maps files that it opens by path, and reading a map of a truncated file kills the process.
        blocks = check_blocks(data)
        room.reserve_blocks(blocks.opening)
        image = opener(blocks.file)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's parsers raise a dozen unrelated kinds
        raise ImageError(f"{name}: cannot be opened: {error}") from error
    # Pillow reads a PNG without its end as if it were complete.
    if image.format == "PNG" and b"IEND" not in data[-4096:]:
        raise ImageError(f"{name}: truncated PNG, its end is missing")
    if image.format == "TIFF" and pillow_version() < FIRST_WITH_STABLE_TIFFS:
        _refuse_unstable_tiff(image, name)
    return image, blocks


def _refuse_unstable_tiff(image: Any, name: str) -> None:
    # Refused, not decoded twice and compared: the memory often holds the same both times, and few TIFFs are like this.
    kind = _UNSTABLE_COMPRESSIONS.get(image.tag_v2.get(_TIFF_COMPRESSION))
    if kind is not None:
        raise ImageError(
            f"{name}: a TIFF with {kind} compression, of which Pillow {PIL.__version__} may decode pixels that are not "
            "in the file; save it as PNG, or install Pillow 13"
        )


def pillow_version() -> tuple[int, ...]:
    """The installed Pillow's version, such as (9, 4, 0)."""
    return tuple(int(part) for part in PIL.__version__.split(".")[:3] if part.isdigit())


def format_of(data: bytes) -> str:
    """The format of an image file by its first bytes, such as "JPEG" or "an AVIF image"; "" for another file."""
    known = (name for name, (signatures, _, _) in _PLUGINS.items() if data.startswith(signatures))
    return next(known, "") or _other_format(data)


def _other_format(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        # The general brand of still images comes first in some files, and the codec's brand behind it.
        brands = [data[at : at + 4] for at in (8, *range(16, size, 4))]
        known = sorted((brand for brand in brands if brand in _BRANDS), key=lambda brand: brand in (b"mif1", b"msf1"))
        return _BRANDS[known[0]] if known else "a video or another media file"
    return next((kind for start, kind in _OTHERS if data.startswith(start)), "")


def suffix_of(name: str) -> str:
    """The ending of a file's name in lower case, such as `.heic`; "" if it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - pathlib takes longer
