"""A server of pictures in a thread of this process, and one in a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from runtime.classifier import Classifier
from runtime.postprocessing import Prediction
from runtime.serve.app import PictureServer, ServedModel
from runtime.serve.connections import Connections, HttpServer
from runtime.serve.limits import ServeLimits
from runtime.serve.listener import open_listener
from runtime.serve.live_view import LiveView
from runtime.testing import FakeInterpreter
from tests.support.commands import ROOT

if TYPE_CHECKING:
    from trainer.review.app import Review


def fake_classifier() -> Classifier:
    """Answers cat and dog in turn."""
    return FakeInterpreter(["cat", "dog"], [[0.9, 0.1]]).classifier()


def encoded(seed: int = 0, side: int = 8, kind: str = "PNG") -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


class Reply(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Served(NamedTuple):
    """A server that listens."""

    host: str
    port: int
    connections: Connections

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """An answer to a GET, or to a POST with a body; underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, named)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def connect(self, *parts: bytes, timeout: float = 20) -> socket.socket:
        """A connection that has sent the parts."""
        connection = socket.create_connection((self.host, self.port), timeout)
        for part in parts:
            connection.sendall(part)
        return connection


def rest_of(connection: socket.socket) -> bytes:
    """What arrives until the server closes the connection; it is closed here then."""
    parts = []
    with connection, suppress(ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@contextmanager
def served(
    classify: Callable[..., list[Prediction]] | None = None,
    *,
    limits: ServeLimits | None = None,
    token: str | None = None,
    names: Collection[str] = (),
    live: LiveView | None = None,
    workers: int = 2,
) -> Iterator[Served]:
    """A server on a free port of the loopback, in a thread; by default it answers with a fake model."""
    description = {"labels": ["cat", "dog"], "contract": {}, "sha256": "", "version": "0"}
    model = ServedModel(classify or fake_classifier().classify, lambda: description)
    pictures = PictureServer(model, limits or ServeLimits(), workers, token, names, live)
    end: Callable[[], object] = live.close if live is not None else lambda: None
    with listening(pictures, live.start if live is not None else lambda: None, end) as server:
        yield server


@contextmanager
def listening(
    pictures: PictureServer | Review,
    begin: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
    port: int = 0,
) -> Iterator[Served]:
    """A server on the loopback, in a thread, by default on a free port; it is closed at the end."""
    started, stopped = threading.Event(), threading.Event()

    def start() -> None:
        begin()
        started.set()

    server = HttpServer(pictures.app, pictures.connections, lambda: not stopped.is_set(), start, end)
    with open_listener("127.0.0.1", port) as listener:
        thread = threading.Thread(target=server.listen, args=(listener,))
        thread.start()
        try:
            assert started.wait(20)
            host, port = listener.getsockname()
            yield Served(host, port, pictures.connections)
        finally:
            stopped.set()
            thread.join(30)
            pictures.close()
            assert not thread.is_alive(), "the server does not end"


class ServeProcess:
    """`pocketlens serve` in a process of its own, on a free port."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        command = [sys.executable, "-m", "runtime.cli.main", "serve", "--json", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.first_line = json.loads(line)
        self.served = Served(self.first_line["host"], self.first_line["port"], Connections(ServeLimits()))

    def __enter__(self) -> ServeProcess:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """The exit status and what was printed since the first line."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors
