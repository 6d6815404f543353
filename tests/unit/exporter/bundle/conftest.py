"""A package index without a network, and one wheel of our package for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.bundle.own_wheel import own_wheel
from exporter.bundle.wheels import Wheel, find_wheels
from tests.support.bundles import this_machine, use_index, write_index


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(autouse=True)
def no_network(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_index(monkeypatch, index)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from the checkout."""
    found = own_wheel()
    path = tmp_path_factory.mktemp("wheel") / found.file
    path.write_bytes(found.content)
    return path


@pytest.fixture(scope="session")
def wheels(index: Path, wheel: Path) -> list[Wheel]:
    """What pip finds for this machine; tests of other things need not ask it again."""
    with pytest.MonkeyPatch.context() as patch:
        use_index(patch, index)
        return find_wheels(own_wheel(wheel), this_machine())
