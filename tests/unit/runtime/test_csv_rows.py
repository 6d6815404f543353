"""Vectors of features from CSV files and from standard input."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime import FeaturesError, FeaturesInput
from runtime.csv_rows import MAX_LINE_BYTES, Reading, read_rows

pytestmark = pytest.mark.fast

SPEC = FeaturesInput(("x", "y"))


def rows_of(content: bytes, tmp_path: Path, spec: FeaturesInput = SPEC) -> list[Reading]:
    path = tmp_path / "r.csv"
    path.write_bytes(content)
    return list(read_rows([str(path)], spec))


@pytest.mark.parametrize(
    "content",
    [
        b"1,2\n3,-4.5\n",
        b"x,y\n1,2\n3,-4.5\n",
        b"y,x\r\n2,1\r\n-4.5,3\r\n",
        b"\xef\xbb\xbfx, y\n 1 , 2\n\n3,-4.5",
        b"y,label,x\n2,in,1\n-4.5,out,3\n",
        b'"x","y"\n"1","2"\n3,-45e-1\n',
    ],
)
def test_rows_with_and_without_a_header(content: bytes, tmp_path: Path) -> None:
    found = rows_of(content, tmp_path)
    assert [row.values for row in found] == [(1, 2), (3, -4.5)]
    assert [row.problem for row in found] == ["", ""]
    assert all(row.name.startswith(f"{tmp_path}/r.csv:") for row in found)


def test_the_name_holds_the_line(tmp_path: Path) -> None:
    assert [row.name.rpartition(":")[2] for row in rows_of(b"x,y\n\n1,2\n3,4\n", tmp_path)] == ["3", "4"]


def test_names_that_look_like_numbers_are_a_header(tmp_path: Path) -> None:
    found = rows_of(b"550,450\n0.1,0.2\n", tmp_path, FeaturesInput(("450", "550")))
    assert [row.values for row in found] == [(0.2, 0.1)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x\n1\n", "no column 'y' in its header, expected 2 features (x, y)"),
        (b"x,y,z\n1,2,3\n", "unknown column 'z'"),
        (b"x,y,y\n1,2,3\n", "two columns 'y'"),
        (b"1,a\n1,2\n", "no column 'x'"),
        (b"x;y\n1,5;2\n", "r.csv: semicolons between its cells; save it with commas between them"),
        (b"x\ty\n1\t2\n", "r.csv: tabs between its cells; save it with commas between them"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not text; a model that takes features wants a CSV file"),
        (b"1,2\n3,\xe4\n", ":2: not in UTF-8; save it as UTF-8"),
        (b"1,2\n3,4\0\n", "not text"),
        (b'1,2\n"3,4\n', "no CSV"),
        (b"1," + b"0" * MAX_LINE_BYTES + b"\n", "a line of more than 1 MiB"),
    ],
)
def test_a_file_that_is_no_such_table_says_why_once(content: bytes, words: str, tmp_path: Path) -> None:
    problem = rows_of(content, tmp_path)[-1].problem
    assert words in problem
    assert "r.csv" in problem
    with pytest.raises(FeaturesError, match=r"r\.csv"):
        rows_of(content, tmp_path)[-1].vector(SPEC)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"5", ":3: 1 cells, expected 2: 2 features (x, y)"),
        (b"5,6,7", ":3: 3 cells"),
        (b"5,", ":3: y is '', expected a number"),
        (b"5,six", ":3: y is 'six'"),
        (b"5,1_000", ":3: y is '1_000'"),
        (b"5,\x1b[31m6", ":3: y is '\\\\x1b[31m6'"),
        (b"5,nan", ":3: y is nan"),
        (b"inf,6", ":3: x is inf"),
    ],
)
def test_a_bad_row_is_named_and_the_next_is_read(row: bytes, words: str, tmp_path: Path) -> None:
    found = rows_of(b"x,y\n1,2\n" + row + b"\n3,4\n", tmp_path)
    assert len(found) == 3
    with pytest.raises(FeaturesError) as caught:
        found[1].vector(SPEC)
    assert words in str(caught.value)
    assert found[2].vector(SPEC).tolist() == [3, 4]


def test_a_file_that_is_missing_does_not_stop_the_next(tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    good.write_text("1,2\n")
    missing, folder, row = read_rows(["none.csv", str(tmp_path), str(good)], SPEC)
    assert "cannot be opened" in missing.problem
    assert "not a regular file" in folder.problem
    assert row.values == (1, 2)


def test_standard_input_is_answered_as_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    class Arriving(io.BytesIO):
        taken = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.taken += 1
            return super().readline(size)

    stream = Arriving(b"1,2\n3,4\n5,6\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    rows = read_rows(["-"], SPEC)
    for taken, values in enumerate([(1, 2), (3, 4), (5, 6)], start=1):
        row = next(rows)
        assert (row.values, stream.taken) == (values, taken)
    assert row.name == "standard input:3"
