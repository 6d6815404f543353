"""Bytes from outside: up to a limit, and no further."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runtime import ImageError
from runtime.files import read_regular_file, read_stream

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("expected", [None, 0, 7, 8, 100])
@pytest.mark.parametrize("content", [b"", b"1234567"], ids=["empty", "at the limit"])
def test_a_stream_may_hold_as_much_as_the_limit(content: bytes, expected: int | None) -> None:
    if expected is None or expected >= len(content):
        assert read_stream(io.BytesIO(content), 7, ImageError, "s", expected=expected) == content


@pytest.mark.parametrize("expected", [None, 8, 100])
def test_a_byte_more_than_the_limit_is_refused(expected: int | None, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^s: larger than 0 MiB, the limit$"):
        read_stream(io.BytesIO(b"12345678"), 7, ImageError, "s", expected=expected)
    (tmp_path / "f").write_bytes(b"12345678")
    assert read_regular_file(tmp_path / "f", 8, ImageError)[0] == b"12345678"
    with pytest.raises(ImageError, match="larger than"):
        read_regular_file(tmp_path / "f", 7, ImageError)


def test_a_stream_that_gives_single_bytes_is_read_to_its_end() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(1, size or 0))

    assert read_stream(Slow(b"123456"), 7, ImageError, "s") == b"123456"
