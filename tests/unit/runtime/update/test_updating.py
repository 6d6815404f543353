"""What a device does with a repository: first trust, shares of devices, going back, resuming, looking again."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runtime.errors import PocketlensError, UpdateError, UsageError
from runtime.service import Service
from runtime.update import transport, updating
from runtime.update.client import fingerprint
from runtime.update.rings import FULL_ROLLOUT, in_rollout, parse_rollout, rollout_text
from runtime.update.updating import UpdateOutcome, keep_updating
from tests.support.slots import APP
from tests.support.updates import Device, Publisher, WebServer, content_of, web_server

pytestmark = pytest.mark.fast


def test_nothing_new_costs_one_small_file(device: Device, server: WebServer) -> None:
    device.update()
    server.sent, server.asked = 0, []
    outcome = device.update()
    assert (outcome.status, outcome.requests) == ("current", 2)
    assert server.asked == ["/metadata/2.root.json", "/metadata/timestamp.json"]
    assert outcome.received < 600
    assert server.sent - outcome.received < 2000, "heads of answers, and that there is no second root"


def test_a_renewed_timestamp_costs_nothing_more(device: Device, publisher: Publisher) -> None:
    publisher.repository.refresh()
    assert device.update().requests == 2


def test_a_folder_serves_as_well(device: Device, publisher: Publisher) -> None:
    publisher.add(2)
    outcome = device.update(publisher.folder)
    assert (outcome.status, str(outcome.release), str(outcome.previous)) == ("installed", "door 2", "door 1")
    assert device.model == content_of(2)


def test_a_revoked_release_leads_back(device: Device, publisher: Publisher) -> None:
    publisher.add(2)
    device.update()
    publisher.repository.revoke(APP)
    outcome = device.update()
    assert (outcome.status, str(outcome.release)) == ("installed", "door 1")
    assert device.model == content_of(1)


def test_a_model_that_was_rolled_back_here_is_not_taken_again(device: Device, publisher: Publisher) -> None:
    offer = publisher.add(2)
    from runtime.deployment import Release, open_slot

    with open_slot(device.folder) as slot:
        slot.write_state(slot.state.refusing(Release(APP, 2, "2.tflite", offer.sha256), "it failed"))
    assert device.update().status == "current"
    publisher.add(3)
    assert str(device.update().release) == "door 3"


def test_an_application_without_releases(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    other = Device(tmp_path / "other", publisher.folder, publisher.folder / "metadata" / "root.json", app="cat")
    outcome = other.update()
    assert (outcome.status, outcome.release) == ("none", None)


def test_a_model_of_a_bundle_is_known_by_its_content(publisher: Publisher, tmp_path: Path) -> None:
    fresh = Device(tmp_path / "fresh", publisher.folder, publisher.folder / "metadata" / "root.json")
    (fresh.folder / "model.tflite").write_bytes(content_of(1))
    outcome = fresh.update()
    assert (outcome.status, str(outcome.release)) == ("current", "door 1")


def test_shares_grow_and_differ_between_releases() -> None:
    devices = [f"device-{number}" for number in range(2000)]
    tenth = {device for device in devices if in_rollout(device, "door/2/x", parse_rollout("10%"))}
    half = {device for device in devices if in_rollout(device, "door/2/x", parse_rollout("50 %"))}
    other = {device for device in devices if in_rollout(device, "door/3/x", parse_rollout("10%"))}
    assert tenth < half
    assert 150 < len(tenth) < 250
    assert 900 < len(half) < 1100
    assert len(tenth & other) < 60
    assert all(in_rollout(device, "door/2/x", FULL_ROLLOUT) for device in devices)


@pytest.mark.parametrize(("text", "share"), [("10%", 1000), ("0.5 %", 50), ("100%", 10_000), (" 12.5% ", 1250)])
def test_shares_in_words(text: str, share: int) -> None:
    assert parse_rollout(text) == share
    assert parse_rollout(rollout_text(share)) == share


@pytest.mark.parametrize("text", ["0%", "101%", "10", "ten", "-5%", "0.001%", "", "1e1%"])
def test_no_shares(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no share of devices|no share"):
        parse_rollout(text)


def test_the_own_name_is_kept_and_random(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    path = device.folder / "update" / "device-id"
    name = path.read_text()
    device.update()
    assert path.read_text() == name
    other = Device(tmp_path / "other", publisher.folder, publisher.folder / "metadata" / "root.json")
    other.update()
    assert (other.folder / "update" / "device-id").read_text() != name
    path.write_bytes(b"\0")
    with pytest.raises(UpdateError, match="not a device's name; remove the file"):
        device.update()


@pytest.mark.parametrize("name", ["a b", "\n", "x" * 200, "é"])
def test_names_that_are_refused(name: str, publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`device_id` is"):
        Device(tmp_path / "device", publisher.folder, device_id=name).update()


# --- The first trust.


def test_without_a_root_nothing_is_trusted(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match=r"nothing is trusted yet; name .* by `root`, or .* by `trust_on_first_use`"):
        Device(tmp_path / "device", publisher.folder).update()


def test_trust_on_first_use_is_kept(publisher: Publisher, tmp_path: Path, messages: list[str]) -> None:
    device = Device(tmp_path / "device", publisher.folder, trust_on_first_use=True)
    device.update()
    assert [line for line in messages if fingerprint(publisher.repository.first_root) in line and "first use" in line]
    messages.clear()
    device.update()
    assert messages == []
    shutil.rmtree(publisher.folder.parent)
    Publisher(publisher.folder.parent).add(2)
    with pytest.raises(UpdateError):
        device.update()


def test_a_root_by_name_must_stay_the_same(publisher: Publisher, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    shutil.copy(publisher.folder / "metadata" / "1.root.json", root)
    device = Device(tmp_path / "device", publisher.folder)
    device.settings = device.settings._replace(root=root)
    assert device.update().status == "installed"
    assert device.update().status == "current"
    Publisher(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "repo" / "metadata" / "root.json", root)
    with pytest.raises(UpdateError, match=r"trusts another root .*; to begin anew, remove the folder .*update"):
        device.update()


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b'{"signed": {}, "signatures": []}'])
def test_what_is_no_root(content: bytes, publisher: Publisher, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(content)
    device = Device(tmp_path / "device", publisher.folder, root)
    with pytest.raises(UpdateError, match=r"not a root\.json"):
        device.update()


def test_a_timestamp_is_no_root(publisher: Publisher, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", publisher.folder, publisher.folder / "metadata" / "timestamp.json")
    with pytest.raises(UpdateError, match=r"not a root\.json"):
        device.update()


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_devices_follow_new_keys(role: str, device: Device, publisher: Publisher) -> None:
    publisher.repository.rotate_key(role)
    publisher.repository.rotate_key(role)
    publisher.add(2)
    assert str(device.update().release) == "door 2"


# --- Interrupted downloads.


def test_an_interrupted_download_is_continued(device: Device, publisher: Publisher, server: WebServer) -> None:
    path = f"/{publisher.add(2).file_path}"
    asked: list[str | None] = []

    def cut(handler: Any) -> None:
        content = content_of(2)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:1000])

    def rest(handler: Any) -> None:
        asked.append(handler.headers["Range"])
        handler.send_response(206)
        handler.end_headers()
        handler.wfile.write(content_of(2)[1000:])

    server.hostile[path] = cut
    with pytest.raises(PocketlensError, match="stopped"):
        updating.update_once(device.settings, device.machine, lambda: False)
    assert device.model == content_of(1)
    server.hostile[path] = rest
    assert device.update().status == "installed"
    assert asked == ["bytes=1000-"]
    assert device.model == content_of(2)
    assert not [*(device.folder / "update").glob("*.partial")]


def test_a_server_without_ranges_sends_all(device: Device, publisher: Publisher, server: WebServer) -> None:
    offer = publisher.add(2)
    (device.folder / "update" / f"{offer.sha256}.partial").write_bytes(content_of(2)[:999])
    assert device.update().status == "installed"
    assert device.model == content_of(2)


def test_a_partial_file_of_another_content_is_thrown_away(device: Device, publisher: Publisher) -> None:
    offer = publisher.add(2)
    (device.folder / "update" / f"{offer.sha256}.partial").write_bytes(b"Z" * 500)
    with pytest.raises(UpdateError, match="is not what was signed"):
        device.update(publisher.folder)  # a folder can begin anywhere
    assert device.update(publisher.folder).status == "installed"


def test_a_pipe_in_the_folder_does_not_hang(device: Device, publisher: Publisher) -> None:
    path = publisher.folder / "metadata" / "timestamp.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UpdateError, match="not a regular file"):
        device.update(publisher.folder)


@pytest.mark.parametrize("source", ["ftp://host/x", "https://", "http://host/?q", "https://me:pw@host/models"])
def test_sources_that_are_refused(source: str, device: Device) -> None:
    with pytest.raises(UsageError, match="`source`") as refusal:
        device.update(source)
    assert "pw" not in str(refusal.value)


def test_a_folder_that_is_not_there(device: Device, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="no such folder"):
        device.update(tmp_path / "nowhere")


# --- An encrypted connection.


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


def test_an_encrypted_connection(
    device: Device, publisher: Publisher, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.add(2)
    with web_server(publisher.folder) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        source = server.address.replace("http:", "https:")
        with pytest.raises(UpdateError, match="certificate verify failed"):
            device.update(source)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert device.update(source).status == "installed"

        def redirect(handler: Any) -> None:
            handler.send_response(302)
            handler.send_header("Location", "http://127.0.0.1:9/")
            handler.end_headers()

        server.hostile["/metadata/timestamp.json"] = redirect
        with pytest.raises(UpdateError, match=r"redirects to http://127\.0\.0\.1:9/, which is not"):
            device.update(source)


def test_a_server_that_never_ends_its_handshake(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LEAST_BYTES_A_SECOND", 1e6)
    monkeypatch.setattr(transport.HttpTransport.__init__, "__kwdefaults__", {"silence": 5.0, "start": 0.3})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(UpdateError, match="no answer within"):
            device.update(f"https://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 3


# --- Again and again.


def test_looking_again_survives_errors_and_ends_with_a_signal(
    device: Device, publisher: Publisher, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[UpdateOutcome] = []
    waits: list[float] = []
    steps = iter(("gone", "back", "current", "end"))

    def wait(_service: Service, seconds: float) -> bool:
        waits.append(seconds)
        step = next(steps)
        if step == "gone":
            publisher.folder.rename(publisher.folder.with_name("away"))
        elif step == "back":
            publisher.folder.with_name("away").rename(publisher.folder)
            publisher.add(2)
        elif step == "end":
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr(Service, "wait", wait)
    settings = device.settings._replace(source=str(publisher.folder))
    with Service({}) as service:
        keep_updating(settings, 3600, service, told.append, device.machine)
    assert [(outcome.status, str(outcome.release)) for outcome in told] == [
        ("current", "door 1"),
        ("installed", "door 2"),
        ("current", "door 2"),
    ]
    assert [line for line in messages if "no such folder" in line]
    assert all(3240 <= wait <= 3960 for wait in (waits[0], *waits[2:]))
    assert 27 <= waits[1] <= 33


def test_two_updates_at_once(device: Device) -> None:
    from runtime.deployment import open_slot

    with open_slot(device.folder), pytest.raises(PocketlensError, match="another update is at work"):
        device.update()


def roll_out(devices: list[Device], publisher: Publisher, share: str) -> int:
    """Offer a second release to a share of the devices, let each look once; how many have it then.

    Two threads take turns, each with half of the devices. A device that has the release keeps it.
    """
    if publisher.repository.offers()[0].version == 1:
        publisher.add(2, rollout=parse_rollout(share))
    else:
        publisher.repository.promote(APP, parse_rollout(share))
    before = {device.folder for device in devices if device.model == content_of(2)}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Device.update, devices))
    having = {device.folder for device in devices if device.model == content_of(2)}
    assert before <= having
    return len(having)


def test_thirty_devices_follow_a_rollout(publisher: Publisher, tmp_path: Path) -> None:
    root = publisher.folder / "metadata" / "1.root.json"
    with web_server(publisher.folder) as server:
        devices = [Device(tmp_path / f"{n}", server.address, root, device_id=f"pi-{n}") for n in range(30)]
        counts = [roll_out(devices, publisher, share) for share in ("10%", "50%", "100%")]
    offer = publisher.repository.offers()[0]
    expected = [sum(in_rollout(f"pi-{n}", offer.identity, share) for n in range(30)) for share in (1000, 5000, 10_000)]
    assert counts == expected
    assert counts[-1] == 30
