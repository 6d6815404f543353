"""The attacks that The Update Framework lists: each is refused with one line, and the installed model stays.

One of the list does not apply: extraneous dependencies. A release is one file, and names no other to install.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from runtime.errors import UpdateError
from runtime.update import transport
from tests.support.updates import DAY_S, Device, Publisher, WebServer, content_of

pytestmark = pytest.mark.fast

ONE, TWO = content_of(1), content_of(2)
ROLES = ("targets", "snapshot", "timestamp")


def refuse(device: Device, problem: str, source: object = "", model: bytes = ONE) -> str:
    """The one line with which a device refuses; its model stays."""
    with pytest.raises(UpdateError) as refusal:
        device.update(source)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert device.model == model
    assert device.answers() == "light", "the old model answers on"
    return str(refusal.value)


def resigned(publisher: Publisher, role: str, change: Callable[[Any], object], sign: bool = True) -> None:
    """Change the newest metadata of a role, as somebody who has its key, or has none, could."""
    folder = publisher.folder / "metadata"
    path = folder / "timestamp.json" if role == "timestamp" else newest(folder, role)
    metadata: Metadata[Any] = Metadata.from_file(str(path))
    change(metadata.signed)
    if sign:
        signer = publisher.keys.find(role, [*metadata.signatures])
        assert signer is not None
        metadata.sign(signer)
    path.write_bytes(metadata.to_bytes())


def newest(folder: Path, role: str) -> Path:
    return max(folder.glob(f"[0-9]*.{role}.json"), key=lambda path: int(path.name.partition(".")[0]))


def test_arbitrary_software(device: Device, publisher: Publisher, server: WebServer) -> None:
    stored = publisher.folder / publisher.add(2).file_path
    stored.write_bytes(b"X" * len(TWO))
    refuse(device, "is not what was signed")
    stored.write_bytes(TWO)
    assert device.update().status == "installed"
    assert device.model == TWO


def endless(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"{" * 65536)


@pytest.mark.parametrize("role", ["root", *ROLES, "model"])
def test_endless_data(role: str, device: Device, publisher: Publisher, server: WebServer) -> None:
    offer = publisher.add(2)
    paths = {
        "root": "/metadata/2.root.json",
        "timestamp": "/metadata/timestamp.json",
        "model": f"/{offer.file_path}",
        **{role: f"/metadata/3.{role}.json" for role in ("targets", "snapshot")},
    }
    server.hostile[paths[role]] = endless
    refuse(device, "bytes that are allowed")
    assert server.sent < 5e6
    del server.hostile[paths[role]]
    assert device.update().status == "installed"


def dribble(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"{")
        time.sleep(0.05)


def dribble_head(handler: Any) -> None:
    for letter in b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * 20:
        handler.wfile.write(bytes([letter]))
        time.sleep(0.05)


def say_nothing(handler: Any) -> None:
    time.sleep(1)


@pytest.mark.parametrize("trick", [dribble, dribble_head, say_nothing])
def test_slow_retrieval(
    trick: Callable[[Any], None], device: Device, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"silence": 0.3, "start": 0.3}
    monkeypatch.setattr(transport, "_LEAST_BYTES_A_SECOND", 1e6)
    monkeypatch.setattr(transport.HttpTransport.__init__, "__kwdefaults__", limits)
    server.hostile["/metadata/timestamp.json"] = trick
    began = time.monotonic()
    refuse(device, "no answer ")
    assert time.monotonic() - began < 1.0


def test_fast_forward_ends_with_a_new_key(device: Device, publisher: Publisher) -> None:
    later = int(device.machine.time + 400 * DAY_S)

    def forward(timestamp: Any) -> None:
        timestamp.version = 10**6
        timestamp.unrecognized_fields["created"] = later
        timestamp.expires = timestamp.expires.replace(year=timestamp.expires.year + 5)

    honest = publisher.copy(publisher.folder.parent.parent / "honest")
    resigned(publisher, "timestamp", forward)  # by a stolen key
    refuse(device, "expired")  # the device knows now that it is later than it thought
    honest.add(2)
    refuse(device, "older than what this device has seen", honest.folder)
    honest.repository.rotate_key("timestamp")
    assert device.update(honest.folder).status == "installed"
    assert device.model == TWO


def test_indefinite_freeze(device: Device, publisher: Publisher) -> None:
    device.machine.pass_time(8 * DAY_S)
    line = refuse(device, "timestamp.json is expired")
    assert time.strftime("%Y-%m-%d", time.gmtime(device.machine.time)) in line
    assert "set the clock if it is wrong" in line
    assert "pocketlens repo refresh" in line


@pytest.mark.parametrize("what", ["everything", "the timestamp"])
def test_rollback(what: str, device: Device, publisher: Publisher, first_state: Publisher) -> None:
    publisher.add(2)
    device.update()
    if what == "everything":
        shutil.rmtree(publisher.folder)
        shutil.copytree(first_state.folder, publisher.folder)
    else:
        shutil.copy(first_state.folder / "metadata" / "timestamp.json", publisher.folder / "metadata")
    refuse(device, "older than what this device has seen", model=TWO)


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_mix_and_match(role: str, device: Device, publisher: Publisher, second_state: Publisher) -> None:
    """Another state's file in the place of the one that belongs to the timestamp."""
    publisher.add(3)
    folder = publisher.folder / "metadata"
    shutil.copy(second_state.folder / "metadata" / newest(folder, role).name, newest(folder, role))
    refuse(device, "damaged metadata")


def test_wrong_software(device: Device, publisher: Publisher) -> None:
    """A model of another application, at the place of this one's."""
    other = publisher.add(7, app="cat")
    assert device.update().status == "current"
    offer = publisher.add(2)
    shutil.copy(publisher.folder / other.file_path, publisher.folder / offer.file_path)
    refuse(device, "is not what was signed")


def test_a_target_that_names_another_application_is_no_release(device: Device, publisher: Publisher) -> None:
    publisher.add(7, app="cat")
    targets = newest(publisher.folder / "metadata", "targets")
    document = json.loads(targets.read_text())
    assert document["signed"]["targets"]["cat/1/model.tflite"]["custom"]["app"] == "cat"

    def claim(signed: Any) -> None:
        signed.targets["cat/1/model.tflite"].unrecognized_fields["custom"] |= {"app": "door", "version": 9}

    resigned(publisher, "targets", claim)
    publisher.repository.refresh(renew_all=True)
    assert device.update().status == "current"


@pytest.mark.parametrize("role", ROLES)
def test_unsigned_metadata(role: str, device: Device, publisher: Publisher) -> None:
    publisher.add(2)
    folder = publisher.folder / "metadata"
    path = folder / "timestamp.json" if role == "timestamp" else newest(folder, role)
    document = json.loads(path.read_text())
    document["signatures"] = []
    path.write_text(json.dumps(document))
    refuse(device, "not signed by the keys" if role == "timestamp" else "damaged metadata")


def test_wrong_keys(device: Device, tmp_path: Path) -> None:
    other = Publisher(tmp_path / "other")
    other.add(2)
    other.repository.refresh(renew_all=True)  # it has a second root
    refuse(device, "not signed by the keys that this device trusts", other.folder)


def test_a_stolen_online_key_cannot_publish_a_model(device: Device, publisher: Publisher) -> None:
    """Timestamp and snapshot may name other targets; without the offline key nobody can sign these."""
    publisher.add(2)

    def replace_model(signed: Any) -> None:
        signed.targets["door/2/model.tflite"].length = 5

    resigned(publisher, "targets", replace_model, sign=False)
    content = newest(publisher.folder / "metadata", "targets").read_bytes()

    def name_it(signed: Any) -> None:
        import hashlib

        meta = signed.meta["targets.json"]
        meta.length, meta.hashes = len(content), {"sha256": hashlib.sha256(content).hexdigest()}

    resigned(publisher, "snapshot", name_it)
    snapshot = newest(publisher.folder / "metadata", "snapshot").read_bytes()

    def name_snapshot(signed: Any) -> None:
        import hashlib

        signed.snapshot_meta.length = len(snapshot)
        signed.snapshot_meta.hashes = {"sha256": hashlib.sha256(snapshot).hexdigest()}

    resigned(publisher, "timestamp", name_snapshot)
    refuse(device, "not signed by the keys")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "garbage": lambda content: bytes(range(256)) * 4,
    "deep": lambda content: b"[" * 8000,
    "another type": lambda content: b'{"signed": {"_type": "root"}, "signatures": 3}',
    "huge number": lambda content: b'{"signed": {"_type": ' + b"9" * 5000 + b"}}",
}


@pytest.mark.parametrize("file", [*ROLES, "root", "model"])
def test_damaged_and_truncated_files(file: str, device: Device, publisher: Publisher) -> None:
    offer = publisher.add(2)
    if file == "root":
        publisher.repository.refresh(renew_all=True)
    folder = publisher.folder / "metadata"
    path = {"timestamp": folder / "timestamp.json", "model": publisher.folder / offer.file_path}.get(file)
    path = path or newest(folder, file)
    whole = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(whole))
        refuse(device, "")
    path.write_bytes(whole)
    assert device.update().status == "installed"


@pytest.mark.parametrize("file", [*ROLES, "model"])
def test_missing_files(file: str, device: Device, publisher: Publisher) -> None:
    offer = publisher.add(2)
    folder = publisher.folder / "metadata"
    path = {"timestamp": folder / "timestamp.json", "model": publisher.folder / offer.file_path}.get(file)
    (path or newest(folder, file)).unlink()
    refuse(device, "the server answers 404")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/metadata/timestamp.json"])
def test_redirections_are_bounded(target: str, device: Device, server: WebServer) -> None:
    """The last one leads to itself."""

    def redirect(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    server.hostile["/metadata/timestamp.json"] = redirect
    refuse(device, "not followed")
    assert len(server.asked) < 20


def test_the_own_files_of_a_device_may_be_damaged(device: Device, publisher: Publisher) -> None:
    """After a power loss on a file system without a journal, say: the next update mends them."""
    for path in (device.folder / "update").rglob("*.json"):
        if path.name != "root.json":
            path.unlink() if path.is_symlink() else path.write_bytes(b"\0" * 100)
    publisher.add(2)
    assert device.update().status == "installed"
