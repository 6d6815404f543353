"""A child process that keeps running and calls one function of ours after the other.

`child_process` starts a process for each call. A worker is for many calls: it pays for its start and its imports once,
and the functions can keep in memory what a later call needs again.

The parent writes each call as a line of JSON to the child's standard input. The child answers in lines of JSON on its
standard output: progress, then the result or the error. The child ends when its standard input does, so that none is
left when the parent is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, TypeVar, cast

from .child_process import STATUS_INTERRUPTED, ChildError, call_by_name, describe_end, python_command
from .errors import describe, is_disk_full
from .progress import Progress, progress, report_to

_PROGRAM = "import sys; sys.path[:] = {path!r}; from runtime.child_worker import _child; _child(sys.argv[1])"
_SECONDS_TO_END = 5
#: Progress is sent at most this often, so that a parent that is busy never finds the pipe full.
_SECONDS_BETWEEN_STEPS = 0.1

Message = dict[str, Any]
Self = TypeVar("Self", bound="ChildWorker")


class ChildWorker:
    """Calls functions of ours in one child process, in the order in which they were submitted.

    Use it as a context manager. A worker serves one thread. What the functions report to `progress` is reported here
    whenever this process waits for a result. If the process dies, the call that it was busy with raises a ChildError,
    and a new process takes the calls behind it.

    Args:
        variables: added to its environment.

    Attributes:
        folder: a temporary folder for files that calls hand over; it is removed with the worker.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = variables or {}
        self._temporary = tempfile.TemporaryDirectory(prefix="pocketlens-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: deque[PendingCall] = deque()
        self._shown = ExitStack()
        self._bar: Progress | None = None

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, so that its start takes no time later; else the first call does."""
        if self._process is not None and self._process.poll() is not None and not self._calls:
            self._end()  # it died between two calls
        if self._process is not None:
            return
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                python_command(_PROGRAM, str(self.folder)),
                env={**os.environ, **self._variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        for call in self._calls:
            self._send(call)

    def submit(self, function: str, *arguments: Any) -> PendingCall:
        """Hand over a call and go on; `PendingCall.result` waits for it.

        Args:
            function: as `"package.module:function"`.
            arguments: values that JSON can hold; files are handed over by absolute path.
        """
        self.start()
        call = PendingCall(self._receive, {"function": function, "arguments": arguments})
        self._calls.append(call)
        self._send(call)
        return call

    def restart(self) -> None:
        """End the process between two calls, so that its memory goes back; the next call starts a new one."""
        if self._process is not None and not self._calls:
            self._process.kill()  # at the end of its input it would remove the folder
            self._end()

    def close(self) -> None:
        """End the process; calls whose result nobody waited for are dropped."""
        self._shown.close()
        self._calls.clear()
        self._end()
        self._temporary.cleanup()

    def _end(self) -> int:
        """Close the pipes, which ends the process, and wait for that; its exit status."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()
        try:
            return process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    @property
    def _log(self) -> Path:
        return self.folder / "stderr.txt"

    def _send(self, call: PendingCall) -> None:
        pipe = _pipe(self._process.stdin if self._process else None)
        with suppress(BrokenPipeError):  # it died: `_receive` finds out
            pipe.write(json.dumps(call.request).encode() + b"\n")
            pipe.flush()

    def _receive(self) -> None:
        """Wait for one message of the child, and act on it; it always belongs to the first call."""
        line = _pipe(self._process.stdout if self._process else None).readline()
        died = not line.endswith(b"\n")
        message = self._bury() if died else json.loads(line)
        if "begin" in message:
            self._bar = self._shown.enter_context(progress(*message["begin"]))
        elif "steps" in message:
            if self._bar is not None:
                self._bar.update(message["steps"])
        else:  # the end of a bar, or of the call
            self._shown.close()
            if "end" not in message:
                self._calls.popleft().outcome = message
        if died and self._calls:
            self.start()

    def _bury(self) -> Message:
        """The outcome of the call that the process died of."""
        status = self._end()
        if status == STATUS_INTERRUPTED:
            raise KeyboardInterrupt
        return {"error": describe_end(status, self._log.read_bytes()), "status": status}


class PendingCall:
    """A call that was handed to a worker.

    Attributes:
        request: what the child is sent.
        outcome: the child's last message about it; None until then.
    """

    def __init__(self, receive: Callable[[], None], request: dict[str, Any]) -> None:
        self.request = request
        self.outcome: Message | None = None
        self._receive = receive

    def result(self) -> Any:
        """Wait until the function has returned, and give what it returned, as JSON gives it back.

        Raises:
            ChildError: the function raised an error, whose line is the text; or its process died.
            KeyboardInterrupt: Ctrl-C ended the child.
        """
        while self.outcome is None:
            self._receive()
        if "error" in self.outcome:
            raise ChildError(self.outcome["error"], self.outcome.get("status", 1), self.outcome.get("full", False))
        return self.outcome["result"]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    return cast("IO[bytes]", stream)  # the process was started with pipes


class _RelayedProgress:
    """Progress in the child, which the parent shows."""

    def __init__(self, send: Callable[[Message], None], length: int, label: str) -> None:
        self._send, self._due, self._sent = send, 0, time.monotonic()
        send({"begin": [length, label]})

    def __enter__(self) -> _RelayedProgress:
        return self

    def __exit__(self, *_error: object) -> None:
        self._send({"steps": self._due})
        self._send({"end": True})

    def update(self, n_steps: int, current_item: Any = None) -> None:
        """Add steps; they are sent now and then."""
        del current_item
        self._due += n_steps
        if time.monotonic() - self._sent >= _SECONDS_BETWEEN_STEPS:
            self._send({"steps": self._due})
            self._due, self._sent = 0, time.monotonic()


def _serve(folder: str) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not come between the replies

    def send(message: Message) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    report_to(partial(_RelayedProgress, send))
    calls: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(calls, folder), daemon=True).start()
    while True:
        call = calls.get()
        try:
            send({"result": call_by_name(call["function"], call["arguments"])})
        except Exception as error:  # the caller raises its text in an error of its own
            send({"error": describe(error), "full": is_disk_full(error)})


def _listen(calls: SimpleQueue[dict[str, Any]], folder: str) -> None:
    """Take calls while the parent is there; end the process, whatever it is busy with, when the parent is gone."""
    for line in sys.stdin.buffer:
        calls.put(json.loads(line))
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed cannot
    os._exit(0)


def _child(folder: str) -> None:
    try:
        _serve(folder)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(STATUS_INTERRUPTED)
