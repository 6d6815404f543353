"""Tables and long lines of results, in terminals of several widths and in a pipe."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from runtime.cli.tables import cell_width, columns
from tests.support.commands import ROOT

pyte = pytest.importorskip("pyte")

from tests.support.terminal import run_in_terminal  # noqa: E402

pytestmark = pytest.mark.fast

LONG = "Donaudampfschifffahrtsgesellschaftskapitän"
PROGRAM = f"""
from runtime.cli.output import print_line, print_wrapped
from runtime.cli.tables import columns
heads = ["class", "precision", "recall", "F1", "support", "average precision"]
numbers = ["0.1234", "0.9750", "1.0000", "1,234,567", "0.5"]
for line in columns([heads, ["cat", *numbers], [{LONG!r}, *numbers]]):
    print_line(line)
print_wrapped("  labels    " + ", ".join(["T-shirt/top", "Trouser", "Pullover"] * 4), 12)
"""
#: Every cell of the table in `PROGRAM` that may not be shortened.
NUMBERS = {"0.1234", "0.9750", "1.0000", "1,234,567", "0.5"}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_row_is_wrapped_and_no_number_is_cut(width: int) -> None:
    found = run_in_terminal(width, sys.executable, "-c", PROGRAM, PYTHONPATH=str(ROOT))
    assert found.status == 0
    table = [line for line in found.lines if not line.startswith("  labels") and "T-shirt" not in line]
    rows = [line for line in table if line.startswith("cat")]
    assert {word for line in rows for word in line.split()} == {"cat", *NUMBERS}
    cut = [line.split("  ")[0] for line in table if line.startswith("Dona")]
    assert len(cut) == len(rows) == (1 if width >= 80 else 2)
    assert cut == [LONG] * len(cut) if width == 120 else all("…" in label and label.endswith("än") for label in cut)
    start = next(place for place, line in enumerate(found.lines) if line.startswith("  labels"))
    below = found.lines[start + 1 :]
    assert all(line.startswith(" " * 12) for line in below)
    text = " ".join(line.strip() for line in found.lines[start:])
    assert text.endswith("T-shirt/top, Trouser, Pullover"), "a line ends between words"
    assert text.count("Pullover") == 4


def test_a_pipe_gets_every_letter() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    head, *rows, labels = done.stdout.splitlines()
    assert LONG in rows[-1]
    assert len(rows) == 2
    assert len(head) == len(rows[0]) == len(rows[1])
    assert labels.count("Pullover") == 4


def test_columns_are_repeated_in_each_part() -> None:
    rows = [["interpreter", "threads", *(f"column {n}" for n in range(9))], ["tflite-runtime", "4", *"123456789"]]
    lines = columns(rows, left=2, width=60)
    assert max(map(len, lines)) <= 60
    assert [line.split()[0] for line in lines if line] == ["interpreter", "tflite-runtime"] * 3
    numbers = [line.split()[1:] for line in lines if line.startswith("tflite")]
    assert numbers == [["4", *"123"], ["4", *"456"], ["4", *"789"]]


def test_left_columns_that_fill_the_terminal_are_not_all_repeated() -> None:
    rows = [["layer", "kind", "multiply-adds"], ["a_layer_of_a_long_name", "GlobalAveragePooling2D", "1,234,567,890"]]
    lines = columns(rows, left=2, width=40)
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines if line] == ["layer", lines[1].split()[0]] * 2
    assert "  kind" in lines[0], "kind stays aligned to the left"
    assert sum("1,234,567,890" in line for line in lines) == 1


def test_names_that_differ_at_their_end_stay_apart() -> None:
    runs = [f"/home/person/projects/pocketlens/runs/photos-{n}" for n in range(3)]
    lines = columns([["what differs", *runs], ["learning rate", "0.1", "0.2", "0.3"]], width=80)
    assert len(lines) == 2
    assert len({*lines[0].split()[2:]}) == 3
    assert all(len(line) <= 80 for line in lines)


def test_letters_of_two_columns_keep_the_table_straight() -> None:
    lines = columns([["class", "n"], ["猫", "1"], ["e\u0301te\u0301", "20"], ["a", "3"]])
    ends = [cell_width(line) for line in lines]
    assert all(a == b for a, b in pairwise(ends))
    assert cell_width("猫") == 2
    assert max(cell_width(line) for line in columns([["a", "b"], ["猫" * 40, "12"]], width=40)) <= 40


def test_a_table_of_one_wide_column_is_shortened() -> None:
    (line,) = columns([["x" * 100]], width=40)
    assert len(line) <= 40
    assert columns([["1" * 100]], width=40) == ["1" * 100], "a number stays whole"
