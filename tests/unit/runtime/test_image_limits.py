"""Images that would take too much memory or time are refused before they are decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuzz.corpus import encoded, png, png_header, rle_bmp
from runtime import ImageError, ImageInput, load_pixels
from runtime.images import read_header

pytestmark = pytest.mark.fast

GREY = ImageInput(4, 4, "grey")
END = (b"IEND", b"")
HEADER = png_header(4, 4, 8, 0)
DATA = (b"IDAT", zlib.compress(bytes(20)))


def flat(mode: str, width: int, height: int, kind: str, **options: object) -> bytes:
    return encoded(Image.new(mode, (width, height)), kind, **options)


def segments(body: bytes, count: int) -> bytes:
    """A JPEG with `count` EXIF segments."""
    whole = flat("L", 8, 8, "JPEG")
    segment = struct.pack(">HH", 0xFFE1, len(body) + 8) + b"Exif\0\0" + body
    return whole[:2] + segment * count + whole[2:]


def tiff(*tags: tuple[int, int, int, int], below: bytes = b"") -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(8) + below


def directory(*tags: tuple[int, int, int, int]) -> bytes:
    return struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)


def packed_texts(count: int) -> bytes:
    """A small PNG whose texts take 1 MiB each, and four times as much in Python for one wide character."""
    text = zlib.compress("\U0001f600".encode() + bytes(2**20 - 100))
    return png(HEADER, *[(b"iTXt", b"x%d\0\1\0\0\0" % number + text) for number in range(count)], DATA, END)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: png(HEADER, *[(b"abCd", b"")] * 60_000, DATA, END), "blocks, the limit"),
        (lambda: png(HEADER, DATA, *[(b"abCd", b"")] * 60_000, END), "blocks, the limit"),
        (lambda: b"GIF89a\1\0\1\0\0\0\0!\1" + b"\1x" * 60_000, "blocks, the limit"),
        (lambda: b"\xff\xd8" + b"\xff\xef\0\2" * 40_000, "blocks, the limit"),
        (lambda: png(png_header(70_000, 1), DATA, END), "a side of more than"),
        (lambda: flat("L", 3900, 3900, "WEBP", method=0, quality=1), "save it smaller"),
        (lambda: png(png_header(4000, 9000), DATA, END), "more than 32 million"),
        (lambda: rle_bmp((3000, 3000), b"\0\1"), "in run lengths"),
        (lambda: segments(bytes(60_000), 20), "of EXIF"),
        (lambda: tiff((273, 4, 100_000, 8)), "100,000 strips"),
        (lambda: tiff((324, 4, 2**31, 8)), "strips or tiles"),
        (lambda: tiff((700, 1, 2**26, 8)), "64 MiB of tags"),
        (lambda: tiff((258, 3, 2**20, 8)), "48 MiB of tags"),
        (lambda: tiff((34665, 4, 1, 30), below=directory((37500, 3, 2**20, 8))), "48 MiB of tags"),
        (lambda: tiff((34853, 4, 1, 30), below=directory((7, 5, 2**18, 8))), "80 MiB of tags"),
        (
            lambda: tiff((34665, 4, 1, 30), below=directory((40965, 4, 1, 48)) + directory((4, 12, 2**20, 8))),
            "48 MiB of tags",
        ),
        (lambda: packed_texts(17), "16 MiB of metadata"),
        (lambda: png(HEADER, (b"eXIf", bytes(17 * 2**20)), DATA, END), "16 MiB of metadata"),
        (lambda: tiff(*[(n, 3, 1, 0) for n in range(5000)]), "5,000 tags"),
        (lambda: struct.pack("<2sHI", b"II", 42, 2**31), "directory is missing"),
    ],
)
def test_what_would_cost_too_much_is_refused(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        load_pixels(make(), GREY)


def test_texts_of_a_png_within_the_limit_are_read() -> None:
    assert load_pixels(packed_texts(3), GREY).shape == (4, 4, 1)


def test_a_directory_of_exif_that_points_to_itself_is_walked_once() -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        load_pixels(tiff((34665, 4, 1, 8)), GREY)


def test_a_progressive_jpeg_is_bounded_by_its_full_scale() -> None:
    data = bytearray(flat("L", 64, 64, "JPEG", progressive=True))
    assert load_pixels(bytes(data), GREY).shape == (4, 4, 1)
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 13_000, 13_000)
    with pytest.raises(ImageError, match="progressive JPEG of 169 million pixels"):
        load_pixels(bytes(data), GREY)


def test_a_baseline_jpeg_in_several_scans_is_taken_for_what_it_is() -> None:
    """A baseline JPEG whose first scan lacks components, so that it needs all its coefficients at once."""
    data = bytearray(flat("RGB", 64, 64, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 8_000, 8_000)
    scan = data.index(b"\xff\xda")
    one_component = data[:scan] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(20)
    with pytest.raises(ImageError, match="progressive JPEG of 64 million"):
        load_pixels(bytes(one_component), GREY)
    assert load_pixels(bytes(data), GREY).shape == (4, 4, 1)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = flat("L", 64, 64, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        load_pixels(data[:-2] + data[last:-2] * 200 + data[-2:], GREY)


def test_large_transparent_and_16_bit_pictures_are_the_same_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (90, 70, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65_536, (90, 70), dtype=np.uint16))
    palette = rgba.convert("RGB").quantize(16)
    palette.info["transparency"] = 3
    for image in (rgba, rgba.convert("LA"), deep, palette):
        for spec in (ImageInput(90, 70, "grey"), ImageInput(90, 70, background=(1, 200, 30))):
            monkeypatch.setattr("runtime.images._STRIP_PIXELS", 2**20)
            whole = load_pixels(image, spec)
            monkeypatch.setattr("runtime.images._STRIP_PIXELS", 70 * 7)
            np.testing.assert_array_equal(load_pixels(image, spec), whole)


def test_a_bomb_is_not_decoded_to_find_its_orientation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(png_header(13_000, 13_000, 1, 0), DATA, END)

    def fail(_image: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageError, match="more than 32 million"):
        load_pixels(data, GREY)


def test_the_header_of_a_bomb_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(png_header(13_000, 13_000, 1, 0), DATA, END))
    with pytest.raises(ImageError, match=r"bomb.png: 13000 x 13000 pixels, more than 32 million"):
        read_header(path)


def test_a_damaged_interlaced_png_is_named_for_what_it_is() -> None:
    data = png(png_header(64, 64, 8, 0, 1), (b"IDAT", zlib.compress(bytes(100))), END)
    with pytest.raises(ImageError, match="truncated"):
        load_pixels(data, GREY)


def test_exif_of_a_size_that_no_camera_writes_is_not_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010E] = "x" * 100_000
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    np.testing.assert_array_equal(load_pixels(encoded(picture, "PNG", exif=exif), GREY)[..., 0], np.asarray(picture))


def test_an_rle_bmp_of_many_runs_is_read() -> None:
    rows = b"".join(b"".join(bytes((1, n % 256)) for n in range(400)) + b"\0\0" for _ in range(400)) + b"\0\1"
    pixels = load_pixels(io.BytesIO(rle_bmp((400, 400), rows)), ImageInput(400, 400, "grey"))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(400) % 256)


def test_the_scans_of_a_jpeg_are_counted_by_its_sampling() -> None:
    """36 million pixels: 4:2:0 needs 3 bytes for each, 4:4:4 needs 6."""
    for subsampling, refused in ((2, False), (0, True)):
        data = bytearray(flat("RGB", 64, 64, "JPEG", progressive=True, subsampling=subsampling))
        at = data.index(b"\xff\xc2")
        data[at + 5 : at + 9] = struct.pack(">HH", 6000, 6000)
        if refused:
            with pytest.raises(ImageError, match="progressive JPEG of 36 million pixels takes 216 MB"):
                load_pixels(bytes(data), GREY)
        else:
            assert load_pixels(bytes(data), GREY).shape == (4, 4, 1)


def test_a_tiff_in_one_strip_is_bounded_by_the_strip() -> None:
    tiff = encoded(Image.new("RGBA", (5_400, 5_400)), "TIFF", compression="tiff_lzw", strip_size=2**30)
    with Image.open(io.BytesIO(tiff)) as written:
        assert len(written.tag_v2[273]) == 1
    with pytest.raises(ImageError, match="save it smaller"):
        load_pixels(tiff, GREY)


def test_threads_share_the_room_for_large_pictures() -> None:
    code = """
import io
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from runtime import ImageInput, load_pixels
from runtime.memory import peak_memory_mb
buffer = io.BytesIO()
Image.new("RGBA", (5000, 5000), (10, 20, 30, 40)).save(buffer, "PNG")
open("/proc/self/clear_refs", "w").write("5")  # forget the peak until here
spec = ImageInput(28, 28, "grey")
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda data: load_pixels(data, spec), [buffer.getvalue()] * 8))
assert all((answer == answers[0]).all() for answer in answers)
print(peak_memory_mb())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300
