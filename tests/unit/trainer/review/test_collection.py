"""Collecting: each picture once, from folders and over ssh, and nothing that a hostile device sends does harm."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.commands import call_pocketlens, succeed
from tests.support.review import keep, own_ssh, picture_of
from trainer.review.collection import LOCK_NAME, Collection, source_of
from trainer.review.note import Note, read_note
from trainer.review.sources import CollectError, FolderSource, is_safe_path, split_remote

pytestmark = pytest.mark.fast
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is missing")


def pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    folder = tmp_path / "unsure"
    for number in range(4):
        keep(folder, number, kind="random" if number == 3 else "uncertain")
    return folder


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in own_ssh(tmp_path / "own").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "own" / "ssh.log"


def test_each_picture_is_taken_once_whatever_becomes_of_it(device: Path, tmp_path: Path) -> None:
    into = tmp_path / "review"
    first = json.loads(succeed(call_pocketlens("collect", device, "--into", into, "--json")).stdout)
    size = sum(path.stat().st_size for path in device.glob("*.jpg"))
    assert first == {
        "source": str(device),
        "new": 4,
        "known": 0,
        "passed_over": 0,
        "waiting": 0,
        "bytes": size,
    }
    assert [path.read_bytes() for path in pictures_in(into)] == [path.read_bytes() for path in pictures_in(device)]
    kept = pictures_in(into)[0]
    assert kept.name.startswith("door-20251126T160000Z-")
    note = read_note(kept.with_suffix(".json").read_bytes())
    assert note == Note(
        *("door", 1_764_172_800.0, "uncertain", "ab" * 32),
        {"cat": 0.6, "dog": 0.4},
        f"{device}/20260000-uncertain.jpg",
    )
    assert not list(into.glob(".*")), "a lock or a partial file was left"
    kept.unlink()
    shutil.copytree(device, tmp_path / "stick")
    again = succeed(call_pocketlens("collect", device, tmp_path / "stick", "--into", into)).stdout.splitlines()
    assert again == [f"{device}: 0 new (0 bytes), 4 known", f"{tmp_path}/stick: 0 new (0 bytes), 4 known"]
    assert len(pictures_in(into)) == 3, "a picture that was removed has come back"


def test_what_does_not_fit_waits_for_the_next_time(device: Path, tmp_path: Path) -> None:
    into = tmp_path / "review"
    into.mkdir()
    size = min(path.stat().st_size for path in device.glob("*.jpg"))
    found = [Collection(into).collect(FolderSource(device), 3 * size) for _ in range(3)]
    assert sum(one.new for one in found) == 4
    assert found[0].waiting == 4 - found[0].new > 0
    assert found[-1].waiting == 0


@needs_rsync
def test_a_device_is_read_over_ssh(device: Path, tmp_path: Path, ssh: Path) -> None:
    into = tmp_path / "review"
    keep(device, 9, device="", kind="random")
    result = succeed(call_pocketlens("collect", f"pi@door:{device}", "--into", into))
    assert result.stdout == (
        f"pi@door:{device}: 5 new ({sum(p.stat().st_size for p in pictures_in(device)):,} bytes), 0 known\n"
    )
    assert [path.name[:5] for path in pictures_in(into)] == ["door-"] * 5
    assert not (into / ".partial").exists() or not list((into / ".partial").iterdir())
    calls = len(ssh.read_text().splitlines())
    assert calls == 2
    keep(device, 10)
    result = succeed(call_pocketlens("collect", f"pi@door:{device}", "--into", into))
    assert ": 1 new" in result.stdout
    assert result.stdout.endswith("5 known\n")
    assert "BatchMode=yes" in ssh.read_text(), "a script would wait for a password"


@needs_rsync
def test_no_shell_of_the_device_reads_the_path(device: Path, tmp_path: Path, ssh: Path) -> None:
    odd = device.rename(tmp_path / "a b; touch gone $(touch gone)")
    succeed(call_pocketlens("collect", f"door:{odd}", "--into", tmp_path / "review"))
    assert len(pictures_in(tmp_path / "review")) == 4
    assert str(odd) not in ssh.read_text()


@needs_rsync
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nowhere:/x", "nowhere:/x: ssh: Could not resolve hostname nowhere"),
        ("norsync:/x", "norsync:/x: rsync is not installed there; sudo apt install rsync"),
        ("door:/no/such/folder", "door:/no/such/folder: no such folder there"),
    ],
)
def test_what_fails_there_is_one_line_and_others_are_still_collected(
    source: str, problem: str, device: Path, tmp_path: Path, ssh: Path
) -> None:
    result = call_pocketlens("collect", source, device, "--into", tmp_path / "review", "--json", "--quiet")
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {problem}")
    assert result.stderr.count("\n") == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0]["error"].startswith(problem)
    assert lines[1]["new"] == 4


def test_without_rsync_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call_pocketlens("collect", "pi@door:/var/lib/door", "--into", tmp_path / "review")
    assert result.returncode == 1
    assert "rsync is not installed here; sudo apt install rsync" in result.stderr


@pytest.mark.parametrize(
    "source",
    [
        *(
            "-oProxyCommand=touch x:/y",
            "-x",
            "--rsh=touch",
            "door:",
            "door:-x",
            "pi@-door:/x",
            "a@b@c:/x",
            "door::module",
        ),
        *("rsync://door/x", "https://door/x", "do or:/x", "door:/x\ny", "$(x):/y", "@door:/x", "-l@door:/x"),
    ],
)
def test_what_could_be_an_option_or_is_no_host_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(CollectError):
        split_remote(source)
    if not source.startswith("-"):
        result = call_pocketlens("collect", source, "--into", tmp_path / "review")
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "review").exists()


def test_sources_of_this_machine_and_others() -> None:
    assert split_remote("/media/usb") is None
    assert split_remote("./a:b") is None
    assert split_remote("pi@door:/var/lib/x") == ("pi@door", "/var/lib/x")
    assert split_remote("pi@[fe80::1%eth0]:x y") == ("pi@[fe80::1%eth0]", "x y")


def hostile(folder: Path) -> None:
    """What an attacker who owns a device would put there."""
    keep(folder, 1)
    (folder / "link.jpg").symlink_to("/etc/passwd")
    (folder / "elsewhere").symlink_to("/etc")
    (folder / "text.jpg").write_text("no picture")
    (folder / "bomb.png").write_bytes(
        picture_of(1, kind="PNG")[:16] + (60_000).to_bytes(4, "big") * 2 + picture_of(1, kind="PNG")[24:]
    )
    (folder / "..\\..\\x.jpg").write_bytes(picture_of(2))
    (folder / "a\nb.jpg").write_bytes(picture_of(3))
    (folder / "-rf.jpg").write_bytes(picture_of(4))
    (folder / ".hidden.jpg").write_bytes(picture_of(5))
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()  # noqa: PTH109 - the path of a socket is short
        os.chdir(folder)
        server.bind("socket.jpg")
        os.chdir(here)
    huge = folder / "huge.jpg"
    huge.touch()
    os.truncate(huge, 2**33)
    (folder / "deep").mkdir()
    keep(folder / "deep", 6, scores={"x" * 300: 1, "y": float("nan")}, device="../../etc\x1b[2J", model="../x", time=-1)
    (folder / "deep" / "20260006-uncertain.json").write_text(
        '{"device": "../../etc\\u001b[2J", "time": 1e99, "scores": ['
    )
    keep(folder / "deep", 7, device="=cmd|' /C calc'!A0", kind="random")


@pytest.mark.parametrize("way", ["folder", pytest.param("ssh", marks=needs_rsync)])
def test_a_hostile_device_does_no_harm(way: str, tmp_path: Path, ssh: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    hostile(folder)
    source = str(folder) if way == "folder" else f"door:{folder}"
    result = succeed(call_pocketlens("collect", source, "--into", tmp_path / "review", "--json"))
    found = json.loads(result.stdout)
    assert found["new"] == 3
    assert found["passed_over"] >= 5
    assert "2 cannot be read as pictures" in result.stderr
    names = [path.name for path in pictures_in(tmp_path / "review")]
    assert len(names) == 3
    for name in names:
        assert is_safe_path(name)
        assert not name.startswith(("=", "-"))
        note = read_note((tmp_path / "review" / name).with_suffix(".json").read_bytes())
        assert note.device.isprintable()
        assert note.reason in ("", "random", "uncertain")
        assert "/" not in note.device
    assert {path.name for path in tmp_path.iterdir()} == {"stick", "review", "own"}


def test_a_review_folder_that_is_open_elsewhere_is_refused_in_one_line(device: Path, tmp_path: Path) -> None:
    import fcntl

    into = tmp_path / "review"
    into.mkdir()
    with (into / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = call_pocketlens("collect", device, "--into", into)
    assert result.returncode == 1
    assert result.stderr == f"error: {into}: another process has this review folder open; wait for it, or end it\n"


def test_a_torn_last_line_is_mended(device: Path, tmp_path: Path) -> None:
    into = tmp_path / "review"
    into.mkdir()
    Collection(into).collect(source_of(str(device), into))
    ledger = into / "collected.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    found = Collection(into).collect(source_of(str(device), into))
    assert (found.new, found.known) == (1, 3)
    assert len(pictures_in(into)) == 4
    assert ledger.read_bytes() == b"".join(lines)


def test_a_picture_whose_note_is_not_written_yet_waits(device: Path, tmp_path: Path) -> None:
    late = device / "20260101T000000.000Z-random-ab12-cat.jpg"
    late.write_bytes(picture_of(50))
    into = tmp_path / "review"
    into.mkdir()
    assert Collection(into).collect(FolderSource(device)).new == 4
    late.with_suffix(".json").write_text('{"kind": "random"}')
    assert Collection(into).collect(FolderSource(device)).new == 1


def fake_rsync(folder: Path, script: str) -> None:
    program = folder / "bin" / "rsync"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@needs_rsync
def test_a_transfer_that_breaks_off_keeps_what_has_arrived_and_goes_on(device: Path, tmp_path: Path, ssh: Path) -> None:
    real = shutil.which("rsync")
    # The last note is lost on the way, so that its picture must wait for it.
    begin = f'case "$*" in *--list-only*|*--server*) exec {real} "$@";; esac; {real} "$@"'
    end = 'for last; do :; done; rm "$last"20260003*.json; echo "rsync: connection unexpectedly closed" >&2; exit 12'
    fake_rsync(tmp_path / "own", f"{begin}; {end}")
    into = tmp_path / "review"
    broken = call_pocketlens("collect", f"door:{device}", "--into", into, "--quiet")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr.endswith(
        "rsync ended with status 12: rsync: connection unexpectedly closed; collect again to go on\n"
    )
    assert len(pictures_in(into)) == 3
    fake_rsync(tmp_path / "own", f'exec {real} "$@"')
    assert ": 1 new" in succeed(call_pocketlens("collect", f"door:{device}", "--into", into, "--quiet")).stdout
    assert [read_note(path.with_suffix(".json").read_bytes()).reason for path in pictures_in(into)].count("random") == 1


@needs_rsync
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("yes 'drwxr-xr-x 4,096 2026/01/01 00:00:00 x'", "its list does not end"),
        ("yes -- '-rw-r--r-- 4,096 2026/01/01 00:00:00 x.jpg'", "more than 200,000 files"),
        ("yes | tr -d '\\n' | head -c 200000; exit 5", "rsync ended with status 5: it gave no reason"),
    ],
)
def test_what_an_endless_device_says_is_cut(script: str, problem: str, tmp_path: Path, ssh: Path) -> None:
    fake_rsync(tmp_path / "own", script)
    result = call_pocketlens("collect", "door:/x", "--into", tmp_path / "review", "--quiet")
    assert result.returncode == 1
    assert problem in result.stderr
    assert len(result.stderr) < 1000
    assert result.stderr.count("\n") == 1
