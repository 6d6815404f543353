"""Reading a folder of another machine by rsync over ssh: its list first, then the files that are wanted."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from runtime.files import shown
from runtime.image_formats import SUFFIXES
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.progress import progress

from .note import NOTE_SUFFIX
from .sources import MAX_FILES, CollectError, Listed, is_safe_path, pair_up, read_files

#: Seconds in which nothing arrives, after which rsync gives up; seconds of one run in all.
_SILENCE_S, _LONGEST_S = 60, 4 * 3600.0
#: Bytes of a line of its output; a name has 4,096 at most.
_LONGEST_LINE = 16_384
_MAX_MESSAGE = 64 * 1024
#: A line of `rsync --list-only`: rights, size, date, time, name.
_LINE = re.compile(r"(?P<kind>[-dlspcbD])\S{9,} +(?P<size>[\d,.]+) \d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?P<path>.+)")
#: Exit statuses of rsync with which what has arrived is good: some files could not be read, or are gone by now.
_IN_PART = (23, 24)
_NO_PROGRAM = 127


class RsyncSource:
    """A folder of another machine; a `PictureSource`.

    Args:
        host: the machine, with `USER@` before it if need be.
        path: the folder there.
        partial: a folder of this machine for files that are on their way. What is in it when a transfer breaks off is
            used by the next one.
    """

    def __init__(self, host: str, path: str, partial: Path) -> None:
        self._from = f"{host}:{path.rstrip('/')}/"
        self._partial = partial
        self.name = shown(f"{host}:{path}")
        self.device = host.rpartition("@")[2]

    def pictures(self) -> tuple[list[Listed], int]:
        for program in ("rsync", "ssh"):
            if shutil.which(program) is None:
                package = "openssh-client" if program == "ssh" else program
                raise CollectError(f"{self.name}: {program} is not installed here; sudo apt install {package}")
        endings = [f"*{''.join(_either(letter) for letter in end)}" for end in (*SUFFIXES, NOTE_SUFFIX)]
        filters = [f"--include={end}" for end in endings]
        options = ("--list-only", "--recursive", "--exclude=.*", "--include=*/", *filters, "--exclude=*")
        with contextlib.closing(self._run(*options)) as lines:
            return pair_up(self._files(lines))

    def _files(self, lines: Iterator[str]) -> Iterator[tuple[str, int]]:
        for count, line in enumerate(lines):
            if count > 2 * MAX_FILES:
                raise CollectError(f"{self.name}: its list does not end; is this the device that you mean?")
            if file := _file_of(line):
                yield file

    def fetch(self, wanted: Sequence[Listed]) -> Iterator[tuple[Listed, bytes | None, bytes]]:
        self._partial.mkdir(parents=True, exist_ok=True)
        paths = [path for one in wanted for path in ((one.path, one.note_path) if one.has_note else (one.path,))]
        problem: CollectError | None = None
        try:
            with tempfile.NamedTemporaryFile(prefix="pocketlens-list-") as names:
                names.write("\0".join(paths).encode())
                names.flush()
                self._transfer(names.name, len(paths), sum(one.size for one in wanted))
        except CollectError as error:
            problem = error  # what has arrived is good
        arrived = wanted if problem is None else [one for one in wanted if self._is_whole(one)]
        yield from read_files(self._partial, arrived)
        if problem is not None:
            raise problem
        shutil.rmtree(self._partial, ignore_errors=True)

    def _transfer(self, names: str, count: int, size: int) -> None:
        options = (
            "--files-from=" + names,
            "--from0",
            "--times",
            "--chmod=Du=rwx,Fu=rw",
            "--partial-dir=.rsync-partial",
        )
        room = size + MAX_IMAGE_BYTES
        with progress(count, f"{self.name}: collecting") as bar, contextlib.ExitStack() as stack:
            lines = self._run(*options, "--out-format=%n", into=self._partial)
            stack.enter_context(contextlib.closing(lines))
            for path in lines:
                bar.update(1)
                if is_safe_path(path):
                    with contextlib.suppress(OSError):
                        room -= (self._partial / path).lstat().st_size
                if room < 0:
                    raise CollectError(f"{self.name}: sends more than it has listed; is this the device that you mean?")

    def _is_whole(self, one: Listed) -> bool:
        return (self._partial / one.path).is_file() and (not one.has_note or (self._partial / one.note_path).is_file())

    def _run(self, *options: str, into: Path | None = None) -> Generator[str, None, None]:
        """The lines that rsync prints.

        Raises:
            CollectError: it has failed; the message ends with the cure.
        """
        # Where nobody can type a password, none is asked for.
        ask = "" if sys.stderr is not None and sys.stderr.isatty() else " -o BatchMode=yes"
        shell = f"ssh -o ConnectTimeout=20 -o ServerAliveInterval=15{ask}"
        # `--protect-args`: no shell there reads the path.
        general = (f"--timeout={_SILENCE_S}", f"--max-size={MAX_IMAGE_BYTES}", "--protect-args", f"--rsh={shell}")
        command = ["rsync", *general, *options, "--", self._from, *([f"{into}/"] if into is not None else [])]
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "LC_ALL": "C", "RSYNC_RSH": ""},
            ) as process,
        ):
            # A file that never ends stops at the limit, and not at a full disk.
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MAX_IMAGE_BYTES + 1, MAX_IMAGE_BYTES + 1))
            limit = threading.Timer(_LONGEST_S, process.kill)
            limit.daemon = True
            limit.start()
            assert process.stdout is not None
            try:
                for line in iter(lambda: process.stdout.readline(_LONGEST_LINE), b""):  # type: ignore[union-attr]
                    yield line.decode(errors="replace").rstrip("\n")
                status = process.wait()
            finally:
                limit.cancel()
                process.kill()
            errors.seek(0)
            said = errors.read(_MAX_MESSAGE).decode(errors="replace")
        if status and (status not in _IN_PART or "change_dir" in said):
            raise CollectError(f"{self.name}: {_reason(status, said)}")


def _either(letter: str) -> str:
    return f"[{letter}{letter.upper()}]" if letter.isalpha() else letter


def _file_of(line: str) -> tuple[str, int] | None:
    found = _LINE.fullmatch(line)
    if found is None or found["kind"] == "d":
        return None
    digits = re.sub(r"\D", "", found["size"])
    return found["path"], int(digits) if found["kind"] == "-" and len(digits) < 19 else -1


def _reason(status: int, said: str) -> str:
    """Why rsync has failed, and the cure, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    line = shown(next((line for line in lines if not line.startswith("rsync error")), lines[-1] if lines else ""))[:300]
    if status == _NO_PROGRAM or "rsync: command not found" in said or "rsync: not found" in said:
        return "rsync is not installed there; sudo apt install rsync on the device"
    if "change_dir" in said or "No such file" in said:
        return "no such folder there, or it may not be read; give its whole path, as HOST:/PATH"
    if status == 255 or "ssh" in line.lower() or "Permission denied" in said:
        return f"{line or 'ssh has failed'}; try `ssh HOST true` first, with a key (ssh-copy-id HOST)"
    if status < 0:
        return "the transfer was stopped, as it took too long or a file was too large; collect again to go on"
    return f"rsync ended with status {status}: {line or 'it gave no reason'}; collect again to go on"
