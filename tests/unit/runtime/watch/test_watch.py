from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import InterpreterError, read_model, seal
from runtime.errors import WatchError
from runtime.testing import FakeInterpreter
from runtime.watch import sorter as moving
from runtime.watch.entries import Identity
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.scanner import Folder, Settling, keeps_inodes
from runtime.watch.sorter import Sorter
from runtime.watch.watcher import Answer, Watch
from tests.conftest import Exported, Samples, run_pocketlens

ROOT = Path(__file__).parents[4]


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


class Steps:
    """A process's life, of which each wait is one step of a test, and which ends after the last."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self._waits = len(steps) + 1

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...

    def alive(self) -> bool:
        return self._waits > 0

    def wait(self, seconds: float) -> bool:
        self._waits -= 1
        if self._steps:
            self._steps.pop(0)()
        return self.alive()


CLASSIFIER = FakeInterpreter(["cat", "dog"], [[0.9, 0.1]]).classifier()


def watched(
    folder: Path, *steps: Callable[[], object], tell: Callable[[Answer], None] | None = None, **options: Any
) -> list[Answer]:
    """What a watch of a folder tells while the steps are done."""
    told: list[Answer] = []
    options = {"settle": 0.0, "patience": 0.0, **options}
    classify = options.pop("classify", CLASSIFIER.classify)
    place = Folder(str(folder), options.pop("recursive", False))
    with Journal(folder / DEFAULT_NAME, folder) as journal:
        Watch(place, journal, classify, tell or told.append, **options).run(Steps(*steps))
    return told


def names(told: Sequence[Answer]) -> list[str]:
    return [answer.entry.path for answer in told]


def test_images_are_answered_once_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "B.JPG", 1)
    draw(tmp_path / "deep" / "c.png")
    draw(tmp_path / ".hidden.png")
    draw(tmp_path / "elsewhere" / "real.png")
    for name in ("notes.txt", "x.png.part", "x.png.tmp", "x.jpg.crdownload"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere" / "real.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    told = watched(tmp_path, lambda: draw(tmp_path / "late.png"))
    assert sorted(names(told)) == ["B.JPG", "a.png", "late.png"]
    assert names(told)[-1] == "late.png"
    assert told[0].as_dict() == {
        "path": str(tmp_path / told[0].entry.path),
        "predictions": [p.as_dict() for p in CLASSIFIER.classify(tmp_path / "a.png")],
    }
    assert watched(tmp_path) == []


def test_folders_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    draw(tmp_path / "out" / "x.png")
    folder = tmp_path / "in"
    for name in ("a.png", "deep/b.png", "deep/deeper/c.png", ".hidden/d.png"):
        draw(folder / name)
    (folder / "link").symlink_to(tmp_path / "out")
    told = watched(folder, lambda: shutil.rmtree(folder / "deep"), lambda: draw(folder / "new/d.png"), recursive=True)
    assert sorted(names(told)) == ["a.png", "deep/b.png", "deep/deeper/c.png", "new/d.png"]


def test_a_picture_put_in_another_s_place_is_a_new_one(tmp_path: Path) -> None:
    latest = draw(tmp_path / "latest.png")

    def by_rename_with_the_same_time() -> None:
        before = latest.stat()
        new = draw(tmp_path / "new.part.png")
        os.truncate(new, before.st_size)
        os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
        new.rename(latest)

    told = watched(tmp_path, lambda: draw(latest, 1), lambda: None, by_rename_with_the_same_time, lambda: None)
    assert names(told) == ["latest.png"] * 3
    assert len({answer.entry.identity for answer in told}) == 3
    assert watched(tmp_path) == []


def test_files_must_stand_still() -> None:
    settling = Settling(settle=1.0, patience=5.0)
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


def test_a_truncated_picture_that_grows_is_no_error(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "bmp"):
        whole = draw(tmp_path / "elsewhere" / f"w.{suffix}").read_bytes()
        young = tmp_path / f"young.{suffix}"
        young.write_bytes(whole[: len(whole) // 2])
        told = watched(tmp_path, lambda: None, lambda p=young, w=whole: p.write_bytes(w), lambda: None, patience=60)
        assert [answer.entry.error for answer in told] == [""], suffix
        assert told[0].entry.predictions


def test_one_that_stays_truncated_is_an_error_once(tmp_path: Path) -> None:
    young = draw(tmp_path / "young.png")
    os.truncate(young, young.stat().st_size - 20)
    told = watched(tmp_path, lambda: time.sleep(0.3), lambda: None, lambda: None, patience=0.2)
    assert [a.as_dict() for a in told] == [
        {"path": str(young), "error": f"{young}: truncated PNG, its end is missing"},
    ]
    assert watched(tmp_path) == []
    denied = tmp_path / "huge.png"
    with denied.open("wb") as file:
        file.truncate(65 * 2**20)
    (told_again,) = watched(tmp_path)
    assert "larger than 64 MiB" in told_again.entry.error


def test_what_was_not_told_is_told_again(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    heard: list[Answer] = []

    def killed(answer: Answer) -> None:
        heard.append(answer)
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            watched(tmp_path, tell=killed)
    assert len(set(names(heard))) == 1
    assert [answer.replayed for answer in heard] == [False, True, True]
    told = watched(tmp_path)
    assert [answer.replayed for answer in told] == [True, False]
    assert told[0].as_dict()["replayed"] is True
    assert sorted(names(told)) == ["a.png", "b.png"]
    assert watched(tmp_path) == []


def test_images_that_were_there_can_be_passed_over_at_the_first_start_alone(tmp_path: Path) -> None:
    old = draw(tmp_path / "old.png")
    assert names(watched(tmp_path, lambda: draw(tmp_path / "new.png"), lambda: None, existing=False)) == ["new.png"]
    draw(tmp_path / "while-away.png")
    assert names(watched(tmp_path, existing=False)) == ["while-away.png"]
    draw(old, 1)
    assert names(watched(tmp_path, existing=False)) == ["old.png"]


def test_a_file_that_is_replaced_or_gone_before_it_is_read_waits(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
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
        Folder(str(draw(tmp_path / "x.png")))


def test_a_model_that_fails_stops_the_watch_and_loses_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")

    def fail(_: bytes) -> Any:
        raise InterpreterError("the model failed to run")

    with pytest.raises(InterpreterError):
        watched(tmp_path, classify=fail)
    assert names(watched(tmp_path)) == ["a.png"]


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


@pytest.mark.parametrize("where", ["journal.add", "moved", "told"])
def test_a_move_is_finished_after_a_kill(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "b.png"):
        draw(folder / name)
    mover = Sorter(f"{folder}/{{label}}", ["cat", "dog"])
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        if where == "journal.add":
            patch.setattr(Sorter, "move", killed)
        else:
            patch.setattr(Journal, "told", killed)
        with pytest.raises(KeyboardInterrupt):
            watched(folder, mover=mover, tell=killed if where == "moved" else None)
    told = watched(folder, mover=mover)
    assert [answer.replayed for answer in told] == [True, False]
    assert sorted(str(answer.moved_to) for answer in told) == [f"{folder}/cat/{name}" for name in ("a.png", "b.png")]
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME, "cat"]
    assert watched(folder, mover=mover) == []


@pytest.mark.parametrize("template", [None, "{label}", "file/{label}"])
def test_a_claimed_image_comes_back_if_it_is_not_moved_after_all(
    template: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cat"
    draw(folder / "a.png")
    (tmp_path / "file").write_text("no folder")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_publish_anywhere", killed)
        with pytest.raises(KeyboardInterrupt):
            watched(folder, mover=Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"]))
    assert not (folder / "a.png").exists()
    mover = None if template is None else Sorter(f"{tmp_path}/{template}", ["cat", "dog"])
    (answer,) = watched(folder, mover=mover)
    assert answer.replayed
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME, "a.png"]


def test_one_that_cannot_be_moved_is_told_with_the_reason(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "out").write_text("no folder")
    (answer,) = watched(tmp_path / "in", mover=Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"]))
    assert answer.moved_to is None
    assert "cannot be moved" in answer.as_dict()["move_error"]
    assert answer.as_dict()["predictions"][0]["label"] == "cat"


# The command itself.


class Running:
    """A watch in a process of its own."""

    def __init__(self, log: Path, *arguments: object, **variables: str) -> None:
        self.log = log
        with log.open("ab") as out, log.with_suffix(".err").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime.cli.main", "watch", *map(str, arguments)],
                stdout=out,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            )

    def lines(self, count: int = 0, timeout: float = 60) -> list[Any]:
        """What it printed as JSON, as soon as that are so many lines."""
        end = time.monotonic() + timeout
        while self.log.read_bytes().count(b"\n") < count:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < end, f"{self.log.read_text()}\n{self.errors}"
            time.sleep(0.02)
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path: Path, digits_export: Exported) -> Iterator[Callable[..., Running]]:
    """Starts `pocketlens watch --json` with the digits model; all are ended after the test."""
    running: list[Running] = []

    def begin(*arguments: object, **variables: str) -> Running:
        quick = ("--settle", 0.1, "--interval", 0.05, "--model", digits_export.int8, "--json")
        running.append(Running(tmp_path / f"log{len(running)}", *quick, *arguments, **variables))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()


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
        messages = []
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
    [("false", "ended with status 1"), ("no-such-program", "cannot be started"), ("sleep 60", "killed after 0.2 s")],
)
def test_a_command_that_fails_does_not_stop_the_watch(
    command: str, reason: str, start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for file in digits_samples.files[:2]:
        shutil.copy(file, folder)
    watch = start("--exec", command, "--exec-timeout", 0.2, folder)
    watch.lines(2)
    assert watch.stop() == 0
    assert [reason in line for line in watch.errors.splitlines()] == [True, True]


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
    expected = json.loads((folder / DEFAULT_NAME).read_text().splitlines()[1])["predictions"][0]
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
    assert "predictions" in other.read_text()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--move-to", "out"), "has no {label}"),
        (("--exec", "x {file}"), "unknown placeholder"),
        (("--exec", ""), "empty"),
        (("-r", "--move-to", "sorted/{label}"), "with --recursive"),
        (("--deny", "ten"), "no label 'ten'"),
        (("--interval", "0"), "not in the range"),
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


# The issue's own: many files, four writers, kills.

WRITER = """
import random, sys, time
from pathlib import Path
folder, writer, count, pause = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
data, rng = Path(sys.argv[2]).read_bytes(), random.Random(writer)
for number in range(count):
    path = folder / f"{writer}-{number}.png"
    way = rng.choice(["at once", "chunks", "slowly", "rename"])
    if way == "rename":
        path.with_suffix(".png.part").write_bytes(data)
        path.with_suffix(".png.part").rename(path)
    elif way == "at once":
        path.write_bytes(data)
    else:
        with open(path, "wb", buffering=0) as file:
            for start in range(0, len(data), 40):
                file.write(data[start:start + 40])
                if way == "slowly":
                    time.sleep(pause)
    time.sleep(rng.uniform(0, pause))
"""


def survive(
    start: Callable[..., Running], sample: Path, folder: Path, count: int, kills: int, pause: float, moving: bool
) -> None:
    """Four writers drop `count` files while the watch is killed; each is answered once, and told of."""
    folder.mkdir()
    out = folder.parent / "out"
    journal = folder / DEFAULT_NAME
    # A long interval: images are answered in bursts, and half of the kills come in the middle of one.
    options = ("--interval", 0.4, *(("--move-to", out / "{label}") if moving else ()), folder)
    rng = random.Random(kills)
    arguments = [str(folder), str(sample)]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, *arguments, str(writer), str(count // 4), str(pause)])
        for writer in range(4)
    ]
    watches = []
    meanwhile = pending = 0
    for kill in range(kills):
        before = journal.stat().st_size if journal.exists() else 0
        watches.append(start(*options))
        end = time.monotonic() + 120
        while (not journal.exists() or journal.stat().st_size <= before) and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5 if kill % 2 else 0.02))
        watches[-1].stop(signal.SIGKILL)
        meanwhile += any(writer.poll() is None for writer in writers)
        pending += b'"predictions"' in journal.read_bytes().splitlines()[-1]
    watches.append(start(*options))
    assert [writer.wait(300) for writer in writers] == [0] * 4
    end = time.monotonic() + 120
    while journal.read_bytes().count(b'"predictions"') < count and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)  # for what might be answered twice
    assert watches[-1].stop() == 0, watches[-1].errors

    expected = {f"{writer}-{number}.png" for writer in range(4) for number in range(count // 4)}
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    answers = Counter(record["path"] for record in records if "path" in record)
    assert answers == Counter(expected)
    assert not any("error" in record for record in records)
    told = [line for watch in watches for line in watch.lines()]
    print(
        f"{count} files; {kills} kills, {meanwhile} of them while files came, {pending} between an answer and its mark"
    )
    print(f"{len(told)} lines told, {sum(line.get('replayed', False) for line in told)} of them replayed")
    assert meanwhile > 0
    assert {Path(line["path"]).name for line in told} == expected
    assert len(told) - count <= kills
    first_told = [line for line in told if not line.get("replayed")]
    assert max(Counter(line["path"] for line in first_told).values()) == 1  # a repeated line says so
    if moving:
        assert Counter(path.name for path in out.rglob("*") if path.is_file()) == Counter(expected)
        assert [path.name for path in folder.iterdir()] == [DEFAULT_NAME]


def test_each_file_is_answered_once_whatever_kills_the_watch(
    start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    survive(start, digits_samples.files[0], tmp_path / "in", 160, 3, 0.1, moving=True)


@pytest.mark.slow
@pytest.mark.parametrize("moving", [False, True])
def test_two_thousand_files_and_ten_kills(
    moving: bool, start: Callable[..., Running], digits_samples: Samples, tmp_path: Path
) -> None:
    survive(start, digits_samples.files[0], tmp_path / "in", 2000, 10, 0.03, moving)
