"""Frames in a stream of bytes, however it is cut and whatever lies between them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.camera.splitting import JpegSplitter, RawFormat, RawSplitter, make_splitter
from tests.support.frames import JPEGS, jpeg

pytest.importorskip("hypothesis")  # not on a device
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.fast

tries = settings(max_examples=100, derandomize=True, deadline=None)


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def found(splitter: JpegSplitter, data: bytes, sizes: list[int]) -> list[bytes]:
    return [bytes(image) for piece in pieces(data, sizes) for image, _ in splitter.feed(piece)]


garbage = st.binary(max_size=40).filter(lambda data: b"\xff\xd8" not in data and not data.endswith(b"\xff"))
cuts = st.lists(st.integers(1, 4000), max_size=8)


@tries
@given(st.lists(st.tuples(garbage, st.sampled_from(JPEGS)), max_size=5), cuts)
def test_each_frame_is_found_whatever_lies_between(parts: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    splitter = JpegSplitter()
    assert found(splitter, b"".join(before + frame for before, frame in parts), sizes) == [one for _, one in parts]
    assert splitter.damaged == 0


@tries
@given(st.sampled_from(JPEGS), st.data(), cuts)
def test_a_frame_that_was_cut_costs_itself_alone(frame: bytes, data: st.DataObject, sizes: list[int]) -> None:
    length = data.draw(st.integers(3, len(frame) - 2))
    splitter = JpegSplitter()
    assert found(splitter, JPEGS[0] + frame[:length] + JPEGS[3] * 3, sizes) == [JPEGS[0], *[JPEGS[3]] * 3]
    assert splitter.damaged == 1


@tries
@given(st.binary(max_size=3000), cuts)
def test_any_bytes_do_no_harm(data: bytes, sizes: list[int]) -> None:
    splitter = JpegSplitter(limit=500)
    assert all(len(image) <= 500 for image in found(splitter, b"\xff\xd8\xff" + data, sizes))


def test_a_thumbnail_stays_within_its_frame() -> None:
    thumbnail = jpeg(9, (16, 16))
    plain = JPEGS[0]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    frame = plain[:2] + segment + plain[2:]
    assert found(JpegSplitter(), frame + plain, []) == [frame, plain]


def test_a_frame_without_an_end_is_passed_over_at_the_limit() -> None:
    splitter = JpegSplitter(limit=100_000)
    head = JPEGS[0][:-2]
    for _ in range(100):
        assert list(splitter.feed(head + b"\x00" * 5000 if _ == 0 else b"\x00" * 5000)) == []
        assert len(splitter._buffer) <= 106_000
        head = b""
    assert splitter.damaged == 1
    assert [image for image, _ in splitter.feed(JPEGS[1])] == [JPEGS[1]]


def test_a_stream_in_single_bytes() -> None:
    splitter = JpegSplitter()
    data = b"--boundary\r\n\r\n".join([b"", *JPEGS])
    images = [image for byte in data for image, _ in splitter.feed(bytes((byte,)))]
    assert images == JPEGS


@pytest.mark.parametrize("pixels", ["grey", "rgb24", "bgr24", "yuv420", "yuvj420"])
def test_raw_frames_in_pieces(pixels: str) -> None:
    raw = RawFormat.parse(f"8x6:{pixels}")
    data = random.Random(0).randbytes(raw.frame_bytes * 3)
    whole = list(RawSplitter(raw).feed(data))
    splitter = make_splitter(raw)
    in_pieces = [picture for piece in pieces(data, [1, 7, 100]) for picture in splitter.feed(piece)]
    assert len(whole) == len(in_pieces) == 3
    for (array, layout), (other, other_layout) in zip(whole, in_pieces, strict=True):
        np.testing.assert_array_equal(array, other)
        assert layout == other_layout == {"grey": None, "rgb24": "rgb", "bgr24": "bgr"}.get(pixels, "yuv420")


def test_limited_range_becomes_the_full_range() -> None:
    luma, colours = bytes([16, 235, 126, 16]), bytes([128, 240])
    array, _ = RawFormat.parse("2x2:yuv420").picture(luma + colours)
    assert isinstance(array, np.ndarray)
    assert array.reshape(-1).tolist() == [0, 255, 128, 0, 128, 255]
    full, _ = RawFormat.parse("2x2:yuvj420").picture(luma + colours)
    assert isinstance(full, np.ndarray)
    assert full.reshape(-1).tolist() == [*luma, *colours]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("640x480", "expected WIDTHxHEIGHT:PIXELS"),
        ("640x480:nv12", "expected one of yuv420, yuvj420, rgb24, bgr24, grey"),
        ("641x480:yuv420", "even"),
        ("0x480:grey", "million pixels"),
        ("90000x10:grey", "million pixels"),
        ("640*480:grey", "expected WIDTHxHEIGHT:PIXELS"),
    ],
)
def test_raw_formats_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RawFormat.parse(text)
