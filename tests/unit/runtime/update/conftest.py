"""A repository with two releases, made once and copied for each test, and a device that has the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.deployment import InstallResult, Release, Slot
from runtime.update import updating
from tests.support.updates import Device, Publisher, WebServer, web_server


def _install(slot: Slot, candidate: Path, release: Release, *, probation: float, **_: Any) -> InstallResult:
    candidate.replace(slot.model)
    before = slot.current
    slot.write_state(slot.state._replace(current=release, previous=before))
    return InstallResult(release, before, "", 0, 0, None, 0.0)


@pytest.fixture(autouse=True)
def plain_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after verification is tested with `runtime.deployment`; here a verified file takes its place."""
    monkeypatch.setattr(updating, "install", _install)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, which may be busy."""
    monkeypatch.setattr("os.fsync", lambda _handle: None)


@pytest.fixture(scope="session")
def first_state(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A repository with one release; not to be changed."""
    publisher = Publisher(tmp_path_factory.mktemp("first"))
    publisher.add(1)
    return publisher


@pytest.fixture(scope="session")
def second_state(first_state: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """The same with a second release; not to be changed."""
    publisher = first_state.copy(tmp_path_factory.mktemp("second"))
    publisher.add(2)
    return publisher


@pytest.fixture
def publisher(first_state: Publisher, tmp_path: Path) -> Publisher:
    """A repository with one release, to be changed."""
    return first_state.copy(tmp_path / "publisher")


@pytest.fixture
def server(publisher: Publisher) -> Iterator[WebServer]:
    """A web server of that repository."""
    with web_server(publisher.folder) as found:
        yield found


@pytest.fixture
def device(publisher: Publisher, server: WebServer, tmp_path: Path) -> Device:
    """A device that has the first release."""
    made = Device(tmp_path / "device", server.address, publisher.folder / "metadata" / "1.root.json")
    assert made.update().status == "installed"
    return made
