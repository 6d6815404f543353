"""Downloads from servers that never end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.data import download as downloads
from trainer.data.download import download
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


class Dripping:
    """A server that sends something at once, and then a byte every twentieth of a second."""

    def __init__(self, at_once: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/file"
        self.closed = threading.Event()
        threading.Thread(target=self._serve, args=(at_once,), daemon=True).start()

    def _serve(self, at_once: bytes) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.sendall(at_once)
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)
            except OSError:
                self.closed.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(params=[b"", b"HTTP/1.1 200 OK\r\nA: ", HEADERS, HEADERS + bytes(50_000)])
def dripping(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    server = Dripping(request.param)
    yield server
    server.close()


def test_a_server_that_drips_is_given_up(dripping: Dripping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(downloads, "_LEAST_SPEED", 100_000)
    started = time.monotonic()
    with pytest.raises(DatasetError, match=r"/file: too slow: \d+ bytes in \d s; try again later"):
        download(dripping.url, tmp_path / "file", limit=10**6, check=lambda path: None)
    assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


def test_the_connection_is_closed_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PATIENCE_S", 0.3)
    server = Dripping(HEADERS)
    with pytest.raises(DatasetError, match="too slow"):
        download(server.url, tmp_path / "file", limit=10**6, check=lambda path: None)
    assert server.closed.wait(5)
    server.close()
