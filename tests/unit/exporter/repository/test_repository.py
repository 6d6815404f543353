"""The repository on the workstation: keys and their files, changes, renewal, and a kill at any moment of a change."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from exporter.errors import RepositoryError
from exporter.repository.keys import KeyFolder
from exporter.repository.repository import Repository
from runtime.errors import UsageError
from runtime.update.rings import FULL_ROLLOUT
from tests.support.kills import killed_at_each_change
from tests.support.slots import APP
from tests.support.updates import DAY_S, Device, Publisher, content_of
from tests.unit.runtime.update.conftest import first_state, plain_install, publisher, quick_disk

__all__ = ["first_state", "plain_install", "publisher", "quick_disk"]
pytestmark = pytest.mark.fast


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_belong_to_their_owner_and_offline_ones_are_encrypted(tmp_path: Path) -> None:
    asked: list[str] = []

    def passphrase() -> str:
        asked.append("passphrase")
        return "correct horse"

    keys = KeyFolder(tmp_path / "config" / "keys", passphrase)
    Repository.create(tmp_path / "repo", keys)
    assert asked == ["passphrase"], "once"
    files = {path.name.partition("-")[0]: path for path in keys.folder.iterdir()}
    assert sorted(files) == ["root", "snapshot", "targets", "timestamp"]
    assert mode_of(keys.folder) == 0o700
    assert {mode_of(path) for path in files.values()} == {0o600}
    assert not [
        path for path in (tmp_path / "repo").rglob("*") if b"PRIVATE" in (path.read_bytes() if path.is_file() else b"")
    ]
    for role in ("root", "targets"):
        assert files[role].suffix == ".p12"
        wrong = KeyFolder(keys.folder, lambda: "wrong")
        with pytest.raises(RepositoryError, match="another passphrase, or damaged"):
            wrong.find(role, [_keyid(tmp_path / "repo", role)])
        found = KeyFolder(keys.folder, lambda: "correct horse").find(role, [_keyid(tmp_path / "repo", role)])
        assert found is not None
    # The timer that refreshes needs no passphrase.
    Repository(tmp_path / "repo", KeyFolder(keys.folder, _never)).refresh()


def _never() -> str:
    raise AssertionError("nobody can be asked")


def _keyid(folder: Path, role: str) -> str:
    document = json.loads((folder / "metadata" / "root.json").read_text())
    return str(document["signed"]["roles"][role]["keyids"][0])


def test_openssl_reads_an_encrypted_key(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    keys = KeyFolder(tmp_path / "keys", lambda: "correct horse")
    keys.create("root")
    (path,) = keys.folder.iterdir()
    shown = subprocess.run(
        [openssl, "pkcs12", "-in", path, "-info", "-noout", "-passin", "pass:correct horse"],
        capture_output=True,
        text=True,
    )
    assert "Iteration 600000" in shown.stdout + shown.stderr
    assert "AES-256-CBC" in shown.stdout + shown.stderr


def test_keys_that_others_can_use_are_refused(publisher: Publisher) -> None:
    (path,) = publisher.keys.folder.glob("timestamp-*")
    path.chmod(0o640)
    with pytest.raises(RepositoryError, match=r"others may use this secret .mode 640.; chmod 600"):
        publisher.repository.refresh()
    path.chmod(0o600)
    publisher.keys.folder.chmod(0o755)
    with pytest.raises(RepositoryError, match="chmod 700"):
        publisher.repository.rotate_key("timestamp")


def test_keys_do_not_lie_in_what_is_served(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="keys must not lie in the folder that is served"):
        Repository.create(tmp_path / "repo", KeyFolder(tmp_path / "repo" / "keys", lambda: ""))
    assert not (tmp_path / "repo").exists()


def test_a_second_repository_in_a_folder_is_refused(publisher: Publisher) -> None:
    with pytest.raises(RepositoryError, match="holds a repository already"):
        Repository.create(publisher.folder, publisher.keys)
    assert publisher.repository.offers()


def test_what_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no repository"):
        Repository(tmp_path, KeyFolder(tmp_path / "keys", lambda: ""))


def test_changes_are_refused_with_the_cure(publisher: Publisher) -> None:
    with pytest.raises(RepositoryError, match="it is release 1 of door, the newest, already"):
        publisher.add(1)
    publisher.add(2, rollout=5000)
    with pytest.raises(RepositoryError, match=r"for 50 % of the devices, and a share never shrinks"):
        publisher.repository.promote(APP, 1000)
    with pytest.raises(RepositoryError, match="no release of cat to change; its applications: door"):
        publisher.repository.revoke("cat")
    with pytest.raises(UsageError, match="`app` is"):
        publisher.add(3, app="../door")
    publisher.repository.revoke(APP)
    publisher.repository.revoke(APP)
    with pytest.raises(RepositoryError, match="no release of door"):
        publisher.repository.revoke(APP)


def test_numbers_are_never_used_twice(publisher: Publisher) -> None:
    publisher.add(2)
    publisher.repository.revoke(APP)
    assert publisher.add(3).version == 3
    assert publisher.add(2).version == 4, "the same file may come back after it was taken back"


def test_a_key_that_is_elsewhere_is_named(publisher: Publisher) -> None:
    (path,) = publisher.keys.folder.glob("targets-*")
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(RepositoryError, match=r"the key of targets .* is not there; name the folder .* by `keys`"):
        publisher.add(2)
    assert [expiry.has_key for expiry in publisher.repository.expiries()] == [True, False, True, True]
    assert publisher.repository.refresh() == ["timestamp"], "the timer's machine has the online keys alone"


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_lost_key_is_replaced_by_the_key_of_root(role: str, publisher: Publisher, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", publisher.folder, publisher.folder / "metadata" / "1.root.json")
    device.update()
    (path,) = publisher.keys.folder.glob(f"{role}-*")
    path.unlink()
    publisher.repository.rotate_key(role)
    publisher.add(2)
    assert str(device.update().release) == "door 2"


def test_metadata_that_somebody_changed_is_not_signed(publisher: Publisher) -> None:
    """Who can write on the web server cannot have a release signed by the next honest one."""
    path = publisher.folder / "metadata" / "2.targets.json"
    document = json.loads(path.read_text())
    document["signed"]["targets"]["door/1/model.tflite"]["custom"]["rollout"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(RepositoryError, match="the metadata of targets was not signed by its key, so somebody"):
        publisher.add(2)


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json", "1.root.json"])
def test_damaged_metadata_is_named(name: str, publisher: Publisher) -> None:
    (publisher.folder / "metadata" / name).write_bytes(b'{"signed": {"_type": "root"}}')
    with pytest.raises(RepositoryError, match="restore a copy"):
        publisher.add(2)


def test_refresh_renews_what_is_due(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    assert publisher.repository.refresh() == ["timestamp"]
    before = {expiry.role: expiry for expiry in publisher.repository.expiries()}
    later = time.time() + 16 * DAY_S
    monkeypatch.setattr("time.time", lambda: later)
    assert publisher.repository.refresh() == ["snapshot", "timestamp"]
    after = {expiry.role: expiry for expiry in publisher.repository.expiries()}
    assert after["timestamp"].expires == pytest.approx(later + 7 * DAY_S, abs=2)
    assert after["snapshot"].expires == pytest.approx(later + 30 * DAY_S, abs=2)
    assert after["root"] == before["root"]
    assert publisher.repository.refresh(renew_all=True) == ["root", "targets", "snapshot", "timestamp"]
    assert publisher.repository.expiries()[0].expires == pytest.approx(later + 730 * DAY_S, abs=2)


def test_a_machine_whose_clock_is_behind_signs_nothing(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1e9)
    with pytest.raises(RepositoryError, match="later than this machine's clock says; set the clock"):
        publisher.repository.refresh()


def test_old_states_and_releases_go(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.repository.repository._KEPT_RELEASES", 3)
    monkeypatch.setattr("exporter.repository.signed_state._KEPT_STATES", 2)
    for number in range(2, 7):
        publisher.add(number)
    for number in range(7, 12):
        publisher.add(number, rollout=1000)
    assert [offer.version for offer in publisher.repository.offers()] == [11, 10, 9, 8, 7, 6]
    assert publisher.repository.offers()[-1].rollout == FULL_ROLLOUT, "what most devices have stays"
    names = sorted(path.name for path in (publisher.folder / "metadata").iterdir())
    assert names == ["1.root.json", "11.snapshot.json", "11.targets.json", "12.snapshot.json", "12.targets.json",
                     "root.json", "timestamp.json"]  # fmt: skip
    assert len([*(publisher.folder / "targets").rglob("*.model.tflite")]) == 6


def test_two_changes_at_once(publisher: Publisher) -> None:
    errors: list[str] = []

    def add(number: int) -> None:
        try:
            publisher.add(number)
        except RepositoryError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("another command is changing it" in error for error in errors)
    assert len(publisher.repository.offers()) == 7 - len(errors)


@pytest.mark.parametrize("change", ["add", "rotate timestamp"])
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(
    change: str, publisher: Publisher, tmp_path: Path
) -> None:
    """A device that reads between any two changes to files sees a repository that is whole; so does the next change."""
    device = Device(tmp_path / "device", publisher.folder, publisher.folder / "metadata" / "1.root.json")
    device.update()

    def interrupted(folder: Path) -> None:
        opened = Publisher(folder)
        opened.add(2) if change == "add" else opened.repository.rotate_key("timestamp")

    seen: list[str] = []
    for folder in killed_at_each_change(tmp_path, lambda folder: publisher.copy(folder) and None, interrupted):
        shutil.copytree(device.folder, folder / "device")
        reader = Device(folder / "device", folder / "repo")
        seen.append(str(reader.update().release))
        left = Publisher(folder)
        assert left.add(3).version == 2 + (seen[-1] == "door 2")
        reader.update()
        assert reader.model == content_of(3)
        assert not [*left.folder.rglob("*.partial-*")]
    wanted = ["door 1", "door 2"] if change == "add" else ["door 1"]
    assert sorted(set(seen)) == wanted
    assert seen == sorted(seen)
