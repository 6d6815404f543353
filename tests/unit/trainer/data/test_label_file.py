"""CSV files of images and labels: what is read of them, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.loaders.label_file import Row, read_label_file
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_rows_with_and_without_a_header(tmp_path: Path) -> None:
    body = 'a.png,cat;dog\r\n\r\nsub/b.png,\r\n"c,1.png", dog ;dog;\r\n'
    plain = [Row(1, "a.png", ("cat", "dog"), ""), Row(3, "sub/b.png", (), ""), Row(4, "c,1.png", ("dog",), "")]
    assert read_label_file(written(tmp_path, body)) == (plain, [])
    found, _ = read_label_file(written(tmp_path, "\ufeffPath,Labels\n" + body))
    assert found == [row._replace(line=row.line + 1) for row in plain]


def test_a_third_column_names_the_split(tmp_path: Path) -> None:
    found, _ = read_label_file(written(tmp_path, "path,labels,split\na.png,x,train\nb.png,,VAL\nc.png,x,Test\n"))
    assert [row.split for row in found] == ["train", "validation", "test"]


def test_a_row_that_only_repeats_another_is_told(tmp_path: Path) -> None:
    found, repeated = read_label_file(written(tmp_path, "a.png,x;y\nb.png,x\n./a.png,y;x\n"))
    assert [row.path for row in found] == ["a.png", "b.png"]
    assert len(repeated) == 1
    assert "line 3: a.png stands in line 1 already" in repeated[0]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a.png,x\na.png,y\n", 2, "other labels or another split than in line 1"),
        ("a.png,x,train\na.png,x,test\n", 2, "another split than in line 1"),
        ("a.png,x\nb.png\n", 2, "1 columns, expected like the first row's 2"),
        ("a.png\n", 1, "1 columns, expected 2 or 3"),
        ("a.png,x,train,y\n", 1, "4 columns"),
        ("path,tags\na.png,x\n", 1, "column 'tags', expected label or labels"),
        ("path,labels,fold\na.png,x,1\n", 1, "column 'fold', expected split"),
        ("a.png,x,maybe\n", 1, "split 'maybe', expected train"),
        (",x\n", 1, "no path"),
        ("a\0.png,x\n", 1, "no path|NUL"),
        ("/etc/a.png,x\n", 1, "leads out of the file's folder"),
        ("a.png,x\n../a.png,x\n", 2, "leads out"),
        ("a.png,x\x1b[31m\n", 1, "printable"),
        (f"a.png,{'x' * 201}\n", 1, "up to 200 characters"),
        (b"a.png,x\nb.png,\xff\n", 2, "UTF-8"),
        ('a.png,"x\n', 1, "expected path,label;label"),
        (f"a.png,{'x;' * 200_000}\n", 1, "field larger than"),
    ],
)
def test_what_cannot_be_taken_names_its_line(text: str | bytes, line: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=reason) as refused:
        read_label_file(written(tmp_path, text))
    assert f"labels.csv, line {line}: " in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "path,labels\n"])
def test_a_file_without_images(text: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images in it; expected path,label;label"):
        read_label_file(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.csv: cannot be opened: No such file"):
        read_label_file(tmp_path / "labels.csv")
