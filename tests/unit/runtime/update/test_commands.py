"""`pocketlens repo` and `pocketlens update` as a person or a script uses them."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.cli.app import MissingExtraError
from tests.support.commands import ROOT, answer, invoke, run_pocketlens
from tests.support.slots import APP
from tests.support.updates import Device, Publisher, WebServer, content_of, web_server
from tests.unit.exporter.repository.test_admission import write_model, write_report

pytestmark = pytest.mark.fast


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder, with keys in it, and a model whose report passed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("POCKETLENS_REPO_PASSPHRASE", "correct horse")
    monkeypatch.chdir(tmp_path)
    write_report(write_model(tmp_path))
    return tmp_path


def as_json(*arguments: object) -> Any:
    return json.loads(answer(*arguments, "--json"))


def test_the_life_of_a_release(environment: Path) -> None:
    made = as_json("repo", "init", "repo")
    assert made["keys"] == str(environment / "config" / "pocketlens" / "keys")
    added = as_json("repo", "add", "repo", "int8.tflite", "--app", "door", "--rollout", "10%")
    assert (added["app"], added["version"], added["rollout"], added["revoked"], added["forced"]) == (
        "door",
        1,
        0.1,
        False,
        "",
    )
    assert as_json("repo", "promote", "repo", "--app", "door")["rollout"] == 1
    assert "is for 100 % of the devices now" in answer("repo", "promote", "repo", "--app", "door")
    device = ("update", "--from", "repo", "--app", "door", "--into", "device")
    fetched = as_json(*device, "--root", "repo/metadata/root.json", "--device-id", "pi-1", "--probation", "0")
    assert {"app", "status", "release", "previous", "reason", "received", "requests", "probation"} == fetched.keys()
    assert (fetched["status"], fetched["release"]["version"]) == ("installed", 1)
    assert (environment / "device" / "model.tflite").read_bytes() == (environment / "int8.tflite").read_bytes()
    assert "is the newest for this device" in answer(*device)
    assert as_json("repo", "revoke", "repo", "--app", "door")["newest"] is None
    assert "offers no release of door to this device" in answer(*device)
    shown = as_json("repo", "status", "repo")
    assert shown["fingerprint"] == made["fingerprint"]
    assert [role["role"] for role in shown["roles"]] == ["root", "targets", "snapshot", "timestamp"]
    assert [release["version"] for release in shown["releases"]] == [1]
    assert "revoked" in answer("repo", "status", "repo")
    assert as_json("repo", "refresh", "repo")["signed"] == ["timestamp"]
    assert as_json("repo", "rotate-key", "repo", "timestamp")["role"] == "timestamp"
    assert "has a new key" in answer("repo", "rotate-key", "repo", "root")
    assert "signed; devices take it until" in answer("repo", "refresh", "repo", "--all")
    answer(*device)


def test_a_forced_release_says_so(environment: Path) -> None:
    answer("repo", "init", "repo")
    (environment / "report.json").unlink()
    refused = invoke("repo", "add", "repo", "int8.tflite", "--app", "door")
    assert refused.exit_code == 1
    assert "add it all the same with --force" in refused.stderr
    forced = invoke("repo", "add", "repo", "int8.tflite", "--app", "door", "--force")
    assert "warning: no gates vouch for it" in forced.stderr
    assert "report.json" in as_json("repo", "status", "repo")["releases"][0]["forced"]


@pytest.mark.parametrize(
    ("passphrase", "problem"),
    [
        (None, "set $POCKETLENS_REPO_PASSPHRASE, or name a file by --passphrase-file"),
        ("", "the passphrase is empty; give one, or choose --no-passphrase"),
    ],
)
def test_offline_keys_need_a_passphrase(
    passphrase: str | None, problem: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if passphrase is None:
        monkeypatch.delenv("POCKETLENS_REPO_PASSPHRASE")
    else:
        monkeypatch.setenv("POCKETLENS_REPO_PASSPHRASE", passphrase)
    result = invoke("repo", "init", "repo")
    assert result.exit_code == 1
    assert problem in result.stderr
    assert not (environment / "repo" / "metadata").exists()
    answer("repo", "init", "repo", "--no-passphrase")
    answer("repo", "add", "repo", "int8.tflite", "--app", "door")


def test_a_passphrase_of_a_file(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETLENS_REPO_PASSPHRASE")
    secret = environment / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o644)
    assert "others can read this secret" in invoke("repo", "init", "repo", "--passphrase-file", secret).stderr
    secret.chmod(0o600)
    answer("repo", "init", "repo", "--passphrase-file", secret)
    answer("repo", "add", "repo", "int8.tflite", "--app", "door", "--passphrase-file", secret)


@pytest.mark.parametrize(
    ("typed", "shown", "status"),
    [
        ([b"correct horse\n", b"correct horse\n"], "an empty repository", 0),
        ([b"\n", b"\n"], "the passphrase is empty; give one, or choose --no-passphrase", 1),
        ([b"\x03"], "Aborted!", 130),
    ],
)
def test_a_person_is_asked_for_a_passphrase(typed: list[bytes], shown: str, status: int, environment: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.environ["PYTHONPATH"] = str(ROOT)
            os.environ.pop("POCKETLENS_REPO_PASSPHRASE")
            os.execv(sys.executable, [sys.executable, "-m", "runtime.cli.main", "repo", "init", "repo"])
        finally:
            os._exit(127)
    said = b""
    with suppress(OSError):  # the other side is closed
        while select.select([terminal], [], [], 20)[0] and (chunk := os.read(terminal, 4096)):
            said += chunk
            if chunk.rstrip().endswith(b":") and typed:
                time.sleep(0.2)  # until the terminal no longer shows what is typed
                os.write(terminal, typed.pop(0))
    os.close(terminal)
    assert shown in said.decode()
    assert b"horse" not in said
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == status


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("repo", "add", "repo", "int8.tflite", "--app", "door", "--rollout", "150%"), "is no share of devices"),
        (("repo", "add", "repo", "int8.tflite", "--app", "Door"), "--app is 'Door'"),
        (("repo", "rotate-key", "repo", "rooot"), "rooot"),
        (("update", "--from", "ftp://x/y", "--app", "door", "--into", "d"), "--from is 'ftp://x/y'"),
        (("update", "--from", ".", "--app", "door", "--into", "d", "--device-id", "a b"), "--device-id is 'a b'"),
        (("update", "--from", ".", "--app", "door", "--into", "d", "--every", "soon"), "'soon' is no time"),
        (("update", "--from", ".", "--app", "door", "--into", "d", "--every", "0"), "--every is 0 s"),
        (("update", "--app", "door"), "'--from', '--into'"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], problem: str, environment: Path) -> None:
    answer("repo", "init", "repo", "--no-passphrase")
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.split())


def test_what_expires_soon_is_said(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer("repo", "init", "repo")
    later = time.time() + 320 * 86_400
    monkeypatch.setattr("time.time", lambda: later)
    result = invoke("repo", "refresh", "repo")
    assert "warning: targets expires in 45.0 days; renew it by `pocketlens repo refresh --all`" in result.stderr


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tuf" else real(name))
    result = invoke("update", "--from", tmp_path, "--app", "door", "--into", tmp_path / "device")
    assert result.exit_code == 1
    assert result.stderr == "error: `pocketlens update` needs tuf: pip install 'pocketlens[update]'\n"
    assert issubclass(MissingExtraError, ImportError)
    assert not (tmp_path / "device").exists()


#: A board without cryptography and PyNaCl, for which there may be no wheels.
_WITHOUT_NATIVE = """
import sys
sys.modules.update({"cryptography": None, "nacl": None})
from runtime.cli.main import main
sys.argv[1:] = %r
try:
    main()
finally:
    from securesystemslib.signer import _key
    assert _key.CRYPTO_IMPORT_ERROR
"""


def without_native(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = _WITHOUT_NATIVE % ([*map(str, arguments)],)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_signatures_are_verified_without_a_native_library(publisher: Publisher, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", publisher.folder, publisher.folder / "metadata" / "1.root.json")
    (device.folder / "model.tflite").write_bytes(content_of(1))
    arguments = ("update", "--from", publisher.folder, "--app", APP, "--into", device.folder)
    done = without_native(*arguments)
    assert done.returncode == 0, done.stderr
    assert "door 1 is the newest" in done.stdout
    timestamp = publisher.folder / "metadata" / "timestamp.json"
    document = json.loads(timestamp.read_text())
    document["signed"]["version"] += 1
    timestamp.write_text(json.dumps(document))
    done = without_native(*arguments)
    assert done.returncode == 1
    assert "not signed by the keys that this device trusts" in done.stderr


def test_nothing_new_takes_less_than_a_second(publisher: Publisher, tmp_path: Path) -> None:
    """The whole process, with its imports, against a server."""
    device = Device(tmp_path / "device", publisher.folder, publisher.folder / "metadata" / "1.root.json")
    (device.folder / "model.tflite").write_bytes(content_of(1))
    device.update()
    with web_server(publisher.folder) as server:
        times = []
        for _ in range(5):
            began = time.monotonic()
            done = run_pocketlens("update", "--from", server.address, "--app", APP, "--into", device.folder, "--json")
            times.append(time.monotonic() - began)
            assert json.loads(done.stdout)["status"] == "current"
            if times[-1] < 1.0:  # the machine may be busy
                break
    assert min(times) < 1.0


def test_a_service_looks_again_and_ends_with_sigterm(device: Device, server: WebServer) -> None:
    arguments = ("update", "--from", server.address, "--app", APP, "--into", device.folder, "--every", "1s", "--json")
    asked = len(server.asked)
    with subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "current"
        end = time.monotonic() + 20
        while len(server.asked) < asked + 4 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stdout.read() == "", "the same outcome is told once"
    assert len(server.asked) >= asked + 4


def test_a_command_of_a_group_is_named_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cryptography" else object())
    result = invoke("repo", "status", "models-repo")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: `pocketlens repo status` needs cryptography, which a device does not have")
