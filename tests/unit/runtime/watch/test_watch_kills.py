"""Many files from four writers, while the watch is killed again and again."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runtime.errors import WatchError
from runtime.watch.journal import DEFAULT_NAME
from runtime.watch.journal_file import Answer, History
from tests.support.exports import Samples
from tests.support.watching import Running

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


def answers_in(journal: Path) -> list[Answer]:
    """The answers in the journal of a folder, while it is written or after a kill."""
    try:
        return [answer for answer, _ in History(journal, journal.parent)]
    except WatchError:  # not begun
        return []


def undelivered_in(journal: Path) -> list[tuple[bytes]]:
    """The images whose answers are not marked, read from a copy: the next watch must find what the kill left."""
    with tempfile.TemporaryDirectory() as folder:
        for file in journal.parent.glob(f"{journal.name}*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / journal.name)) as connection:
            return connection.execute("SELECT path FROM answers WHERE NOT delivered").fetchall()


def survive(
    start: Callable[..., Running], sample: Path, folder: Path, count: int, kills: int, pause: float, moving: bool
) -> None:
    """Four writers drop `count` files while the watch is killed; each is answered once and delivered."""
    folder.mkdir()
    out = folder.parent / "out"
    journal = folder / DEFAULT_NAME
    # A long interval: images are answered in bursts, and half of the kills come in the middle of one.
    options = ("--interval", 0.4, *(("--move-to", out / "{label}") if moving else ()), folder)
    rng = random.Random(kills)
    arguments = [str(folder), str(sample)]
    watches = [start(*options)]
    end = time.monotonic() + 120
    while not journal.exists() and time.monotonic() < end:  # an emulated device takes seconds to start
        time.sleep(0.005)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, *arguments, str(writer), str(count // 4), str(pause)])
        for writer in range(4)
    ]
    meanwhile = pending = 0
    for kill in range(kills):
        if kill:
            watches.append(start(*options))
        end = time.monotonic() + 120
        while not watches[-1].lines() and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5 if kill % 2 else 0.02))
        watches[-1].stop(signal.SIGKILL)
        meanwhile += any(writer.poll() is None for writer in writers)
        pending += len(undelivered_in(journal))
    watches.append(start(*options))
    assert [writer.wait(300) for writer in writers] == [0] * 4
    end = time.monotonic() + 120
    while len(answers_in(journal)) < count and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)  # for what might be answered twice
    assert watches[-1].stop() == 0, watches[-1].errors

    expected = {f"{writer}-{number}.png" for writer in range(4) for number in range(count // 4)}
    answers = answers_in(journal)
    assert Counter(answer.path for answer in answers) == Counter(expected)
    assert not any(answer.error for answer in answers)
    assert undelivered_in(journal) == []
    lines = [line for watch in watches for line in watch.lines()]
    print(
        f"{count} files; {kills} kills, {meanwhile} of them while files came, {pending} between an answer and its mark"
    )
    print(f"{len(lines)} lines printed, {sum(line.get('replayed', False) for line in lines)} of them replayed")
    assert meanwhile > 0
    assert {Path(line["path"]).name for line in lines} == expected
    assert len(lines) - count <= kills
    first_lines = [line for line in lines if not line.get("replayed")]
    assert max(Counter(line["path"] for line in first_lines).values()) == 1  # a repeated line says so
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
