"""A signed repository, a web server for it that can be hostile, and devices that take updates from it."""

from __future__ import annotations

import http.server
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from exporter.repository.admission import Admitted
from exporter.repository.keys import KeyFolder
from exporter.repository.repository import Repository
from runtime import Classifier
from runtime.update.clock import MachineClock
from runtime.update.releases import Offer
from runtime.update.rings import FULL_ROLLOUT
from runtime.update.updating import UpdateOutcome, UpdateSettings, update_once
from tests.support.slots import APP, slot_model

DAY_S = 86_400.0


@cache
def content_of(number: int) -> bytes:
    """The model file of a release: it works, and answers "light" for white pixels."""
    return slot_model(number)


class Publisher:
    """A repository in `folder/repo` with its keys in `folder/keys`; they have no passphrase, which takes time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repo"
        self.keys = KeyFolder(folder / "keys", lambda: "")
        if not self.folder.exists():
            Repository.create(self.folder, self.keys)

    @property
    def repository(self) -> Repository:
        return Repository(self.folder, self.keys)

    def add(self, number: int, app: str = APP, rollout: int = FULL_ROLLOUT) -> Offer:
        """Publish `content_of(number)`."""
        admitted = Admitted(content_of(number), b"{}", "", {})
        return self.repository.add(app, f"{number}.tflite", admitted, rollout=rollout)

    def copy(self, folder: Path) -> Publisher:
        """The same repository and keys once more."""
        shutil.copytree(self.folder.parent, folder, dirs_exist_ok=True)
        return Publisher(folder)


class FakeMachine(MachineClock):
    """A machine whose clock is set by hand."""

    def __init__(self, now: float | None = None) -> None:
        self.time = time.time() if now is None else now
        self.up, self.start = 100.0, "first"

    def now(self) -> float:
        return self.time

    def uptime(self) -> float:
        return self.up

    def boot(self) -> str:
        return self.start

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the machine runs."""
        self.time += seconds
        self.up += seconds

    def restart(self, now: float) -> None:
        """Start the machine again; its clock begins anew."""
        self.time, self.up, self.start = now, 5.0, f"{self.start}+"


class Device:
    """A device in a folder, which trusts a publisher's root."""

    def __init__(self, folder: Path, source: object, root: Path | None = None, **settings: Any) -> None:
        self.folder = folder
        self.machine = FakeMachine()
        if root is not None:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root, folder / "root.json")
        self.settings = UpdateSettings(str(source), settings.pop("app", APP), folder, **settings)

    def update(self, source: object = "") -> UpdateOutcome:
        """One look at its repository, or at another place."""
        settings = self.settings._replace(source=str(source)) if source else self.settings
        return update_once(settings, self.machine)

    @property
    def model(self) -> bytes:
        """The model that its services run."""
        path = self.folder / "model.tflite"
        return path.read_bytes() if path.exists() else b""

    def answers(self) -> str:
        """What its model answers to a white picture."""
        with Classifier(self.folder / "model.tflite") as classifier:
            return classifier.classify(np.full((2, 2), 255, np.uint8))[0].label


class WebServer(http.server.ThreadingHTTPServer):
    """Serves a folder on a free port of this machine.

    Attributes:
        folder: what is served; it may be changed.
        sent: bytes that were sent, the heads of answers included.
        asked: the paths of all requests.
        hostile: functions that answer in place of the file, by path.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, 0
        self.asked: list[str] = []
        self.hostile: dict[str, Callable[[Any], None]] = {}
        self.guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A device that hangs up is no fault."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: WebServer

    def __init__(self, request: Any, address: Any, server: WebServer) -> None:
        super().__init__(request, address, server, directory=str(server.folder))

    def setup(self) -> None:
        super().setup()
        write = self.wfile.write

        def counted(data: bytes) -> int:
            with self.server.guard:
                self.server.sent += len(data)
            return write(data)

        self.wfile.write = counted  # type: ignore[method-assign, assignment]

    def do_GET(self) -> None:
        with self.server.guard:
            self.server.asked.append(self.path)
        answer = self.server.hostile.get(self.path)
        if answer is None:
            super().do_GET()
        else:
            answer(self)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    """A server in a thread."""
    server = WebServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
