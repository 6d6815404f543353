"""Webhooks with a real server: what arrives, signatures, and answers that are none."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.outputs import webhook
from runtime.outputs.credentials import OutputSettingError
from runtime.outputs.outputs import Outputs
from runtime.outputs.sink import OutputError
from runtime.outputs.webhook import WebhookSink, read_webhook_secret
from tests.support.outputs import event_of, wait_until


class Server(ThreadingHTTPServer):
    """Answers with the statuses of a list, one after the other, and with 204 after them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append((self.path, dict(self.headers), body))
        self.send_response(server.statuses.pop(0) if server.statuses else 204)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        raise AssertionError("a redirection was followed")

    def log_message(self, *_arguments: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def quick(sink: WebhookSink) -> WebhookSink:
    sink.pauses = (0.001, 0.01)
    return sink


def test_an_event_is_posted_and_signed(server: Server) -> None:
    with Outputs([WebhookSink(f"{server.url}/a%2Fb?token=1", b"secret")]) as outputs:
        outputs.tell(event_of("open"))
    ((path, headers, body),) = server.requests
    assert path == "/hook/a%2Fb?token=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Pocketlens-Signature-256"] == "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert json.loads(body) == {"number": 1, **event_of("open").as_dict()}
    assert [*outputs.counts] == [server.url.removesuffix("/hook")], "a path may hold a token"


def test_without_a_secret_nothing_is_signed(server: Server) -> None:
    WebhookSink(server.url).send(1, event_of("open"))
    assert "X-Pocketlens-Signature-256" not in server.requests[0][1]


def test_a_server_that_fails_is_asked_again_until_it_has_each_event(server: Server) -> None:
    server.statuses = [500, 503, 429, 408, 204, 502]
    sink = quick(WebhookSink(server.url))
    with Outputs([sink]) as outputs:
        for label in ("open", "closed"):
            outputs.tell(event_of(label))
        wait_until(lambda: outputs.counts[sink.name].told == 2)
    assert [json.loads(body)["label"] for _, _, body in server.requests] == ["open"] * 5 + ["closed"] * 2
    assert outputs.counts[sink.name] == (2, 0, 0, 0)


@pytest.mark.parametrize(("status", "cure"), [(404, "check the address"), (302, "name the address it leads to")])
def test_an_event_that_is_refused_is_given_up_after_five_attempts(
    status: int, cure: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "runtime")
    server.statuses = [status] * 5
    server.headers = {"Location": "/elsewhere"}
    sink = quick(WebhookSink(server.url))
    with Outputs([sink]) as outputs:
        for label in ("open", "closed"):
            outputs.tell(event_of(label))
        wait_until(lambda: outputs.counts[sink.name] == (1, 0, 1, 0))
    assert [json.loads(body)["label"] for _, _, body in server.requests] == ["open"] * 5 + ["closed"]
    first = caplog.messages[0]
    assert first.startswith(f"warning: {sink.name}: status {status}")
    assert cure in first
    assert len(caplog.messages) <= 3, "a trouble that repeats is told at growing intervals"


def test_a_server_may_ask_for_a_pause(server: Server) -> None:
    server.statuses, server.headers = [503, 503], {"Retry-After": "7"}
    with pytest.raises(OutputError, match="status 503 Service Unavailable") as caught:
        WebhookSink(server.url).send(1, event_of("open"))
    assert (caught.value.pause, caught.value.attempts) == (7.0, None)
    server.headers = {"Retry-After": "99999999999999"}
    with pytest.raises(OutputError) as caught:
        WebhookSink(server.url).send(1, event_of("open"))
    assert caught.value.pause == 600.0


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_STEP_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = WebhookSink(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(OutputError, match=r"no answer within 0.2 s; check the address"):
            sink.send(1, event_of("open"))
    with pytest.raises(OutputError, match="Connection refused"):
        sink.send(1, event_of("open"))


def test_a_server_that_answers_byte_by_byte_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_TIMEOUT_S", 0.5)
    ended = threading.Event()

    def trickle(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            while not ended.wait(0.05):
                try:
                    client.send(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,), daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(OutputError):
            WebhookSink(f"http://127.0.0.1:{listener.getsockname()[1]}/").send(1, event_of("open"))
        assert time.monotonic() - began < 5
        ended.set()
        thread.join(5)


def test_passwords_are_refused_and_secrets_read_from_private_files(tmp_path: Path) -> None:
    with pytest.raises(OutputSettingError, match="`webhook` holds a user name or a password") as caught:
        WebhookSink("https://me:word@host/hook")
    assert "word@" not in str(caught.value)
    with pytest.raises(OutputSettingError, match="expected an address like https"):
        WebhookSink("ftp://host/hook")
    assert read_webhook_secret(None, {}) is None
    assert read_webhook_secret(None, {"POCKETLENS_WEBHOOK_SECRET": "s"}) == b"s"
    file = tmp_path / "secret"
    file.write_text("\n")
    with pytest.raises(OutputSettingError, match="chmod 600"):
        read_webhook_secret(str(file))
    file.chmod(0o600)
    with pytest.raises(OutputSettingError, match="empty"):
        read_webhook_secret(str(file))
    file.write_text("abc\n")
    assert read_webhook_secret(str(file)) == b"abc"
