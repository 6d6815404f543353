"""`pocketlens watch` as a process that tells a web server, keeps snapshots and uncertain frames."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import Samples
from tests.support.outputs import wait_until
from tests.support.watching import Running


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.bodies.append((json.loads(body), self.headers.get("X-Pocketlens-Signature-256", "")))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.bodies = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_watch_tells_all_outputs_and_what_was_missed_after_a_restart(
    start: Callable[..., Running], digits_samples: Samples, tmp_path: Path, server: Any
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(digits_samples.files[0], folder / "a.png")
    dead = ("--webhook", "http://127.0.0.1:1/hook", "--state", tmp_path / "state")
    watch = start(folder, *dead)
    (first,) = watch.lines(1)
    wait_until(lambda: "Connection refused; check the address" in watch.errors)
    assert watch.stop(signal.SIGKILL) == -signal.SIGKILL
    shutil.copy(digits_samples.files[1], folder / "b.png")
    url = f"http://127.0.0.1:{server.server_port}/hook"
    pictures = ("--snapshots", tmp_path / "pictures", "--uncertain", tmp_path / "unsure")
    watch = start(folder, "--webhook", url, "--state", tmp_path / "state", *pictures, POCKETLENS_WEBHOOK_SECRET="s")
    (second,) = [line for line in watch.lines(1) if line["path"].endswith("b.png")]
    wait_until(lambda: any(body["source"].endswith("b.png") for body, _ in server.bodies))
    assert watch.stop() == 0
    told = {body["source"]: body for body, _ in server.bodies}
    for line in (first, second):
        body = told[line["path"]]
        assert body["label"] == line["predictions"][0]["label"]
        assert body["score"] == line["predictions"][0]["score"]
    assert all(signature.startswith("sha256=") for _, signature in server.bodies)
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.read_bytes().startswith(b"\xff\xd8\xff")
    kept = {path.suffix for path in (tmp_path / "unsure").iterdir()}
    assert kept == {".jpg", ".json"}
