"""Intact pictures in every format and mode that the runtime reads; mutations start from them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, features

_SIZE = (48, 36)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(mode: str = "RGB", size: tuple[int, int] = _SIZE) -> Image.Image:
    """A gradient with noise, in any mode that Pillow knows."""
    rng = np.random.default_rng(len(mode))
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([rows * 255 // height, columns * 255 // width, np.full_like(rows, 90)], axis=-1)
    image = Image.fromarray(np.clip(base + rng.integers(-20, 20, base.shape), 0, 255).astype(np.uint8))
    if mode in ("I;16", "I;16B", "I"):
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).convert(mode)
    if mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray((columns * 255 // width).astype(np.uint8)))
        return image
    return image.convert(mode)


def rle_bmp(size: tuple[int, int] = _SIZE, data: bytes = b"") -> bytes:
    """A BMP with 8-bit run lengths, which Pillow can read but not write."""
    width, height = size
    rows = data or b"".join(bytes((width, row % 256, 0, 0)) for row in range(height)) + b"\0\1"
    palette = b"".join(bytes((n, n, n, 0)) for n in range(256))
    offset = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", offset + len(rows), 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0) + palette + rows


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    return exif


def corpus() -> dict[str, bytes]:
    """About sixty image files, by name."""
    files: dict[str, bytes] = {}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        files[f"{mode}.png"] = encoded(scene(mode), "PNG")
    files["transparency.png"] = encoded(scene("P"), "PNG", transparency=3)
    files["16-bit-colour.png"] = _png_16_bit_colour()
    files["exif-text.png"] = encoded(scene(), "PNG", exif=_exif(), pnginfo=_text_chunks())
    files["icc.png"] = encoded(scene(), "PNG", icc_profile=bytes(range(256)) * 4)
    files["interlaced.png"] = _interlaced_png()
    for mode in ("L", "RGB", "CMYK"):
        files[f"{mode}.jpg"] = encoded(scene(mode), "JPEG")
        files[f"{mode}-progressive.jpg"] = encoded(scene(mode), "JPEG", progressive=True)
    files["large.jpg"] = encoded(scene("RGB", (400, 300)), "JPEG", quality=60)
    files["exif.jpg"] = encoded(scene(), "JPEG", exif=_exif(), icc_profile=bytes(range(256)), comment=b"hello")
    files["restart.jpg"] = encoded(scene(), "JPEG", restart_marker_blocks=2)
    files["mpo.jpg"] = encoded(scene(), "MPO", save_all=True, append_images=[scene("L").convert("RGB")])
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        files[f"{mode}.bmp"] = encoded(scene(mode), "BMP")
    files["rle.bmp"] = rle_bmp()
    for mode in ("L", "P", "RGB"):
        files[f"{mode}.gif"] = encoded(scene(mode), "GIF")
    others = [scene("P").rotate(n) for n in (90, 180)]
    files["animated.gif"] = encoded(scene("P"), "GIF", save_all=True, append_images=others, transparency=0, loop=0)
    files["interlaced.gif"] = encoded(scene("P"), "GIF", interlace=1, comment=b"x" * 600)
    if features.check("webp"):
        for mode in ("RGB", "RGBA"):
            files[f"{mode}.webp"] = encoded(scene(mode), "WEBP")
            files[f"{mode}-lossless.webp"] = encoded(scene(mode), "WEBP", lossless=True)
        files["exif.webp"] = encoded(scene(), "WEBP", exif=_exif())
        files["animated.webp"] = encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(90)])
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F", "YCbCr", "LAB"):
        files[f"{mode}.tif"] = encoded(scene(mode), "TIFF")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_deflate"):
        files[f"{compression}.tif"] = encoded(scene(), "TIFF", compression=compression)
    for compression in ("group3", "group4"):
        files[f"{compression}.tif"] = encoded(scene("1"), "TIFF", compression=compression)
    files["pages.tif"] = encoded(scene(), "TIFF", save_all=True, append_images=[scene("L")], exif=_exif())
    files["tiled.tif"] = encoded(scene("RGB", (64, 64)), "TIFF", compression="tiff_lzw", tiffinfo={322: 32, 323: 32})
    files["strips.tif"] = encoded(scene(), "TIFF", tiffinfo={278: 2})
    return files


def _text_chunks() -> Any:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Title", "a title")
    chunks.add_text("Comment", "words " * 200, zip=True)
    chunks.add_itxt("Author", "someone", "en", "someone", zip=True)
    return chunks


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks (type, data), with checksums."""
    import binascii

    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))
        for kind, data in chunks
    )


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> tuple[bytes, bytes]:
    """The IHDR chunk."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def _png_16_bit_colour() -> bytes:
    import zlib

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(6))
    return png(png_header(8, 6, 16, 2), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def _interlaced_png() -> bytes:
    import zlib

    # Adam7 of 8x8 grey: passes of 1x1, 1x1, 2x1, 2x2, 4x2, 4x4 and 8x4 pixels.
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    rows = b"".join(b"\0" + bytes(range(width)) for width, height in passes for _ in range(height))
    return png(png_header(8, 8, 8, 0, 1), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
