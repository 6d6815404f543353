"""A child process that stays: its calls, its progress, its deaths, and its end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.child_process import PACKAGE_ROOT, ChildError
from runtime.child_worker import ChildWorker
from runtime.errors import ModelFileError
from runtime.progress import Silent, progress, report_to

pytestmark = pytest.mark.fast


def count_to(number: int, seconds: float = 0.0) -> int:
    """What the child counts to, with progress."""
    with progress(number, "counting") as bar:
        for _ in range(number):
            time.sleep(seconds)
            print("what a library prints does no harm", flush=True)
            bar.update(1)
    return number


def fail(reason: str) -> None:
    raise ValueError(reason)


def fill_the_disk() -> None:
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise ModelFileError("the checkpoint cannot be written") from error


HERE = __name__


@pytest.fixture
def worker() -> Iterator[ChildWorker]:
    with ChildWorker() as worker:
        yield worker


def test_calls_share_one_process_and_their_results_can_be_taken_in_any_order(worker: ChildWorker) -> None:
    calls = [worker.submit(f"{HERE}:count_to", number) for number in (3, 5)]
    assert [call.result() for call in reversed(calls)] == [5, 3]
    assert worker.submit("os:getpid").result() == worker.submit("os:getpid").result() != os.getpid()


def test_an_error_is_one_line_and_the_next_call_goes_on(worker: ChildWorker) -> None:
    with pytest.raises(ChildError, match=r"^unexpected ValueError: no good"):
        worker.submit(f"{HERE}:fail", "no\ngood").result()
    assert worker.submit(f"{HERE}:count_to", 2).result() == 2


def test_a_full_disk_is_known_as_one(worker: ChildWorker) -> None:
    for function, arguments, is_full in (("fill_the_disk", (), True), ("fail", ("no good",), False)):
        with pytest.raises(ChildError) as raised:
            worker.submit(f"{HERE}:{function}", *arguments).result()
        assert raised.value.is_disk_full == is_full


def test_a_crash_belongs_to_its_call_alone(worker: ChildWorker) -> None:
    first, crashing, behind = (worker.submit(name) for name in ("os:getpid", "os:abort", "os:getpid"))
    with pytest.raises(ChildError, match=r"^its process died of SIGABRT$"):
        crashing.result()
    assert first.result() != behind.result()
    os.kill(worker.submit("os:getpid").result(), signal.SIGKILL)  # while it has nothing to do
    time.sleep(0.2)
    assert worker.submit(f"{HERE}:count_to", 2).result() == 2


def test_a_restart_ends_the_process_and_the_next_call_starts_another(worker: ChildWorker) -> None:
    first = worker.submit("os:getpid").result()
    assert worker.submit("os:getpid").result() == first
    (worker.folder / "kept").touch()
    worker.restart()
    assert not Path(f"/proc/{first}").exists()
    assert (worker.folder / "kept").exists()
    assert worker.submit("os:getpid").result() != first


def test_its_progress_is_shown_here(worker: ChildWorker) -> None:
    shown: list[Any] = []

    class Recorder(Silent):
        def __init__(self, length: int, label: str) -> None:
            shown.append([length, label])

        def update(self, n_steps: int, current_item: Any = None) -> None:
            del current_item
            shown.append(n_steps)

        def __exit__(self, *error: object) -> None:
            shown.append("end")

    report_to(Recorder)
    try:
        worker.submit(f"{HERE}:count_to", 40, 0.01).result()
    finally:
        report_to(Silent)
    first, *steps, last = shown
    assert (first, last) == ([40, "counting"], "end")
    assert sum(steps) == 40
    assert 2 < len(steps) < 20, "it is shown meanwhile, and not at every step"


def hear_ctrl_c() -> None:
    """A shell's background job, as a test run may be, starts with the signal ignored, and its children with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_of_the_child_is_ctrl_c_here(worker: ChildWorker) -> None:
    worker.submit(f"{__name__}:hear_ctrl_c").result()
    pid = worker.submit("os:getpid").result()
    call = worker.submit("time:sleep", 60)
    time.sleep(0.2)
    os.kill(pid, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        call.result()


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> None:
    for _ in range(100):
        if not is_alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} is still there")


def test_it_ends_at_once_whatever_it_is_busy_with() -> None:
    with ChildWorker() as worker:
        pid, folder = worker.submit("os:getpid").result(), worker.folder
        worker.submit("time:sleep", 60)
        started = time.monotonic()
    assert time.monotonic() - started < 4
    assert not is_alive(pid)
    assert not folder.exists()


def test_no_orphan_is_left_when_the_parent_is_killed() -> None:
    code = (
        "from runtime.child_worker import ChildWorker\n"
        "worker = ChildWorker(); print(worker.submit('os:getpid').result(), worker.folder, flush=True)\n"
        "worker.submit('time:sleep', 60).result()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PACKAGE_ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for_end(int(pid))
    assert not Path(folder).exists()


def test_a_frozen_application_does_not_start_itself_again(worker: ChildWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ChildError, match="no Python to start"):
        worker.submit("runtime.files:shown", "x")
