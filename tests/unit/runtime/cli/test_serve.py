"""`pocketlens serve` as a process: its first line, its answers, who may reach it, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.commands import invoke, run_pocketlens
from tests.support.exports import Exported, Samples
from tests.support.serving import ServeProcess, encoded

TOKEN = "correct-horse-battery"


def test_answers_equal_those_of_classify_and_sigterm_ends_it(digits_export: Exported, digits_samples: Samples) -> None:
    files = [str(path) for path in digits_samples.files[:8]]
    said = run_pocketlens("classify", "--json", "--model", digits_export.int8, *files)
    expected = [json.loads(line)["predictions"] for line in said.stdout.splitlines()]
    with ServeProcess("--model", digits_export.int8) as process:
        server = process.served
        assert process.first_line == {"url": server.url, "host": "127.0.0.1", "port": server.port}
        found = [server.ask("/v1/classify", Path(file).read_bytes()).value["predictions"] for file in files]
        assert found == expected
        info = json.loads(run_pocketlens("info", "--json", digits_export.int8).stdout)
        model = server.ask("/v1/model").value
        assert (model["sha256"], model["contract"]) == (info["sha256"], info["contract"])
        assert process.stop() == (0, "", "")


def test_with_a_source_it_prints_the_changes(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    for number, file in enumerate(digits_samples.files[:6]):
        (tmp_path / f"{number}{file.suffix}").write_bytes(file.read_bytes())
    with ServeProcess("--model", digits_export.int8, "--source", tmp_path) as process:
        process.served.ask("/healthz")
        status, out, errors = process.stop(signal.SIGINT)
    assert status == 0
    assert all(json.loads(line)["label"] for line in out.splitlines())
    assert "Traceback" not in errors


def test_it_reports_to_systemd(digits_export: Exported, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with ServeProcess("--model", digits_export.int8, **variables) as process:
            messages = [manager.recv(4096).decode() for _ in range(5)]
            process.stop()
            while "STOPPING=1" not in messages:
                messages.append(manager.recv(4096).decode())
    assert f"STATUS=listening on {process.served.url}" in messages
    assert "READY=1" in messages
    assert messages.count("WATCHDOG=1") >= 2


def test_a_taken_port_and_a_foreign_address_are_one_line(digits_export: Exported) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for where in (("--port", taken.getsockname()[1]), ("--host", "192.0.2.1", "--no-auth")):
            result = run_pocketlens("serve", "--model", digits_export.int8, *where)
            assert result.returncode == 1
            assert result.stderr.startswith("error: ")
            assert "choose another with --host and --port" in result.stderr
            assert result.stderr.count("\n") == 1


def test_the_token_of_a_file_is_demanded(digits_export: Exported, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with ServeProcess("--model", digits_export.int8, "--token", file, "--host", "0.0.0.0") as process:
        server = process.served._replace(host="127.0.0.1")
        assert server.ask("/v1/classify", encoded()).status == 401
        assert server.ask("/v1/classify", encoded(), Authorization=f"Bearer {TOKEN}").status == 200
        assert TOKEN not in Path(f"/proc/{process.process.pid}/cmdline").read_text()
        _, _, errors = process.stop()
    assert "other accounts may read it" in errors


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "variables", "status", "message"),
    [
        (("--host", "0.0.0.0"), {}, 2, "--host 0.0.0.0 lets others in: give --token FILE"),
        (("--host", "::"), {}, 2, "or --no-auth if all may ask"),
        (("--host", "door.local"), {}, 2, "lets others in"),
        (("--no-auth",), {"POCKETLENS_TOKEN": TOKEN}, 2, "exclude each other"),
        ((), {"POCKETLENS_TOKEN": "short"}, 1, "$POCKETLENS_TOKEN: a token of 5 characters, expected at least 16"),
        (("--token", "missing"), {}, 1, "missing: cannot be opened"),
        (("--port", "70000"), {}, 2, "expected a whole number from 0 to 65,535"),
        (("--max-body", "much"), {}, 2, "is no number of bytes"),
    ],
)
def test_mistakes_are_named_before_a_model_is_loaded(
    options: tuple[str, ...], variables: dict[str, str], status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POCKETLENS_TOKEN", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = invoke("serve", *options)
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (status, True), result.stderr


@pytest.mark.fast
def test_without_its_extra_it_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name))
    result = invoke("serve")
    assert result.exit_code == 1
    assert result.stderr == "error: `pocketlens serve` needs uvicorn: pip install 'pocketlens[serve]'\n"


def test_a_connection_sends_what_it_has_at_once() -> None:
    """Otherwise the second part of an answer waits for a late acknowledgement, 40 ms on Linux."""
    from runtime.serve.listener import open_listener

    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
