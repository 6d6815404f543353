"""Runs cases in child processes, so that a signal, a hang or a peak of memory is noticed and belongs to its case."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.memory import peak_memory_mb
from runtime.progress import progress

#: The longest processor time of a case, in seconds.
CASE_SECONDS = 5.0
#: The most memory in MB (10**6 bytes) of a process that classifies pictures of any kind, in any number of threads.
PEAK_MB = 300.0
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """The result of a case.

    Attributes:
        case: the case, as the child got it.
        kind: "refused", "answered", "raised" (another error than the one expected), "signal", "died" or "hang".
        error: the error's class and text, or the signal's name.
        seconds: its processor time, so that a busy machine causes no findings. A case that waits takes none; the
            driver's limit in wall-clock time ends it as a hang.
        peak_mb: the child's peak memory during the case; 0 where the system does not report it.
    """

    case: list[Any]
    kind: str
    error: str
    seconds: float
    peak_mb: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Child:
    """`python -m fuzz.child KIND ARGUMENTS...`: reads a case a line and writes an answer a line."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONWARNINGS": "ignore"}
        # Thousands of verdicts on mutants must not fill the user's cache.
        environment["POCKETLENS_CACHE"] = str(log.parent / "cache")
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
            )
        if not self._line(_START_SECONDS):
            self.kill()
            raise RuntimeError(f"the child did not start; see {log}")

    def run(self, case: list[Any], limit: float) -> Outcome:
        assert self._process.stdin is not None
        started = time.monotonic()
        try:
            self._process.stdin.write(json.dumps(case).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(limit)
        except BrokenPipeError:
            line = b""
        seconds = time.monotonic() - started
        if line is None:
            self.kill()
            return Outcome(case, "hang", "", seconds, 0.0)
        if not line:
            status = self._process.wait()
            if status < 0:
                return Outcome(case, "signal", signal.Signals(-status).name, seconds, 0.0)
            return Outcome(case, "died", f"exit status {status}", seconds, 0.0)
        return Outcome(case, **json.loads(line))

    def _line(self, limit: float) -> bytes | None:
        """The next line; empty if the child has ended, None after `limit` seconds."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], limit)
        return self._process.stdout.readline() if ready else None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def run_cases(
    arguments: list[str], cases: Iterable[list[Any]], folder: Path, *, limit: float = 6 * CASE_SECONDS
) -> Iterator[Outcome]:
    """The outcome of each case, in order; a child that died or hung is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    child = None
    try:
        for case in cases:
            child = child or Child(arguments, folder / "child.log")
            outcome = child.run(case, limit)
            yield outcome
            if outcome.kind in ("signal", "died", "hang"):
                child.kill()
                child = None
    finally:
        if child is not None:
            child.kill()


def serve(run: Callable[[list[Any]], tuple[str, str]]) -> None:
    """Answer cases in the child; `run` returns (kind, error) for a case."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code prints must not be taken for an answer
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        begin()
        kind, error = run(json.loads(line))
        answer = {
            "kind": kind,
            "error": error,
            "seconds": time.process_time() - _begun[0],
            "peak_mb": peak_memory_mb() or 0.0,
        }
        print(json.dumps(answer), file=answers, flush=True)


_begun = [0.0]


def begin() -> None:
    """Measure time and memory from here on, so that making the case does not count."""
    with contextlib.suppress(OSError):  # only Linux can reset VmHWM
        Path("/proc/self/clear_refs").write_text("5")
    _begun[0] = time.process_time()


@dataclass
class Summary:
    """The result of a group of cases.

    Attributes:
        name: the group.
        counts: cases by outcome.
        findings: the outcomes of the cases that did not end as they must.
        slowest, largest: the outcomes of the case that took longest, and of the one that used most memory.
    """

    name: str
    counts: dict[str, int]
    findings: list[Outcome]
    slowest: Outcome | None = None
    largest: Outcome | None = None

    @property
    def cases(self) -> int:
        return sum(self.counts.values())


def summarize(
    name: str, outcomes: Iterable[Outcome], total: int, is_finding: Callable[[Outcome], bool], deadline: float
) -> Summary:
    """Run cases with a progress bar, until all have run or `deadline` (of `time.monotonic`) has passed.

    Args:
        outcomes: an iterator that runs the cases, such as `run_cases`.
        total: the number of cases.
        is_finding: whether an outcome is a finding.
    """
    summary = Summary(name, {}, [])
    with progress(total, name) as bar:
        for outcome in outcomes:
            summary.counts[outcome.kind] = summary.counts.get(outcome.kind, 0) + 1
            if is_finding(outcome):
                summary.findings.append(outcome)
                print(f"finding: {name} {json.dumps(outcome.as_dict())[:400]}", flush=True)
            if summary.slowest is None or outcome.seconds > summary.slowest.seconds:
                summary.slowest = outcome
            if summary.largest is None or outcome.peak_mb > summary.largest.peak_mb:
                summary.largest = outcome
            bar.update(1)
            if time.monotonic() > deadline:
                break
    return summary
