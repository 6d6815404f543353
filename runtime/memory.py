"""The memory of this process: the part that pictures may take, and how much is in use.

All threads share one budget. A picture is decoded once the budget has room for it, and gives the room back when its
pixels are freed. Pictures wait in the order in which they came.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

#: A picture: its file, and its pixels in all forms that exist at the same time.
MAX_MEMORY_BYTES = 208 * 10**6
#: Several pictures together, of which each can leave something in the heap; one that takes more is decoded alone.
_SHARED_BYTES = 150 * 10**6
#: Files whose headers have not been read, so that it is not known yet how much their pixels take.
_READING_BYTES = 12 * 10**6
#: A file, a block of metadata in it, and its copy while Pillow joins it: a PNG can hold nothing but such a block.
_COPIES = 3
#: Files up to this size are read at once.
_SMALL_FILE_BYTES = 2**16
#: Blocks of metadata up to this size do not count before a file is open.
_SMALL_BLOCKS_BYTES = 2**19
#: What pictures from this size on have used goes back to the system at once, not only when it is needed.
_LARGE_BYTES = 24 * 10**6


class MallocSetting(NamedTuple):
    """A parameter of glibc's malloc.

    Attributes:
        number: the value of its constant `M_...` in malloc.h.
        value: the value to set.
        variable: the environment variable by which a user sets it.
        tunable: its name within `GLIBC_TUNABLES`.
    """

    number: int
    value: int
    variable: str
    tunable: str


#: One heap for all threads, which `malloc_trim` returns as a whole. glibc gives each thread a heap of its own, and
#: keeps up to 64 MB at the end of each: eight threads held 500 MB that no picture used.
_ONE_HEAP = (MallocSetting(-8, 1, "MALLOC_ARENA_MAX", "arena_max"),)
#: For threads that have a heap of their own already: blocks from 1 MiB on go back to the system when they are freed,
#: and a heap keeps at most 2 MiB at its end. Each picture then faults its memory in anew, which takes a third of the
#: time of decoding a PNG.
_SETTINGS_FOR_HEAPS = (
    MallocSetting(-3, 2**20, "MALLOC_MMAP_THRESHOLD_", "mmap_threshold"),
    MallocSetting(-1, 2**21, "MALLOC_TRIM_THRESHOLD_", "trim_threshold"),
)
_is_one_heap = _has_thresholds = False
#: A block of this size is not taken from a thread's cache, which can hold blocks of other heaps.
_PROBE_BYTES = 4096
#: The bit in the size before a block that is not in the main heap (malloc.c of glibc).
_OTHER_HEAP = 4


def set_malloc(settings: Sequence[MallocSetting]) -> bool:
    """Apply settings to this process, except those that the user's environment sets; False without glibc."""
    import ctypes  # here: few pictures are so large

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    tunables = {part.partition("=")[0] for part in os.environ.get("GLIBC_TUNABLES", "").split(":")}
    for setting in settings:
        if setting.variable not in os.environ and f"glibc.malloc.{setting.tunable}" not in tunables:
            mallopt(setting.number, setting.value)
    return True


def share_heap() -> None:
    """Let threads that start from here on use the main heap; to be called before workers that decode are started."""
    global _is_one_heap
    if not _is_one_heap:
        _is_one_heap = True
        set_malloc(_ONE_HEAP)


def keep_malloc() -> None:
    """Leave malloc's settings as they are from here on, for a program that has made its own."""
    global _is_one_heap, _has_thresholds
    _is_one_heap = _has_thresholds = True


def _limit_heaps() -> None:
    global _has_thresholds
    if not _has_thresholds and threading.current_thread() is not threading.main_thread() and _is_in_other_heap():
        _has_thresholds = True
        set_malloc(_SETTINGS_FOR_HEAPS)


def _is_in_other_heap() -> bool:
    """Whether glibc's malloc serves this thread from another heap than the main one."""
    if sys.platform != "linux":
        return False
    import ctypes

    libc = ctypes.CDLL(None)
    if getattr(libc, "gnu_get_libc_version", None) is None:
        return False
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    block = libc.malloc(_PROBE_BYTES)
    try:
        size = ctypes.c_size_t.from_address(block - ctypes.sizeof(ctypes.c_size_t)).value
        return bool(size & _OTHER_HEAP)
    finally:
        libc.free(block)


class MemoryBudget:
    """Bytes that several owners share; who asks for more than is free waits, first come, first served.

    Freed memory counts until the allocator has given it back to the system: glibc keeps it for further use.

    Args:
        limit: the bytes. An owner that asks for more gets them when nobody else holds any.
        give_back: makes the allocator return freed memory.
    """

    def __init__(self, limit: int, give_back: Callable[[], None]) -> None:
        self._limit = limit
        self._give_back = give_back
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # the threads that held a part are not in the new process

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[object, int] = {}
        self._waiting: deque[tuple[object, int, threading.Lock]] = deque()
        self._freed = self._most = 0

    def take(self, owner: object, count: int) -> None:
        """Wait until `owner` holds `count` bytes, those included that it holds already.

        To be called inside a `try` whose `finally` calls `release`, which also ends a wait that was interrupted. At
        most one owner at a time may ask for more while it holds a part; it goes first, as others wait for its part.
        """
        with self._lock:
            if (owner in self._held or not self._waiting) and self._fits(owner, count):
                self._held[owner] = count
                return
            turn = threading.Lock()
            turn.acquire()
            (self._waiting.appendleft if owner in self._held else self._waiting.append)((owner, count, turn))
        turn.acquire()

    def release(self, owner: object) -> None:
        """Give back all that `owner` holds or waits for; it may be nothing."""
        with self._lock:
            freed = self._held.pop(owner, 0)
            self._note_freed(freed)
            if freed >= _LARGE_BYTES:
                self._trim()
            if self._waiting:
                self._waiting = deque(entry for entry in self._waiting if entry[0] is not owner)
                self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(*self._waiting[0][:2]):
            owner, count, turn = self._waiting[0]
            # In this order, Ctrl-C between two lines loses no owner: its entry goes at the latest when it releases.
            self._held[owner] = count
            if turn.locked():
                turn.release()
            self._waiting.popleft()

    def _fits(self, owner: object, count: int) -> bool:
        others = sum(self._held.values()) - self._held.get(owner, 0)
        if others and others + count > self._limit:
            return False
        if others + count + self._freed > self._limit:
            self._trim()
        self._most = max(self._most, others + count)
        self._note_freed(self._held.get(owner, 0) - count)
        return True

    def _note_freed(self, count: int) -> None:
        # What is freed again and again is used again, but in other pieces, between which some remain unused.
        self._freed = min(self._freed + max(0, count), 2 * self._most)

    def _trim(self) -> None:
        self._give_back()
        self._freed, self._most = 0, sum(self._held.values())


def trim_heap() -> None:
    """Let malloc return its free memory to the system."""
    import ctypes  # here: few pictures are so large

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


_DECODING = MemoryBudget(_SHARED_BYTES, trim_heap)
#: A budget of its own, as its owners wait for room to decode: nobody who decodes ever waits for them.
_READING = MemoryBudget(_READING_BYTES, lambda: None)


class DecodingRoom:
    """A context for one picture: what it reserves is given back at the end, when its pixels must be free."""

    def __init__(self) -> None:
        self._has_file = False

    def __enter__(self) -> DecodingRoom:
        return self

    def reserve_file(self, size: int) -> None:
        """Wait for room for a file of `size` bytes, before it is read; a second call changes nothing."""
        if size > _SMALL_FILE_BYTES and not self._has_file:
            self._has_file = True
            size = min(_COPIES * size, MAX_MEMORY_BYTES)
            _READING.take(self, size)
            if size > _READING_BYTES:  # then it is the only one that is read
                _DECODING.take(self, size)

    def reserve_blocks(self, size: int) -> None:
        """Wait for room for what a file holds beside its pixels, before it is opened."""
        if size > _SMALL_BLOCKS_BYTES:
            # All, so that nobody who holds a part waits for more later: one who needs less gives some back.
            _DECODING.take(self, MAX_MEMORY_BYTES)

    def reserve(self, needed: int) -> None:
        """Wait for room for a picture that takes `needed` bytes, its file included."""
        _DECODING.take(self, needed)
        if self._has_file:
            _READING.release(self)
        if needed >= 2**20:
            _limit_heaps()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if self._has_file:
            _READING.release(self)
        _DECODING.release(self)


def free_locals(error: BaseException, outer: BaseException | None) -> None:
    """Free the local variables of the functions that an error has ended: a caller may keep the error for long.

    Args:
        error: the error, whose causes are treated in the same way.
        outer: the error that was being handled before; it is the caller's and stays as it is.
    """
    following: list[BaseException | None] = [error]
    done: set[int] = {id(None), id(outer)}
    while following:
        current = following.pop()
        if current is None or id(current) in done:
            continue
        done.add(id(current))
        following += [current.__cause__, current.__context__]
        traceback = current.__traceback__
        while traceback is not None:
            with suppress(RuntimeError):  # it still runs
                traceback.tb_frame.clear()
            traceback = traceback.tb_next


def peak_memory_mb() -> float | None:
    """The largest memory that this process has had in use, in MB; None where the system does not report it.

    Not from getrusage: on Linux its figure survives exec, and is then the parent's.
    """
    return _status_mb("VmHWM")


def resident_memory_mb() -> float | None:
    """The memory that this process has in use, in MB; None where the system does not report it."""
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None
