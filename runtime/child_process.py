"""One function called in a process of its own: for what must not share memory or imports with its caller.

A TensorFlow Lite interpreter can take its process down with it, and tflite-runtime 2.14 does not work where TensorFlow
was imported before it. So models are tried, scored and measured in a child.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import PocketlensError, describe
from .progress import Silent, report_to_named, reporter_name

#: The folder that holds our packages.
PACKAGE_ROOT = Path(__file__).resolve().parents[1]
_STATUS_INTERRUPTED = 130
_MAX_REASON = 1000
_SILENT = f"{Silent.__module__}:{Silent.__qualname__}"


class ChildError(PocketlensError, RuntimeError):
    """A child process gave no result.

    Attributes:
        status: its exit status; negative the number of the signal that ended it; None where its time was up.
    """

    def __init__(self, reason: str, status: int | None) -> None:
        super().__init__(reason)
        self.status = status


def call_in_child(
    function: str,
    *arguments: Any,
    shows_progress: bool = False,
    timeout: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> Any:
    """Call a function of ours in a new Python process and give what it returned.

    Args:
        function: as `"package.module:function"`.
        arguments: values that JSON can hold; files are handed over by absolute path.
        shows_progress: let the child write to this process's standard error, and draw its progress there; else what
            it writes is held back.
        timeout: seconds until it is killed; without one it may take as long as it wants.
        variables: added to its environment.

    Returns:
        What the function returned, as JSON gives it back.

    Raises:
        ChildError: it raised an error (the text is that error's own line), died of a signal, or its time was
            up.
        KeyboardInterrupt: Ctrl-C ended the child.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        job = Path(folder)
        (job / "call.json").write_text(json.dumps({"function": function, "arguments": arguments}), encoding="utf-8")
        # -P (3.11) and -I would do; run from where the packages lie, so that no file of the user's folder can be
        # imported in their place.
        command = [
            sys.executable,
            "-m",
            "runtime.child_process",
            folder,
            reporter_name() if shows_progress else _SILENT,
        ]
        try:
            done = subprocess.run(
                command,
                cwd=PACKAGE_ROOT,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if shows_progress else subprocess.PIPE,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"gave no answer in {timeout:g} s", None) from error
        if done.returncode == _STATUS_INTERRUPTED:
            raise KeyboardInterrupt
        result, reason = job / "result.json", job / "reason"
        if done.returncode == 0 and result.is_file():
            return json.loads(result.read_bytes())
        if reason.is_file():
            raise ChildError(reason.read_text(encoding="utf-8")[:_MAX_REASON], done.returncode)
        raise ChildError(_end_of(done.returncode, done.stderr), done.returncode)


def _end_of(status: int, stderr: bytes | None) -> str:
    if status < 0:
        try:
            return f"its process died of {signal.Signals(-status).name}"
        except ValueError:
            return f"its process died of signal {-status}"
    lines = (stderr or b"").decode(errors="replace").strip().splitlines()
    return lines[-1][:_MAX_REASON] if lines else f"its process ended with status {status}"


def _child(folder: str, reporter: str) -> int:
    job = Path(folder)
    try:
        report_to_named(reporter)
        call = json.loads((job / "call.json").read_bytes())
        module, _, name = call["function"].partition(":")
        result = getattr(importlib.import_module(module), name)(*call["arguments"])
        (job / "result.json").write_text(json.dumps(result), encoding="utf-8")
    except KeyboardInterrupt:
        return _STATUS_INTERRUPTED
    except Exception as error:  # whatever it is, the caller tells it in its own error
        (job / "reason").write_text(describe(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1], sys.argv[2]))
