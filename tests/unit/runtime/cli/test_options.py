"""The quick parser reads a line as click does, or leaves it to click."""

from __future__ import annotations

import click
import pytest

from runtime.cli.app import click_command
from runtime.cli.classify import COMMAND
from runtime.cli.options import parse

pytestmark = pytest.mark.fast

PLAIN = [
    [],
    ["a.png"],
    ["a.png", "b c.png", "-", "*.jpg", ""],
    ["--model", "m.tflite", "a.png"],
    ["--model=m.tflite", "a.png", "--top", "5"],
    ["--model=", "a.png"],
    ["--model=a=b", "--from-file", "-"],
    ["--top", "1", "--top", "2", "a.png"],
    ["--min-score", "0.5", "--allow", "cat", "--allow=dog", "--deny", "a b", "a.png"],
    ["--json", "-r", "folder"],
    ["--csv", "--recursive", "folder", "--threads", "4"],
    ["--interpreter", "tflite_runtime", "--delegate", "libedgetpu.so.1", "a.png"],
    ["--min-score", "1", "--min-score", "1e-3"],
    ["--mean", "-127.5", "--std", "58", "a.png"],
    ["--labels", "l.txt", "--mean", "127.5", "--std=1,2,3", "--background", "0,0,0", "--colour", "bgr", "a.png"],
]
UNUSUAL = [
    ["--help"],
    ["a.png", "-h"],
    ["--debug", "a.png"],
    ["--top", "0", "a.png"],
    ["--top", "1.5"],
    ["--top", "x"],
    ["--top"],
    ["--top="],
    ["--threads", "65"],
    ["--min-score", "1.1"],
    ["--min-score", "nan"],
    ["--interpreter", "torch"],
    ["--json=yes", "a.png"],
    ["--mean", "1,2"],
    ["--background", "1,2,x"],
    ["--jso", "a.png"],
    ["--no-such", "a.png"],
    ["-r=1", "a.png"],
    ["-rh", "a.png"],
    ["--model", "--json", "a.png"],
    ["--model", "-", "a.png"],
    ["--", "-a.png"],
]


@pytest.mark.parametrize("line", PLAIN, ids=" ".join)
def test_a_plain_line_is_read_as_click_reads_it(line: list[str]) -> None:
    by_click = click_command(COMMAND).make_context("classify", list(line), resilient_parsing=False).params
    assert parse(COMMAND, line) == by_click


@pytest.mark.parametrize("line", UNUSUAL, ids=" ".join)
def test_an_unusual_line_is_left_to_click_or_read_alike(line: list[str]) -> None:
    quickly = parse(COMMAND, line)
    if quickly is not None:
        assert quickly == click_command(COMMAND).make_context("classify", list(line)).params


@pytest.mark.parametrize("line", [line for line in UNUSUAL if line not in (["--model", "-", "a.png"],)], ids=" ".join)
def test_what_click_refuses_is_never_read_quickly(line: list[str]) -> None:
    assert parse(COMMAND, line) is None


def test_the_two_parsers_know_the_same_options() -> None:
    flags = {flag for option in COMMAND.options for flag in option.flags}
    known = {flag for param in click_command(COMMAND).params if isinstance(param, click.Option) for flag in param.opts}
    assert known - flags == {"--debug"}
    assert flags <= known


def test_any_line_that_is_read_quickly_is_read_as_click_reads_it() -> None:
    pytest.importorskip("hypothesis")  # not on a device
    from hypothesis import given, settings
    from hypothesis import strategies as st

    command = click_command(COMMAND)
    values = st.sampled_from(
        [
            "a.png",
            "-",
            "--",
            "",
            "0",
            "1",
            "-1",
            "65",
            "0.5",
            "1.0",
            "1e-3",
            "nan",
            "inf",
            "-.5",
            "1,2,3",
            "0,0,0",
            "1,",
            "x",
        ]
        + [choice for option in COMMAND.options for choice in option.choices]
    ) | st.text(max_size=4)
    flags = st.sampled_from([flag for option in COMMAND.options for flag in option.flags] + ["--debug", "-x", "--mod"])
    words = (
        values.map(lambda value: [value])
        | flags.map(lambda flag: [flag])
        | st.tuples(flags, values).map(list)
        | st.tuples(flags, values).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    )
    read = 0

    @settings(max_examples=1500, deadline=None, derandomize=True)
    @given(st.lists(words, max_size=5).map(lambda parts: [word for part in parts for word in part]))
    def agree(line: list[str]) -> None:
        nonlocal read
        quickly = parse(COMMAND, line)
        if quickly is not None:
            read += 1
            by_click = command.make_context("classify", list(line)).params
            assert repr(sorted(quickly.items())) == repr(sorted(by_click.items()))

    agree()
    assert read > 100
