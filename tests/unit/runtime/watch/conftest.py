"""A watch of the digits model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.exports import Exported
from tests.support.watching import Running


@pytest.fixture
def start(tmp_path: Path, digits_export: Exported) -> Iterator[Callable[..., Running]]:
    """Starts `pocketlens watch --json` with the digits model; all are ended after the test."""
    running: list[Running] = []

    def begin(*arguments: object, **variables: str) -> Running:
        quick = ("--settle", 0.1, "--interval", 0.05, "--model", digits_export.int8, "--json")
        running.append(Running(tmp_path / f"log{len(running)}", *quick, *arguments, **variables))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()
