"""Bytes from outside: up to a limit, and no further."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import ImageError
from runtime.files import read_file_object, read_regular_file, read_stream

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


def test_a_file_object_at_its_end_is_read_from_its_start(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    buffer.write(b"12345")
    assert read_file_object(buffer, 7, ImageError, "s") == b"12345"
    assert read_file_object(buffer, 7, ImageError, "s") == b"12345"
    buffer.seek(2)
    assert read_file_object(buffer, 7, ImageError, "s") == b"345"
    with (tmp_path / "f").open("w+b") as file:
        file.write(b"12345")
        assert read_file_object(file, 7, ImageError, "s") == b"12345"
    assert read_file_object(io.BytesIO(), 7, ImageError, "s") == b""


def test_standard_input_and_pipes_are_not_rewound(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    program = (
        "import sys; from runtime.files import read_file_object as read; from runtime.errors import ImageError; "
        "print([read(sys.stdin.buffer, 7, ImageError, 's') for _ in range(2)])"
    )
    with (tmp_path / "f").open("rb") as file:
        done = subprocess.run([sys.executable, "-c", program], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[b'12345', b'']"
