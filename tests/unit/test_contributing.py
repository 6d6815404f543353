"""CONTRIBUTING.md: what it names exists, and it stays short enough to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    # A line for each room and each decision: the search and the budget of a device brought rooms.
    assert len(TEXT.splitlines()) <= 185


def test_every_path_that_it_names_exists() -> None:
    paths = re.findall(r"`((?:runtime|trainer|exporter|tests|tools|benchmarks|fuzz)/[\w/.]*)`", TEXT)
    assert len(paths) > 40
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_every_folder_of_the_packages_is_on_the_map() -> None:
    folders = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for package in ("runtime", "trainer", "exporter")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert folders <= set(re.findall(r"^\| `([\w/]+)`", TEXT, re.MULTILINE))


def test_every_target_that_it_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert len(named) > 10
    assert named <= targets
