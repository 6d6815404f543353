"""A pool of interpreters for one model, so that any number of threads may call at once and after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakSet

from .errors import InterpreterError
from .interpreter import Interpreter

#: The largest number of interpreters of one model; a further caller waits for one.
MAX_INTERPRETERS = max(2, os.cpu_count() or 1)


class InterpreterPool:
    """Lends an interpreter to each caller, and builds one when all are lent.

    One interpreter must never serve two threads at once: it raises or, rarely, gives wrong scores. A forked process
    has copies of its parent's interpreters, whose threads are gone; it never uses them, and builds its own.

    Args:
        build: makes an interpreter, its tensors allocated.
        input_index, output_index: the interpreter's numbers for the input tensor and the tensor of scores.
    """

    def __init__(self, build: Callable[[], Interpreter], input_index: int, output_index: int) -> None:
        self._build = build
        self._input = input_index
        self._output = output_index
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        # SimpleQueue is written in C; a semaphore beside a list would take longer than a layer of a small model.
        self._idle: SimpleQueue[Interpreter | None] = SimpleQueue()
        self._places = MAX_INTERPRETERS
        self._lock = threading.Lock()

    def forked(self) -> None:
        """Start with an empty pool in a forked child, and keep the parent's interpreters alive to the process's end.

        An interpreter with several threads waits for them when it is destroyed, and the child does not have them: on
        32-bit ARM it hangs or aborts.
        """
        if not self._idle.empty():
            import ctypes

            # A reference that is never released, not even when Python exits.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._idle))
        self._reset()

    def add(self, interpreter: Interpreter) -> None:
        """Add an interpreter that was built already."""
        self._places -= 1
        self._idle.put(interpreter)

    def run(self, tensor: Any, other: int | None = None) -> Any:
        """A copy of the output tensor for one input tensor, as stored.

        Args:
            tensor: the input.
            other: the interpreter's number for a second output; then both are returned.

        Raises:
            InterpreterError: the invocation failed.
        """
        engine = self._take()
        idle = None  # after a failure the next caller builds a new one
        try:
            engine.set_tensor(self._input, tensor)
            engine.invoke()
            stored = engine.get_tensor(self._output)
            if other is not None:
                stored = stored, engine.get_tensor(other)
            idle = engine
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise InterpreterError(f"the model failed to run: {text}") from error
        finally:
            self._idle.put(idle)
        return stored

    def _take(self) -> Interpreter:
        """An idle interpreter, else a new one while there are places, else the first one that is given back."""
        try:
            engine = self._idle.get_nowait()
        except Empty:
            with self._lock:
                free = self._places > 0
                self._places -= free
            engine = None if free else self._idle.get()
        if engine is not None:
            return engine
        try:
            return self._build()
        except BaseException:
            self._idle.put(None)
            raise


_POOLS: WeakSet[InterpreterPool] = WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
