"""Which files are found, and when they are complete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from runtime.errors import WatchError
from runtime.files import read_stream
from runtime.watch.journal_file import Identity
from runtime.watch.scanner import SettlingFiles, WatchedFolder, keeps_inodes
from tests.support.watching import draw, names, watched

pytestmark = pytest.mark.fast


def test_folders_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    draw(tmp_path / "out" / "x.png")
    folder = tmp_path / "in"
    for name in ("a.png", "deep/b.png", "deep/deeper/c.png", ".hidden/d.png", "@eaDir/e.png"):
        draw(folder / name)
    (folder / "link").symlink_to(tmp_path / "out")
    told = watched(folder, lambda: shutil.rmtree(folder / "deep"), lambda: draw(folder / "new/d.png"), recursive=True)
    assert sorted(names(told)) == ["a.png", "deep/b.png", "deep/deeper/c.png", "new/d.png"]


def test_each_suffix_that_is_passed_over_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.HEIC", "b.heic", "deep/c.heic", "plain", ".hidden.heic", "d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.dng").symlink_to("a.HEIC")
    folder = WatchedFolder(str(tmp_path), recursive=True)
    with caplog.at_level("INFO"):
        assert list(folder.scan()) == ["d.png"]
        folder.scan()
        assert sorted(record.getMessage().partition("passed over")[2] for record in caplog.records) == [
            ", as are all files that end in .heic",
            ", as are all files without a suffix",
        ]
        for number in range(100):
            (tmp_path / f"x.{number}").write_bytes(b"")
        folder.scan()
    assert len(caplog.records) == 20


def test_files_must_stand_still() -> None:
    settling = SettlingFiles(settle=1.0, patience=5.0)
    small, large = Identity(10, 1, 7), Identity(20, 2, 7)
    assert settling.ready({"a": small}, now=100.0) == []
    assert settling.ready({"a": small}, now=100.9) == []
    assert settling.ready({"a": large}, now=101.1) == []
    assert settling.ready({"a": large, "b": small}, now=102.0) == []
    assert settling.ready({"a": large, "b": small}, now=102.1) == ["a"]
    assert settling.ready({"a": large, "b": small}, now=103.0) == ["b", "a"]  # the oldest first
    assert not settling.failed("a")
    assert settling.ready({"a": large}, now=106.0) == []
    assert settling.ready({"a": large}, now=106.1) == ["a"]
    assert settling.failed("a")
    assert settling.ready({"a": small}, now=107.0) == []  # it grew after all: from the beginning
    assert settling.ready({"a": small}, now=108.0) == ["a"]
    assert not settling.failed("a")
    assert settling.ready({}, now=109.0) == []
    assert settling.ready({"a": small}, now=110.0) == []


def test_a_file_that_is_replaced_or_gone_before_it_is_read_waits(tmp_path: Path) -> None:
    folder = WatchedFolder(str(tmp_path))
    first = draw(tmp_path / "a.png")
    known = folder.scan()["a.png"]
    assert folder.read("a.png", known) == first.read_bytes()
    draw(first, 1)
    assert folder.read("a.png", known) is None
    for replacement in (os.mkfifo, os.mkdir):
        first.unlink(missing_ok=True)
        replacement(first)
        assert folder.read("a.png", known) is None
    first.rmdir()
    assert folder.read("a.png", known) is None


def test_a_folder_that_goes_away_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    draw(folder / "a.png")
    with pytest.raises(WatchError, match="cannot be watched any more: No such file"):
        watched(folder, lambda: folder.rename(tmp_path / "away"))
    (tmp_path / "away").rename(folder)

    def unmounted() -> None:
        folder.rename(tmp_path / "away")
        folder.mkdir()

    with pytest.raises(WatchError, match="another folder is in its place"):
        watched(folder, unmounted)
    with pytest.raises(WatchError, match="cannot be watched: Not a directory"):
        WatchedFolder(str(draw(tmp_path / "x.png")))


def test_file_systems_that_number_their_files_anew(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
        "40 22 8:1 / /media/a\\040card rw shared:2 master:1 - vfat /dev/sda1 rw\n"
        "41 22 0:44 / /mnt/x rw - fuse.sshfs me@there: rw\n"
    )
    for device, expected in (((254, 0), True), ((8, 1), False), ((0, 44), False), ((9, 9), True)):
        assert keeps_inodes(os.makedev(*device), str(mounts)) is expected
    assert keeps_inodes(0, str(tmp_path / "none"))


def test_a_file_that_changes_while_it_is_read_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path / "a.png")
    folder = WatchedFolder(str(tmp_path))
    identity = folder.scan()["a.png"]
    whole = path.read_bytes()
    assert folder.read("a.png", identity) == whole

    def read_and_append(file: BinaryIO, *arguments: Any) -> bytes:
        data = read_stream(file, *arguments)
        with path.open("ab") as writer:
            writer.write(b"more")
        return data

    monkeypatch.setattr("runtime.watch.scanner.read_stream", read_and_append)
    assert folder.read("a.png", identity) is None
