from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.service import Service, notify, watchdog_period

pytestmark = pytest.mark.fast


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, and its address as the variable holds it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@pocketlens-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1))
        server.settimeout(10)
        yield name, server


def received(server: socket.socket) -> list[str]:
    """What has come so far."""
    server.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(server.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_a_service_tells_its_manager(manager: tuple[str, socket.socket]) -> None:
    address, server = manager
    with Service({"NOTIFY_SOCKET": address}) as service:
        service.ready()
        service.status("3 answered\nREADY=1")
        service.status("3 answered\nREADY=1")
        assert service.keep_going()
    assert received(server) == ["READY=1", "STATUS=3 answered READY=1", "STOPPING=1"]


def test_signs_of_life_come_while_it_waits(manager: tuple[str, socket.socket]) -> None:
    address, server = manager
    with Service({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}) as service:
        service.wait(0.32)
    messages = received(server)
    assert messages.pop() == "STOPPING=1"
    assert set(messages) == {"WATCHDOG=1"}
    assert 2 <= len(messages) <= 7  # every 50 ms, fewer on a busy machine


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_when_signs_of_life_are_due(variables: dict[str, str], seconds: float | None) -> None:
    assert watchdog_period(variables) == seconds


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@nobody", "vsock:2:1234"])
def test_a_manager_that_is_not_there_is_no_error(address: str | None) -> None:
    assert not notify(address, "READY=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Service({}) as service:
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        began = time.monotonic()
        assert not service.wait(60)
        assert time.monotonic() - began < 30
        assert service.stopping
        assert not service.keep_going()
    assert signal.getsignal(number) == before
