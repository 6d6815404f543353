"""From any image to the pixels of a contract."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin, TiffTags
from PIL.PngImagePlugin import PngImageFile, PngInfo

from fuzz.mutations import mutate
from runtime import ImageError, ImageInput, load_pixels
from runtime.image_formats import FIRST_WITH_STABLE_TIFFS, SUFFIXES, pillow_version
from runtime.images import read_header
from runtime.memory import DecodingRoom

pytestmark = pytest.mark.fast

GREY = ImageInput(4, 4, "grey")
RGB = ImageInput(4, 4, "rgb", background=(10, 20, 30))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.skipif(pillow_version() < FIRST_WITH_STABLE_TIFFS, reason="this Pillow's fax images are refused")
def test_libtiff_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Its own words about damage, such as `Fax4Decode: Bad code word`, name no file and stand between the answers."""
    stripes = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 7 < 3)
    whole = encoded(stripes, "TIFF", compression="group4")
    load_pixels(whole, GREY)
    start = struct.unpack_from("<I", whole, 4)[0]
    for place in range(8, min(start, len(whole) - 200), 3):
        damaged = bytearray(whole)
        damaged[place : place + 3] = b"\xff\x55\xff"
        with contextlib.suppress(ImageError):
            load_pixels(bytes(damaged), GREY)
    assert capfd.readouterr().err == ""


def plain(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (6, 5), colour)


def gradient(height: int = 12, width: int = 20) -> Image.Image:
    """An image with four different corners, so that a wrong orientation is noticed."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 // (height - 1), columns * 255 // (width - 1), np.full_like(rows, 90)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize(
    ("data", "grey", "colour"),
    [
        (encoded(plain("L", 100)), 100, (100, 100, 100)),
        (encoded(plain("1", 1)), 255, (255, 255, 255)),
        (encoded(plain("RGB", (255, 0, 0))), 76, (255, 0, 0)),
        (encoded(plain("LA", (100, 0))), 18, (10, 20, 30)),
        (encoded(plain("LA", (100, 255))), 100, (100, 100, 100)),
        (encoded(plain("RGBA", (200, 100, 50, 0))), 18, (10, 20, 30)),
        (encoded(plain("RGBA", (200, 200, 200, 255))), 200, (200, 200, 200)),
        (encoded(plain("P", 0), transparency=0), 18, (10, 20, 30)),
        (encoded(plain("L", 7), transparency=7), 18, (10, 20, 30)),
        (encoded(plain("I;16", 200 * 257)), 200, (200, 200, 200)),
        (encoded(plain("I;16", 200 * 257), "TIFF"), 200, (200, 200, 200)),
        (encoded(plain("CMYK", (0, 0, 0, 0)), "JPEG"), 255, (255, 255, 255)),
        (encoded(plain("L", 100), "BMP"), 100, (100, 100, 100)),
        (encoded(plain("L", 100), "TIFF"), 100, (100, 100, 100)),
        (encoded(plain("RGB", (9, 9, 9)), "GIF"), 9, (9, 9, 9)),
        (encoded(plain("RGB", (90, 90, 90)), "WEBP", lossless=True), 90, (90, 90, 90)),
    ],
)
def test_every_kind_of_pixel_becomes_what_it_means(
    data: bytes, grey: int, colour: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_background = ImageInput(4, 4, "grey", background=RGB.background)
    np.testing.assert_allclose(load_pixels(data, on_background), grey, atol=1)
    np.testing.assert_allclose(load_pixels(data, RGB), np.broadcast_to(colour, (4, 4, 3)), atol=1)


def test_half_transparent_is_mixed_with_the_background() -> None:
    pixels = load_pixels(encoded(plain("RGBA", (250, 250, 250, 128))), ImageInput(4, 4, background=(50, 50, 50)))
    np.testing.assert_allclose(pixels, 150, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = gradient()
    inverse = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    stored = upright
    for step in inverse:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    spec = ImageInput(12, 20)
    pixels = load_pixels(encoded(stored, exif=exif), spec)
    np.testing.assert_array_equal(pixels, np.asarray(upright))


def on_its_side() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def behind_the_pixels(data: bytes) -> bytes:
    """A PNG whose EXIF chunk is in a place where Pillow does not write it."""
    body = b"eXIf" + on_its_side().tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-12] + chunk + data[-12:]


def with_text(key: str, text: str) -> bytes:
    info = PngInfo()
    (info.add_itxt if key.startswith("XML") else info.add_text)(key, text)
    return encoded(gradient(), pnginfo=info)


RAW_PROFILE = f"\nexif\n{len(on_its_side().tobytes())}\n{on_its_side().tobytes().hex()}"


@pytest.mark.parametrize(
    ("data", "size", "decoded"),
    [
        (encoded(gradient()), (12, 20), 0),
        (with_text("Title", "sideways"), (12, 20), 0),
        (encoded(gradient(), exif=on_its_side()), (20, 12), 0),
        (behind_the_pixels(encoded(gradient())), (20, 12), 1),
        (with_text("Raw profile type exif", RAW_PROFILE), (20, 12), 1),
        (with_text("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>'), (20, 12), 1),
    ],
)
def test_the_header_of_a_png_is_read_without_its_pixels_where_it_can_be(
    data: bytes, size: tuple[int, int], decoded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[tuple[int, int]] = []
    load = PngImageFile.load

    def counting(image: PngImageFile) -> Any:
        loads.append(image.size)
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", counting)
    header = read_header(data)
    assert (header.height, header.width) == size
    assert len(loads) == decoded
    spec = ImageInput(*size)
    turned = gradient() if size == (12, 20) else gradient().transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(load_pixels(data, spec), np.asarray(turned))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_large_image_is_turned_a_channel_at_a_time(
    kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(np.random.default_rng(orientation).integers(0, 256, (37, 53, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif)
    for resize in ("stretch", "pad", "crop"):
        for name in ("hamming", "nearest", "lanczos", "tf-bilinear"):
            for colour in ("rgb", "bgr", "grey"):
                spec = ImageInput(20, 31, colour, resize=resize, filter=name, background=(9, 100, 250))
                monkeypatch.setattr("runtime.image_limits.MAX_TURNED_PIXELS", 10**6)
                whole = load_pixels(data, spec)
                monkeypatch.setattr("runtime.image_limits.MAX_TURNED_PIXELS", 0)
                np.testing.assert_array_equal(load_pixels(data, spec), whole)


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_turned_tiffs_are_read_up_to_the_limit(colour: str) -> None:
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (47, 60, 3), dtype=np.uint8))
    large = small.resize((6360, 5000), Image.Resampling.NEAREST)
    data = encoded(large, "TIFF", compression="tiff_lzw", tiffinfo={274: 6})
    spec = ImageInput(32, 24, colour)
    np.testing.assert_array_equal(
        load_pixels(data, spec), load_pixels(large.transpose(Image.Transpose.ROTATE_270), spec)
    )


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_can_be_ignored(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(gradient(), kind, exif=exif, **lossless)
    spec = ImageInput(12, 20, orientation="ignore")
    np.testing.assert_allclose(load_pixels(data, spec), np.asarray(gradient()), atol=3)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(load_pixels(image, spec), load_pixels(data, spec))
    header = read_header(data, "ignore")
    assert (header.height, header.width, header.orientation) == (12, 20, orientation)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_opened_image_is_turned_once(kind: str, orientation: int, is_loaded: bool) -> None:
    """Pillow turns a TIFF while it decodes it; whether its EXIF says so afterwards depends on the version."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(), kind, exif=exif)
    spec = ImageInput(20, 20, resize="pad")
    with Image.open(io.BytesIO(data)) as image:
        if is_loaded:
            image.load()
        np.testing.assert_array_equal(load_pixels(image, spec), load_pixels(data, spec))


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_header_says_the_size_of_the_upright_image(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    header = read_header(encoded(gradient(), kind, exif=exif))
    assert (header.height, header.width) == ((12, 20) if orientation < 5 else (20, 12))


def test_a_large_png_is_not_decoded_for_its_header_beside_another_large_picture() -> None:
    large = encoded(Image.new("L", (2500, 2500)))
    reading = threading.Thread(target=read_header, args=(behind_the_pixels(large),))
    with DecodingRoom() as room:
        room.reserve(2**30)
        read_header(large)
        reading.start()
        reading.join(0.5)
        assert reading.is_alive()
    reading.join(60)
    assert not reading.is_alive()


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    image = gradient()
    data = encoded(image)
    path = tmp_path / "image.png"
    path.write_bytes(data)
    spec = ImageInput(8, 8)
    expected = load_pixels(data, spec)
    for source in (path, str(path), bytearray(data), memoryview(data), io.BytesIO(data), image, np.asarray(image)):
        np.testing.assert_array_equal(load_pixels(source, spec), expected)


def test_a_buffer_that_an_image_was_just_saved_to_is_read() -> None:
    buffer = io.BytesIO()
    gradient().save(buffer, "PNG")
    assert (load_pixels(buffer, GREY) == load_pixels(encoded(gradient()), GREY)).all()


def test_bgr_is_rgb_backwards() -> None:
    for source in (encoded(gradient()), np.asarray(gradient())):
        for size in ((8, 8), (12, 20)):
            rgb = load_pixels(source, ImageInput(*size, "rgb"))
            np.testing.assert_array_equal(load_pixels(source, ImageInput(*size, "bgr")), rgb[:, :, ::-1])


def test_pad_keeps_the_shape_on_the_background() -> None:
    pixels = load_pixels(plain("L", 200).resize((40, 20)), ImageInput(16, 16, "grey", "pad", background=(7, 7, 7)))
    assert (pixels[:4] == 7).all()
    assert (pixels[12:] == 7).all()
    assert (pixels[4:12] == 200).all()


def test_crop_takes_the_middle() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    assert (load_pixels(wide, ImageInput(10, 10, "grey", "crop")) == 255).all()


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 7)])
def test_any_shape_comes_out_in_the_size_that_is_asked_for(resize: str, size: tuple[int, int]) -> None:
    assert load_pixels(plain("RGB", 1).resize(size), ImageInput(9, 5, resize=resize)).shape == (9, 5, 3)


def test_an_array_of_the_right_shape_is_not_copied() -> None:
    array = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.shares_memory(load_pixels(array, GREY), array)


def test_grey_arrays_serve_colour_models_and_the_other_way_round() -> None:
    assert (load_pixels(np.full((4, 4), 9, np.uint8), RGB) == 9).all()
    assert (load_pixels(np.full((4, 4, 1), 9, np.uint8), RGB) == 9).all()
    np.testing.assert_allclose(load_pixels(np.full((4, 4, 3), (255, 0, 0), np.uint8), GREY), 76)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="array"):
        load_pixels(array, GREY)


def test_integers_up_to_255_are_8_bit_values() -> None:
    for value, pixel in ((200, 200), (255, 255), (256, 1), (200 * 257, 200)):
        for mode in ("I", "I;16"):
            assert (load_pixels(Image.new(mode, (6, 5), value), GREY) == pixel).all()
    dark = encoded(Image.new("I;16", (6, 5), 200))
    assert (load_pixels(dark, GREY) == 1).all(), "a file says that it has 16 bits"


def test_lab_becomes_grey_as_it_becomes_rgb() -> None:
    data = encoded(plain("LAB", (150, 128, 128)), "TIFF")
    rgb = load_pixels(data, RGB)
    assert np.ptp(rgb) <= 3
    np.testing.assert_allclose(load_pixels(data, GREY), rgb[:, :, :1], atol=2)


def test_premultiplied_grey_is_mixed_with_the_background() -> None:
    image = plain("LA", (100, 128)).convert("La")
    np.testing.assert_allclose(load_pixels(image, ImageInput(4, 4, "grey", background=(0, 0, 0))), 50, atol=1)


def test_a_large_jpeg_is_decoded_at_reduced_scale() -> None:
    data = encoded(Image.new("RGB", (9000, 6000), (120, 130, 140)), "JPEG")
    np.testing.assert_allclose(load_pixels(data, RGB), np.broadcast_to((120, 130, 140), (4, 4, 3)), atol=2)


def tiff(tag: int, value: int, sub_directory: bool = False) -> bytes:
    """A TIFF whose first directory has one more tag, and optionally directories below it."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag] = value
    info.tagtype[tag] = TiffTags.LONG
    if sub_directory:
        info[330] = 8
        info.tagtype[330] = TiffTags.LONG
    return encoded(gradient(), "TIFF", tiffinfo=info)


def test_a_preview_tag_alone_is_no_raw_photo() -> None:
    assert load_pixels(tiff(254, 1), GREY).shape == GREY.shape
    assert load_pixels(tiff(254, 0, sub_directory=True), GREY).shape == GREY.shape


def test_a_photo_of_several_pictures_is_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "phone.mpo"
    gradient().save(path, "MPO", save_all=True, append_images=[plain("RGB", 0)])
    assert path.suffix in SUFFIXES
    assert (load_pixels(path, GREY) == load_pixels(encoded(gradient(), "JPEG"), GREY)).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (encoded(gradient(), "JPEG")[:-40], "cannot be decoded|truncated"),
        (encoded(gradient())[:-40], "truncated"),
        (encoded(gradient())[:-12], "truncated"),
        (encoded(plain("RGB", 0), "EPS"), "not an image"),
        (encoded(plain("RGB", 0), "PPM"), "not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*convert it to JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC.*convert it to JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1", "AVIF.*convert it to JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "video.*convert it to JPEG"),
        (b"\xff\x0a" + bytes(20), "JPEG XL.*convert it to JPEG"),
        (tiff(50706, 0x01040000), "raw photo.*convert it to JPEG"),
        (tiff(254, 1, sub_directory=True), "raw photo.*convert it to JPEG"),
        (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
        (encoded(Image.new("1", (13_000, 13_000))), "pixels"),
    ],
)
def test_what_cannot_be_decoded_is_one_kind_of_error(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        load_pixels(data, GREY)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damaged_files_raise_nothing_else(kind: str) -> None:
    data = encoded(gradient(40, 40), kind)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(256)
        cut = bytes(damaged[: rng.integers(1, len(data) + 1)])
        try:
            assert load_pixels(cut, GREY).shape == (4, 4, 1)
        except ImageError:
            refused += 1
    assert refused > 50


def test_paths_that_are_no_regular_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in ((fifo, "regular"), (tmp_path, "regular"), (Path("/dev/zero"), "regular")):
        with pytest.raises(ImageError, match=reason):
            load_pixels(path, GREY)
    for missing in (tmp_path / "none.png", "a\0b"):
        with pytest.raises(ImageError, match="cannot be opened"):
            load_pixels(missing, GREY)


def test_sources_of_another_type_are_named() -> None:
    with pytest.raises(ImageError, match="NoneType"):
        load_pixels(None, GREY)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="binary"):
        load_pixels(io.StringIO("text"), GREY)  # type: ignore[arg-type]


def test_a_raw_stream_that_gives_little_at_a_time_is_read_to_its_end() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def read(self, size: int = -1) -> bytes:
            return self._data.read(min(size, 10))

    np.testing.assert_array_equal(load_pixels(Trickle(encoded(plain("L", 3))), GREY), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "jpeg"])
def test_a_tiff_is_refused_where_pillow_decodes_it_from_memory_that_it_has_not_cleared(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = "L" if compression == "jpeg" else "1"
    unstable = encoded(gradient().convert(mode), "TIFF", compression=compression)
    lzw = encoded(gradient().convert(mode), "TIFF", compression="tiff_lzw")
    monkeypatch.setattr("PIL.__version__", "13.0.0")
    np.testing.assert_allclose(load_pixels(unstable, GREY), load_pixels(lzw, GREY), atol=10)
    monkeypatch.setattr("PIL.__version__", "12.3.0")
    assert load_pixels(lzw, GREY).shape == (4, 4, 1)
    with pytest.raises(ImageError, match=r"(fax|JPEG) compression, of which Pillow 12\.3\.0 .* Pillow 13"):
        load_pixels(unstable, GREY)


def test_a_damaged_tiff_gives_the_same_pixels_each_time_or_is_refused() -> None:
    pictures = [
        encoded(Image.effect_noise((64, 48), 80).convert(mode), "TIFF", compression=compression)
        for mode, compression in (("1", "group4"), ("1", "group3"), ("RGB", "jpeg"), ("RGB", "tiff_lzw"), ("L", None))
    ]
    answered = 0
    for number in range(300):
        data = mutate(pictures[number % len(pictures)], number, number)[1]
        answers = []
        for value in (17, 201):
            blocks = [bytes([value]) * size for size in (600, 1000, 5000, 20_000) for _ in range(8)]
            del blocks  # malloc gives this memory out next
            try:
                answers.append(load_pixels(data, ImageInput(48, 64)).tobytes())
            except ImageError:
                answers.append(b"")
        answered += bool(answers[0])
        assert answers[0] == answers[1], number
    assert answered > 20


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_12_bit_values_in_16_bits_are_told_once(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.image_depth._warned_of", [])
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    if kind == "grey":
        data = encoded(Image.fromarray(values), "PNG")
    else:  # Pillow writes none; 16 bits a value, most significant byte first
        rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in values)
        parts = (
            (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        )
    assert read_header(data).has_16_bits
    for _ in range(2):
        assert load_pixels(data, ImageInput(8, 8, "grey")).max() <= 16
    (record,) = caplog.records
    assert "image (bytes): its 16-bit values stay below 4,096" in record.getMessage()


def test_dark_8_bit_and_full_16_bit_images_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    spec = ImageInput(8, 8, "grey")
    load_pixels(encoded(Image.new("L", (8, 8), 9), "PNG"), spec)
    load_pixels(Image.fromarray(np.full((8, 8), 9, np.int32)), spec)
    load_pixels(encoded(Image.fromarray(np.full((8, 8), 60000, np.uint16)), "PNG"), spec)
    load_pixels(encoded(Image.fromarray(np.zeros((8, 8), np.uint16)), "PNG"), spec)
    assert not caplog.records


def test_a_lab_image_is_read_as_grey_and_as_colour() -> None:
    from PIL import ImageCms

    spaces = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    image = Image.new("RGB", (8, 8), (200, 50, 40))
    lab = ImageCms.applyTransform(image, ImageCms.buildTransform(*spaces, "RGB", "LAB"))
    assert lab is not None
    data = encoded(lab, "TIFF")
    colour = load_pixels(data, ImageInput(8, 8, "rgb"))
    assert np.abs(colour[0, 0].astype(int) - (200, 50, 40)).max() <= 2
    grey = load_pixels(data, ImageInput(8, 8, "grey"))
    assert abs(int(grey[0, 0, 0]) - int(np.asarray(image.convert("L"))[0, 0])) <= 2
