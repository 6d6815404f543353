"""Several images in one stream: where each ends, and what a stream without an end costs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from runtime import ImageError
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.image_stream import MAX_STREAM_IMAGES, split_images

pytestmark = pytest.mark.fast


def encoded(seed: int, kind: str = "JPEG", **options: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail(image: bytes, thumbnail: bytes) -> bytes:
    """A JPEG with another one in its EXIF segment."""
    body = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    return image[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + image[2:]


def two_pictures(seed: int) -> bytes:
    """A multi-picture file (MPO) of two JPEGs."""
    further = Image.open(io.BytesIO(encoded(seed + 1)))
    return encoded(seed, "MPO", save_all=True, append_images=[further])


class Pipe:
    """A stream that gives few bytes at a time, and counts them."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest, self.given = parts, b"", 0

    def read1(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._parts, b"")
        part, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(part)
        return part


def split(data: bytes, step: int = 1000) -> list[bytes]:
    parts = (data[at : at + step] for at in range(0, len(data), step))
    rests: list[int] = []
    found = list(split_images(Pipe(parts), "stream", rests.append))
    assert not rests
    return found


@pytest.mark.parametrize("step", [1, 7, 2**20])
def test_each_image_is_whole(step: int) -> None:
    small = encoded(5)[:3000] if step == 1 else encoded(5)
    images = [encoded(0), encoded(1, progressive=True), with_thumbnail(encoded(2), small), encoded(3, "PNG")]
    images += [encoded(4, "WEBP"), encoded(6, quality=20, restart_marker_blocks=2), two_pictures(7), encoded(9)]
    assert split(b"".join(images), step) == images
    assert split(b"\0\0".join(images), step) == images
    assert split(images[6], step) == [images[6]]
    assert split(images[6] * 2, step) == [images[6]] * 2


def test_a_multi_picture_file_without_its_further_pictures_takes_none_of_the_next() -> None:
    with Image.open(io.BytesIO(two_pictures(0))) as image:
        first = image.mpinfo[0xB002][0]["Size"]
    stripped = two_pictures(0)[:first]
    for size in (40, 600, 2000):
        noise = np.random.default_rng(size).integers(0, 256, (size // 10, 60), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "JPEG")
        assert split(stripped + buffer.getvalue()) == [stripped, buffer.getvalue()]


def test_what_is_no_image_ends_the_stream() -> None:
    jpeg = encoded(0)
    rests: list[int] = []
    film = b"ftypmp42" + bytes(100_000)
    assert list(split_images(io.BytesIO(jpeg + film), "stream", rests.append)) == [jpeg]
    assert rests == []
    assert list(split_images(io.BytesIO(jpeg + film + jpeg), "stream", rests.append)) == [jpeg]
    assert rests == [len(film) + len(jpeg)]


def test_damaged_images_do_not_hide_the_next() -> None:
    cut = encoded(0)[:-500]
    assert split(cut + encoded(1)) == [cut, encoded(1)]
    assert split(cut) == [cut]
    assert split(encoded(1) + b"\xff\xd8\xff") == [encoded(1), b"\xff\xd8\xff"]
    assert split(b"no image") == [b"no image"]
    bitmap = encoded(1, "BMP")
    assert split(bitmap) == [bitmap]


def test_an_image_is_given_before_the_next_is_waited_for() -> None:
    jpeg = encoded(0)

    def parts() -> Iterator[bytes]:
        yield jpeg
        raise AssertionError("waited for a second image")

    assert next(split_images(Pipe(parts()), "stream", lambda count: None)) == jpeg


def test_a_stream_without_an_end_is_refused_in_bounded_memory() -> None:
    jpeg = encoded(0)
    frames = Pipe(iter(lambda: jpeg, b""))
    images = split_images(frames, "camera", lambda count: None)
    assert all(next(images) == jpeg for _ in range(MAX_STREAM_IMAGES))
    with pytest.raises(ImageError, match=r"camera: more than 500 images; `pocketlens live -` answers .* MJPEG"):
        next(images)
    assert frames.given <= (MAX_STREAM_IMAGES + 1) * len(jpeg)
    for start in (b"\x11", jpeg[:-2], b"\xff\xd8\xff", encoded(0, "PNG")[:-12]):
        noise = Pipe(iter([start, *[b"\x11" * 2**20] * 100]))
        with pytest.raises(ImageError, match="larger than 64 MiB"):
            list(split_images(noise, "camera", lambda count: None))
        assert noise.given <= MAX_IMAGE_BYTES + 2**17


def test_an_empty_stream_is_named() -> None:
    with pytest.raises(ImageError, match=r"^standard input: empty"):
        list(split_images(io.BytesIO(), "standard input", lambda count: None))
