"""`pocketlens watch` as a process."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime import read_model, seal
from runtime.watch.journal import DEFAULT_NAME
from runtime.watch.journal_file import History
from tests.support.commands import run_pocketlens
from tests.support.exports import Exported, Samples
from tests.support.watching import ROOT, Running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_systemd_and_stops_when_told(
    number: int, start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(digits_samples.files[0], folder / "a.png")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        watch = start(folder, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        assert manager.recv(4096) == b"READY=1"
        (line,) = watch.lines(1)
        assert set(line) == {"path", "predictions"}
        assert line["path"] == str(folder / "a.png")
        time.sleep(0.5)
        assert watch.stop(number) == 0
        manager.setblocking(False)
        messages: list[bytes] = []
        while not messages or messages[-1] != b"STOPPING=1":
            messages.append(manager.recv(4096))
    assert messages.count(b"WATCHDOG=1") >= 1
    assert b"STATUS=1 answered, 0 of them errors; 0 waiting" in messages
    assert watch.errors == ""


def test_commands_get_what_moved_files_are_called(
    start: Callable[..., Running], digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    file = read_model(digits_export.int8)
    labels = tuple(f"../{label}; touch INJECTED" for label in file.contract.labels)
    (tmp_path / "hostile.tflite").write_bytes(seal(file.flatbuffer, replace(file.contract, labels=labels)))
    folder = tmp_path / "in dir"
    folder.mkdir()
    (tmp_path / "record.py").write_text("import sys; open(sys.argv[1], 'a').write(repr(sys.argv[2:]) + chr(10))")
    name = "a; touch INJECTED $(touch INJECTED).png"
    shutil.copy(digits_samples.files[0], folder / name)
    (folder / "bad.png").write_bytes(b"no image at all")
    program = f"{sys.executable} {tmp_path}/record.py {tmp_path}/record {{path}} {{label}} {{score}}"
    options = ("--model", tmp_path / "hostile.tflite", "--move-to", tmp_path / "out/{label}", "--patience", 0.2)
    watch = start(*options, "--exec", program, folder)
    lines = {line["path"]: line for line in watch.lines(2)}
    assert watch.stop() == 0
    best = lines[str(folder / name)]["predictions"][0]
    moved = tmp_path / "out" / f"_{best['label'].removeprefix('../')}" / name
    assert lines[str(folder / name)]["moved_to"] == str(moved)
    assert moved.read_bytes() == digits_samples.files[0].read_bytes()
    assert (tmp_path / "record").read_text() == repr([str(moved), best["label"], f"{best['score']:.6f}"]) + "\n"
    assert "not an image" in lines[str(folder / "bad.png")]["error"]
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME, "bad.png"]
    assert not [*ROOT.glob("INJECTED"), *tmp_path.rglob("INJECTED")]


@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "ended with status 1"), ("./no-program", "cannot be started"), ("sleep 60", "killed after 0.2 s")],
)
def test_a_command_that_fails_does_not_stop_the_watch(
    command: str, reason: str, start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    broken = tmp_path / "no-program"  # it may be run, and no system knows how
    broken.write_bytes(b"\0")
    broken.chmod(0o755)
    command = command.replace("./no-program", str(broken))
    for file in digits_samples.files[:2]:
        shutil.copy(file, folder)
    watch = start("--exec", command, "--exec-timeout", 0.2, "--exec-retries", 0, folder)
    watch.lines(2)
    assert watch.stop() == 0
    assert [reason in line for line in watch.errors.splitlines()] == [True, True]
    assert all("--exec-timeout" in line for line in watch.errors.splitlines() if "killed" in line)


def test_a_command_that_failed_runs_again_after_a_kill(
    start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(digits_samples.files[0], folder / "a.png")
    command = f"""sh -c 'echo "$1" >> {tmp_path}/attempts; test -e {tmp_path}/ok' _ {{path}}"""
    watch = start("--exec", command, folder)
    while "tried again in 2 s (1 of 10)" not in watch.errors:
        watch.lines(1)
        time.sleep(0.02)
    watch.stop(signal.SIGKILL)
    (tmp_path / "ok").touch()
    watch = start("--exec", command, folder)
    end = time.monotonic() + 30
    while (tmp_path / "attempts").read_text().count("\n") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert watch.stop() == 0
    assert (tmp_path / "attempts").read_text() == f"{folder}/a.png\n" * 2
    assert len(watch.lines()) <= 1  # only a kill before the mark prints it again


def test_an_old_journal_full_of_nothing_does_not_hold_up_a_signal(digits_export: Exported, tmp_path: Path) -> None:
    with (tmp_path / ".pocketlens-watch.jsonl").open("wb") as file:
        file.write(b'{"format": "pocketlens-watch", "version": 1,')
        file.truncate(3 * 2**30)
    result = run_pocketlens("watch", "--model", digits_export.int8, tmp_path, timeout=60)
    assert result.returncode == 1
    assert "line 1 is damaged" in result.stderr


def test_lines_for_people(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(digits_samples.files[0], folder / "a\x1b.png")
    (folder / "b.png").write_bytes(b"no image")
    log = tmp_path / "log"
    quick = ("--settle", 0, "--patience", 0, "--interval", 0.05, "--top", 1, "--model", digits_export.int8)
    watch = Running(log, *quick, folder)
    while not (log.read_text() and watch.errors):
        assert watch.process.poll() is None
        time.sleep(0.05)
    assert watch.stop() == 0
    expected = json.loads(run_pocketlens("watch", "--history", folder).stdout.splitlines()[0])["predictions"][0]
    assert log.read_text() == f"{folder}/a\\x1b.png: {expected['label']} {expected['score']:.3f}\n"
    assert watch.errors.startswith(f"error: {folder}/b.png: not an image of a known format")


def test_a_reader_that_leaves_loses_nothing(
    start: Callable[..., Running], digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for file in digits_samples.files[:3]:
        shutil.copy(file, folder)
    command = [sys.executable, "-m", "runtime.cli.main", "watch", "--settle", "0", "--model", str(digits_export.int8)]
    with subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
    lines = start(folder).lines(3)
    assert sorted(line["path"] for line in lines) == sorted(str(folder / f.name) for f in digits_samples.files[:3])
    assert [line.get("replayed", False) for line in lines] == [True, False, False]


def test_a_second_watch_is_refused(
    start: Callable[..., Running], digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    shutil.copy(digits_samples.files[0], tmp_path)
    watch = start(tmp_path)
    watch.lines(1)
    result = run_pocketlens("watch", "--model", digits_export.int8, tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {tmp_path}/{DEFAULT_NAME}: another watch is using this journal")
    other = tmp_path / "other"
    second = start("--journal", other, tmp_path)
    second.lines(1)
    assert (watch.stop(), second.stop()) == (0, 0)
    assert [answer.path for answer, _ in History(other, tmp_path)] == [digits_samples.files[0].name]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--move-to", "out"), "has no {label}"),
        (("--exec", "x {file}"), "unknown placeholder"),
        (("--exec", ""), "empty"),
        (("--exec", "no-such-program {path}"), "'no-such-program': command not found in $PATH"),
        (("--exec", "./no-such-program"), "no program that can be run lies there"),
        (("-r", "--move-to", "sorted/{label}"), "with --recursive"),
        (("--deny", "ten"), "no label 'ten'"),
        (("--interval", "0"), "'0', expected a number from 0.01 to 86,400"),
    ],
)
def test_bad_usage(options: tuple[str, ...], reason: str, digits_export: Exported, tmp_path: Path) -> None:
    result = run_pocketlens("watch", "--model", digits_export.int8, *options, ".", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert reason in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_none_is_no_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_text("no model")
    result = run_pocketlens("watch", "--model", "x.tflite", ".", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: x.tflite: not a TensorFlow Lite model")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there(digits_export: Exported, tmp_path: Path) -> None:
    result = run_pocketlens("watch", "--model", digits_export.int8, tmp_path / "none")
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path}/none: cannot be watched: No such file or directory\n"


def test_the_history_of_a_folder_that_was_never_watched(tmp_path: Path) -> None:
    result = run_pocketlens("watch", "--history", tmp_path)
    assert result.returncode == 1
    assert "there is no journal: nothing was watched here yet" in result.stderr
    assert "--journal" in result.stderr
