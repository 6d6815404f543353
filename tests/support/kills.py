"""Kills a process before each of its changes to files: before the first, before the second, and so on."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

_CHANGES = ("os.rename", "os.remove", "os.link", "os.rmdir", "os.mkdir", "os.chmod", "tempfile.mkdtemp")
_KILLED = -signal.SIGKILL


def killed_at_each_change(
    root: Path, prepare: Callable[[Path], object], change: Callable[[Path], object]
) -> Iterator[Path]:
    """A folder for each change to files that `change` makes: prepared, then changed until the kill before that change.

    Python's audit events tell the changes: renaming, removing, linking, making folders, changing modes, opening
    for writing.
    """
    number, status = 0, _KILLED
    while status == _KILLED:
        number += 1
        folder = root / f"kill-{number}"
        folder.mkdir()
        prepare(folder)
        status = _call_until(number, change, folder)
        yield folder
    assert status == 0, f"the child ended with status {status}"
    assert number > 5, "too few changes were made to files"


def _call_until(number: int, change: Callable[[Path], object], folder: Path) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which the child never needs
        child = os.fork()
    if child == 0:
        # The parent's garbage is the parent's: TensorFlow's iterators in it would wait for threads that a fork leaves.
        gc.freeze()
        try:
            sys.addaudithook(_Killer(number))
            change(folder)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class _Killer:
    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _CHANGES or writes:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)


#: The system calls that change files, in SQLite's library too.
_WRITING = (
    "write,pwrite64,writev,pwritev,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,"
    "mkdirat,rmdir,fsync,fdatasync"
)


def can_trace() -> bool:
    """Whether strace is here and may watch."""
    strace = shutil.which("strace")
    return bool(strace) and not subprocess.run([str(strace), "-f", "true"], capture_output=True, check=False).returncode


def killed_at_each_system_call(
    root: Path, prepare: Callable[[Path], object], program: str, least: int
) -> Iterator[Path]:
    """A folder for each system call of a program that changes files: prepared, then changed until the kill before it.

    Args:
        program: the code of a Python program, which gets the folder as its argument.
        least: how many such calls it makes at least.
    """
    number, status = 0, _KILLED
    while status == _KILLED:
        number += 1
        folder = root / f"kill-{number}"
        folder.mkdir()
        prepare(folder)
        strace = ("strace", "-f", "-qq", "-o", "/dev/null", f"--trace={_WRITING}")
        kill = f"--inject={_WRITING}:signal=KILL:when={number}"
        status = subprocess.run(
            [*strace, kill, sys.executable, "-B", "-c", program, str(folder)], check=False
        ).returncode
        yield folder
    assert status == 0, f"the program ended with status {status}"
    assert number > least, f"only {number - 1} calls changed files"
