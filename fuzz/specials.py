"""Hostile images: bombs, false headers, endless metadata, and files that are no pictures or change while being read."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzz.corpus import encoded, png, png_header, rle_bmp, scene

_MEGA = 1_000_000
_END = (b"IEND", b"")
#: A little below the limit on a file's size.
_LARGE = 60 * 2**20


def _zeros(count: int) -> bytes:
    """Compressed zeros, made in pieces to save memory."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [packer.compress(block[: min(2**20, count - at)]) for at in range(0, count, 2**20)]
    return b"".join([*parts, packer.flush()])


def _png(width: int, height: int, depth: int, colour: int, interlace: int = 0, *, extra: Any = ()) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    palette = [(b"PLTE", bytes(768))] if colour == 3 else []
    data = _zeros(row * height)
    return png(png_header(width, height, depth, colour, interlace), *palette, *extra, (b"IDAT", data), _END)


def _tiff(tags: list[tuple[int, int, int, int]], body: bytes = b"", *, at: int = 8, following: int = 0) -> bytes:
    """A little-endian TIFF: a directory of (tag, type, count, value or offset) at `at`, then a body."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return (
        struct.pack("<2sHI", b"II", 42, at)
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", following)
        + body
    )


def _tiff_tags(
    width: int, height: int, strips: int = 1, offset: int = 8, **more: int
) -> list[tuple[int, int, int, int]]:
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, strips, offset), 277: (3, 1, 1), 278: (4, 1, max(1, height // strips)), 279: (4, strips, offset)}
    return [(tag, *value) for tag, value in tags.items()]


def _many_strips(rows: int) -> bytes:
    body = struct.pack("<I", 8) * rows
    start = 8 + 2 + 9 * 12 + 4
    return _tiff(_tiff_tags(1, rows, rows, start), body)


def _overlapping_tags(payload: int) -> bytes:
    start = 8 + 2 + 12 * 5000 + 4
    tags = [(1000 + n, 1, payload, start) for n in range(4991)] + _tiff_tags(1, 1)
    return _tiff(tags, bytes(payload))


def _gif(width: int, height: int, extensions: bytes = b"") -> bytes:
    whole = encoded(Image.new("P", (4, 4)), "GIF")
    at = whole.index(b"\x2c", 13 + 3 * 2 ** ((whole[10] & 7) + 1))
    frame = whole[at : at + 5] + struct.pack("<HH", width, height) + whole[at + 9 :]
    return whole[:6] + struct.pack("<HH", width, height) + whole[10:at] + extensions + frame


def _bmp(width: int, height: int, bits: int = 24) -> bytes:
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)


def _webp(width: int, height: int) -> bytes:
    """An extended WebP that claims a canvas and holds a small frame."""
    inner = encoded(scene(), "WEBP")[12:]
    extended = (
        b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(inner)) + b"WEBP" + extended + inner


def _jpeg_with_size(width: int, height: int, **options: Any) -> bytes:
    data = bytearray(encoded(scene(), "JPEG", **options))
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _scan_bomb(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each one walks over the whole picture."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    # The Huffman table of the last scan stands before it, so the copies use it too.
    return data[:-2] + data[last:-2] * scans + data[-2:]


def _segments(marker: int, data: bytes, count: int) -> bytes:
    whole = encoded(scene(), "JPEG")
    segment = struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
    return whole[:2] + segment * count + whole[2:]


def _exif_bytes(order: bytes, body: bytes) -> bytes:
    return _segments(0xE1, b"Exif\0\0" + order + body, 1)


def _flat(mode: str, megapixels: float, kind: str, **options: Any) -> bytes:
    side = int((megapixels * _MEGA) ** 0.5)
    return encoded(Image.new(mode, (side, side)), kind, **options)


def _noise(mode: str, megapixels: float, kind: str, **options: Any) -> bytes:
    """An image of noise. It does not compress, so a file as large as its pixels is in memory beside them."""
    side = int((megapixels * _MEGA) ** 0.5)
    bands = Image.new(mode, (1, 1)).getbands()
    small = np.random.default_rng(0).integers(0, 256, (min(side, 2000), side, len(bands)), dtype=np.uint8)
    pixels = np.resize(small, (side, side, len(bands)))
    image = Image.frombytes(mode, (side, side), pixels.tobytes())
    return encoded(image, kind, **options)


def _rotated(megapixels: float) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _flat("RGB", megapixels, "PNG", exif=exif)


#: The largest pictures that are still decoded, in every mode: these need the most memory.
_PEAKS: dict[str, Callable[[], bytes]] = {}
for _mega in (19.9, 31.9):
    for _mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        _PEAKS[f"{_mega}MP-{_mode}.png"] = partial(_flat, _mode, _mega, "PNG", compress_level=1)
    _PEAKS[f"{_mega}MP-transparency.png"] = partial(_flat, "P", _mega, "PNG", transparency=0)
    _PEAKS[f"{_mega}MP-rotated.png"] = partial(_rotated, _mega)
    for _mode in ("L", "RGB", "RGBA", "CMYK", "I;16", "I", "F"):
        for _how in (None, "tiff_lzw", "tiff_adobe_deflate"):
            _PEAKS[f"{_mega}MP-{_mode}-{_how}.tif"] = partial(_flat, _mode, _mega, "TIFF", compression=_how)
    _PEAKS[f"{_mega}MP-one-strip.tif"] = partial(
        _flat, "RGBA", _mega, "TIFF", compression="tiff_lzw", tiffinfo={278: 100_000}
    )
    _PEAKS[f"{_mega}MP-jpeg.tif"] = partial(_flat, "RGB", _mega, "TIFF", compression="jpeg")
    for _mode in ("L", "P", "RGB", "RGBA"):
        _PEAKS[f"{_mega}MP-{_mode}.bmp"] = partial(_flat, _mode, _mega, "BMP")
    _PEAKS[f"{_mega}MP.gif"] = partial(_flat, "P", _mega, "GIF")
    _PEAKS[f"{_mega}MP-transparency.gif"] = partial(_flat, "P", _mega, "GIF", transparency=0)
    for _mode in ("L", "RGB", "CMYK"):
        for _progressive in (False, True):
            _PEAKS[f"{_mega}MP-{_mode}-{_progressive}.jpg"] = partial(
                _flat, _mode, _mega, "JPEG", progressive=_progressive, subsampling=0 if _mode == "RGB" else -1
            )
_PEAKS["4MP-noise.png"] = lambda: _noise("RGBA", 15.0, "PNG", compress_level=0)
_PEAKS["noise.tif"] = lambda: _noise("RGB", 20.0, "TIFF")
_PEAKS["noise.bmp"] = lambda: _noise("RGB", 20.0, "BMP")
for _mega in (7.9, 11.9, 15.9):
    for _lossless in (False, True):
        for _mode in ("RGB", "RGBA"):
            _PEAKS[f"{_mega}MP-{_mode}-{_lossless}.webp"] = partial(
                _flat, _mode, _mega, "WEBP", lossless=_lossless, method=0
            )


#: Functions that build the bytes of each file when it is needed: a bomb is small, but building it takes much memory.
FILES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "zeros": lambda: bytes(10_000),
    "text.png": lambda: b"This is not a picture.\n" * 100,
    "bomb-1-bit.png": lambda: _png(13_000, 13_000, 1, 0),
    "bomb-50000.png": lambda: _png(50_000, 50_000, 1, 0),
    "claims-50000.png": lambda: png(png_header(50_000, 50_000), (b"IDAT", _zeros(1000)), _END),
    "claims-most.png": lambda: png(png_header(2**31 - 1, 2**31 - 1), (b"IDAT", _zeros(1000)), _END),
    "zero-size.png": lambda: png(png_header(0, 0), (b"IDAT", _zeros(10)), _END),
    "zero-width.png": lambda: png(png_header(0, 5), (b"IDAT", _zeros(10)), _END),
    "interlaced-bomb.png": lambda: _png(5_600, 5_600, 8, 6, 1),
    "wide.png": lambda: _png(31_000_000, 1, 8, 0),
    "tall.png": lambda: _png(1, 15_000_000, 8, 0),
    "tall-rgba.png": lambda: _png(1, 15_000_000, 8, 6),
    "16-bit-colour.png": lambda: _png(3_900, 3_900, 16, 2),
    "16-bit-alpha.png": lambda: _png(3_900, 3_900, 16, 6),
    "icc-bomb.png": lambda: _png(4, 4, 8, 2, extra=[(b"iCCP", b"x\0\0" + _zeros(500 * _MEGA))]),
    "text-bomb.png": lambda: _png(4, 4, 8, 2, extra=[(b"zTXt", b"x\0\0" + _zeros(500 * _MEGA))]),
    "text-bombs.png": lambda: _png(4, 4, 8, 2, extra=[(b"zTXt", b"x\0\0" + _zeros(_MEGA))] * 5000),
    "itxt-bomb.png": lambda: _png(4, 4, 8, 2, extra=[(b"iTXt", b"x\0\1\0\0\0" + _zeros(500 * _MEGA))]),
    "chunks.png": lambda: _png(4, 4, 8, 2, extra=[(b"abCd", b"")] * (_LARGE // 12)),
    "text-chunks.png": lambda: _png(4, 4, 8, 2, extra=[(b"tEXt", b"k\0v")] * (_LARGE // 15)),
    "chunks-after.png": lambda: _png(4, 4, 8, 2)[:-12] + png((b"abCd", b""))[8:] * (_LARGE // 12) + png(_END)[8:],
    "empty-data.png": lambda: png(png_header(4, 4), *[(b"IDAT", b"")] * (_LARGE // 12), _END),
    "exif-large.png": lambda: _png(4, 4, 8, 2, extra=[(b"eXIf", _overlapping_tags(_LARGE - 100_000))]),
    "frames.png": lambda: _png(4, 4, 8, 2, extra=[(b"acTL", struct.pack(">II", 2**31 - 1, 0))]),
    "claims-50000.jpg": lambda: _jpeg_with_size(50_000, 50_000),
    "claims-most.jpg": lambda: _jpeg_with_size(65_500, 65_500),
    "claims-progressive.jpg": lambda: _jpeg_with_size(13_000, 13_000, progressive=True),
    "zero-height.jpg": lambda: _jpeg_with_size(50, 0),
    "170MP.jpg": lambda: _flat("L", 170, "JPEG"),
    "170MP-progressive.jpg": lambda: _flat("L", 170, "JPEG", progressive=True),
    "170MP-colour-progressive.jpg": lambda: _flat("RGB", 120, "JPEG", progressive=True, subsampling=0),
    "scans.jpg": lambda: _scan_bomb(4000, 20_000),
    "segments.jpg": lambda: _segments(0xEF, b"", _LARGE // 4),
    "comments.jpg": lambda: _segments(0xFE, bytes(60_000), _LARGE // 60_004),
    "icc-segments.jpg": lambda: _segments(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000), _LARGE // 60_018),
    "exif-loop.jpg": lambda: _exif_bytes(b"II", struct.pack("<HIHHHIII", 42, 8, 1, 0x8769, 4, 1, 8, 8)),
    "exif-orientation-text.jpg": lambda: _exif_bytes(b"MM", struct.pack(">HIHHHII", 42, 8, 1, 0x0112, 2, 4, 0)),
    "exif-orientation-99.jpg": lambda: _exif_bytes(b"MM", struct.pack(">HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 99, 0, 0)),
    "exif-tags.jpg": lambda: _segments(0xE1, b"Exif\0\0" + _overlapping_tags(5_000)[:65_000], 1),
    "mpf-tags.jpg": lambda: _segments(0xE2, b"MPF\0" + _overlapping_tags(5_000)[:65_000], 1),
    "exif-segments.jpg": lambda: _segments(0xE1, b"Exif\0\0" + bytes(60_000), _LARGE // 60_010),
    "padding.jpg": lambda: b"\xff\xd8" + b"\xff" * _LARGE,
    "claims-50000.bmp": lambda: _bmp(50_000, 50_000),
    "claims-most.bmp": lambda: _bmp(2**31 - 1, 2**31 - 1, 1),
    "negative.bmp": lambda: _bmp(100, -(2**31)),
    "rle-slow.bmp": lambda: rle_bmp((2000, 2000), b"\1\1\0\0" * 5600),
    "rle-runs.bmp": lambda: rle_bmp((2000, 2000), b"\1\1" * (31 * _MEGA)),
    "rle-nothing.bmp": lambda: rle_bmp((2000, 2000), b"\0\2\0\0" * (_LARGE // 4)),
    "rle-empty.bmp": lambda: rle_bmp((5600, 5600), b"\0\0" * (_LARGE // 2)),
    "rle-delta.bmp": lambda: rle_bmp((5600, 5600), b"\0\2\377\377" * 1000),
    "claims-50000.gif": lambda: _gif(50_000, 50_000),
    "31MP.gif": lambda: _gif(5_600, 5_600),
    "zero-size.gif": lambda: _gif(0, 0),
    "comment.gif": lambda: _gif(4, 4, b"\x21\xfe" + (b"\xff" + bytes(255)) * (_LARGE // 256) + b"\0"),
    "comments.gif": lambda: _gif(4, 4, b"\x21\xfe\x01x\0" * (_LARGE // 5)),
    "blocks.gif": lambda: _gif(4, 4, b"\x21\x01" + b"\1x" * (_LARGE // 2) + b"\0"),
    "extensions.gif": lambda: _gif(4, 4, b"\x21\xff\0" * (_LARGE // 3)),
    "no-frame.gif": lambda: b"GIF89a" + bytes(7) + b"\0" * _LARGE,
    "claims-16384.webp": lambda: _webp(16_384, 16_384),
    "claims-31MP.webp": lambda: _webp(5_600, 5_600),
    "claims-most.webp": lambda: _webp(2**24, 2**7),
    "claims-50000.tif": lambda: _tiff(_tiff_tags(50_000, 50_000)),
    "loop.tif": lambda: _tiff(_tiff_tags(4, 4), bytes(200), following=8),
    "directory-beyond.tif": lambda: _tiff(_tiff_tags(4, 4), at=2**31),
    "strips-claimed.tif": lambda: _tiff(_tiff_tags(4, 4, 2**31)),
    "many-strips.tif": lambda: _many_strips(15 * _MEGA),
    "fewer-strips.tif": lambda: _many_strips(_MEGA),
    "tags.tif": lambda: _overlapping_tags(_LARGE - 100_000),
    "tags-claimed.tif": lambda: struct.pack("<2sHIH", b"II", 42, 8, 65_535) + bytes(65_535 * 12),
    "deflate-bomb.tif": lambda: _deflate_tiff(50_000, 50_000),
    "deflate-31MP.tif": lambda: _deflate_tiff(5_600, 5_600),
    "tile-claimed.tif": lambda: _huge_tile(50_000),
    "tile-31MP.tif": lambda: _huge_tile(5_600),
    "format.eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "too-large": lambda: bytes(64 * 2**20 + 1),
    **_PEAKS,
}


def _deflate_tiff(width: int, height: int) -> bytes:
    data = _zeros(min(width * height, 100 * _MEGA))
    start = 8 + 2 + 9 * 12 + 4
    tags = [tag for tag in _tiff_tags(width, height) if tag[0] not in (259, 273, 279)]
    tags += [(259, 3, 1, 8), (273, 4, 1, start), (279, 4, 1, len(data))]
    return _tiff(tags, data)


def _huge_tile(side: int) -> bytes:
    """A small picture in one tile that claims to be much larger."""
    data = _zeros(100_000)
    start = 8 + 2 + 10 * 12 + 4
    tags = [tag for tag in _tiff_tags(16, 16) if tag[0] not in (259, 273, 278, 279)]
    tags += [(259, 3, 1, 8), (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, start), (325, 4, 1, len(data))]
    return _tiff(tags, data)


def _name(folder: Path, name: bytes) -> bytes:
    path = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 - bytes, which Path does not take
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(encoded(scene(), "PNG"))
    return path


@contextmanager
def _fifo(folder: Path) -> Iterator[Any]:
    path = folder / "pipe.png"
    os.mkfifo(path)
    try:
        yield path
    finally:
        path.unlink()


@contextmanager
def _changing(folder: Path, change: Callable[[Path, bytes], None]) -> Iterator[Any]:
    """A file that a thread changes again and again while it is read."""
    path = folder / "changing.tif"
    data = encoded(scene("RGB", (1500, 1500)), "TIFF")
    path.write_bytes(data)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            change(path, data)
            time.sleep(0.0005)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        done.set()
        thread.join()
        path.unlink(missing_ok=True)


def _cut(path: Path, data: bytes) -> None:
    os.truncate(path, len(data) // 3)
    path.write_bytes(data)


def _grow(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data[:100_000])
    if path.stat().st_size > 20 * len(data):
        os.truncate(path, len(data))


def _vanish(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(len(data) // 2)
        file.write(os.urandom(1000))


#: Sources that are not plain bytes: each makes a context manager for a scratch folder, which gives the source.
SOURCES: dict[str, Callable[[Path], Any]] = {
    "pipe": _fifo,
    "folder": nullcontext,
    "device": lambda _: nullcontext("/dev/zero"),
    "random device": lambda _: nullcontext("/dev/urandom"),
    "terminal": lambda _: nullcontext("/dev/tty"),
    "process": lambda _: nullcontext("/proc/self/mem"),
    "missing": lambda folder: nullcontext(folder / "none.png"),
    "name with NUL": lambda _: nullcontext("a\0b.png"),
    "long name": lambda folder: nullcontext(folder / ("n" * 5000)),
    "newline": lambda folder: nullcontext(os.fsdecode(_name(folder, b"new\nline.png"))),
    "undecodable": lambda folder: nullcontext(os.fsdecode(_name(folder, b"\xff\xfe.png"))),
    "escape sequence": lambda folder: nullcontext(os.fsdecode(_name(folder, b"\x1b[31m.png"))),
    "cut while read": lambda folder: _changing(folder, _cut),
    "grows while read": lambda folder: _changing(folder, _grow),
    "vanishes while read": lambda folder: _changing(folder, _vanish),
    "overwritten while read": lambda folder: _changing(folder, _overwrite),
    "text stream": lambda _: nullcontext(io.StringIO("text")),
    "nothing": lambda _: nullcontext(None),
    "number": lambda _: nullcontext(12),
    "large array": lambda _: nullcontext(np.zeros((50_000, 50_000, 1), np.uint8)),
    "strided array": lambda _: nullcontext(np.zeros((5600, 11_200, 3), np.uint8)[:, ::2]),
    "array of objects": lambda _: nullcontext(np.empty((4, 4), object)),
}
