"""Everything that a command prints stays text on its own line, in any encoding."""

from __future__ import annotations

import ast
import csv
import io
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runtime import ContractError, read_model, seal
from runtime.cli import output
from runtime.cli.app import Command, LazyGroup
from runtime.errors import PocketlensError
from runtime.input_spec import refuse_field
from tests.support.exports import Exported, Samples

ROOT = Path(__file__).parents[4]
HOSTILE = "\x1b[2Jgone\r\n\x9b31m\u202e\ud800"
ESCAPED = r"\x1b[2Jgone\r\n\x9b31m\u202e\ud800"


@click.command(cls=Command)
@click.argument("way")
def hostile(way: str) -> None:
    if way == "line":
        output.print_line(HOSTILE)
        output.print_line(HOSTILE, error=True)
    if way == "error":
        raise PocketlensError(HOSTILE)
    if way == "log":
        logging.getLogger("runtime.somewhere").warning("%s", HOSTILE)
    if way == "usage":
        raise click.UsageError(HOSTILE)


@pytest.mark.fast
@pytest.mark.parametrize("way", ["line", "error", "log", "usage", f"--{HOSTILE}"])
def test_no_control_character_reaches_the_terminal(way: str) -> None:
    group = LazyGroup("pocketlens", lazy={"hostile": (f"{__name__}:hostile", "")})
    result = CliRunner().invoke(group, ["hostile", way])
    words = result.stdout + result.stderr
    assert all(c.isprintable() or c == "\n" for c in words), words
    assert r"\x1b[2Jgone" in words
    if way in ("line", "log"):  # elsewhere a line's end is a blank or the end of a line
        assert ESCAPED in words


@pytest.mark.fast
def test_only_one_module_prints() -> None:
    for package in ("runtime", "trainer", "exporter"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                prints = called in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")
                assert not prints, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} prints by itself"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("way", [(), ("--csv",), ("--top", 3, "--debug")])
def test_what_an_encoding_lacks_does_not_end_the_batch(
    encoding: str, way: tuple[object, ...], digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    file = read_model(digits_export.int8)
    labels = tuple(f"猫 {label}" for label in file.contract.labels)
    (tmp_path / "cats.tflite").write_bytes(seal(file.flatbuffer, replace(file.contract, labels=labels)))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "é 猫.png", "z.png"):
        shutil.copy(digits_samples.files[0], folder / name)
    command = map(str, ("-m", "runtime.cli.main", "classify", "--model", "cats.tflite", *way, folder))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "1"}
    result = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert result.stderr == b""
    lines = result.stdout.decode(encoding).splitlines()
    assert r"\u732b" in lines[-1]
    assert sum("z.png" in line for line in lines) >= 1
    assert any(r"\u732b.png" in line for line in lines)


@pytest.mark.fast
def test_a_stream_without_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", "strict"))
    output.print_line("é 猫 \U0001f431")
    output.print_csv("é", 1)
    output.print_json("é")
    assert raw.getvalue() == b"\\xe9 \\u732b \\U0001f431\n\\xe9,1\n" + b'"\\u00e9"\n'
    monkeypatch.setattr(sys, "stdout", None)  # a daemon's
    output.print_line("nowhere")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"\t=1"),
        ("-", "-"),
        (-1, "-1"),
        (0.5, "0.5"),
        ("a=1", "a=1"),
        ("a,b", "a,b"),
        (HOSTILE, ESCAPED),
    ],
)
def test_a_cell_is_no_formula(cell: object, written: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_csv(cell, "x")
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [[written, "x"]]


@pytest.mark.fast
def test_a_long_label_is_cut_in_messages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ContractError) as caught:
        refuse_field("a label", "x" * 4_000_000, "printable text")
    assert len(str(caught.value)) < 500
    assert str(caught.value).endswith("expected printable text")
    output.print_line("a" + "x" * 4_000_000 + "the cure")
    line = capsys.readouterr().out
    assert len(line) < 5000
    assert line.startswith("ax")
    assert line.endswith("the cure\n")
    output.print_json("x" * 4_000_000)
    assert len(capsys.readouterr().out) == 4_000_003


def test_what_a_native_library_wrote_is_escaped_too() -> None:
    code = """
import os
from runtime.native_output import held_stderr
try:
    with held_stderr():
        os.write(2, b"op \\x1b[31m\\xff\\n")
        raise ValueError
except ValueError:
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stderr == b"op \\x1b[31m\\ufffd\n"
