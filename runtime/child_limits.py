"""Limits that a child process sets itself before it touches what a stranger made."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # from Linux's sched.h
#: Address space that libraries reserve without using it.
_RESERVED_BYTES = 4 * 2**30


class ChildLimits(NamedTuple):
    """What a child process may use.

    Attributes:
        cpu_seconds: processor time; then it ends with SIGXCPU.
        memory_bytes: memory; never more than three quarters of this machine's.
        network: whether it may use the network. Without it the child enters a network of its own, where Linux permits
            that.
    """

    cpu_seconds: int
    memory_bytes: int
    network: bool = True

    def apply(self) -> None:
        """Limit this process; a limit that the system refuses is left out."""
        if not self.network:
            leave_network()
        _die_first()
        try:
            import resource
        except ImportError:  # not a Unix: the timeout alone must do
            return
        memory = min(self.memory_bytes, physical_memory() * 3 // 4)
        wanted = [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_DATA, memory),
            (resource.RLIMIT_AS, memory + _RESERVED_BYTES),
            (resource.RLIMIT_CPU, self.cpu_seconds),
        ]
        for what, most in wanted:
            _, hard = resource.getrlimit(what)
            allowed = min(most, sys.maxsize) if hard == resource.RLIM_INFINITY else min(most, hard)
            try:
                resource.setrlimit(what, (allowed, hard))
            except (OSError, ValueError, OverflowError):  # a sandbox may refuse
                continue


def physical_memory() -> int:
    """This machine's memory in bytes; a large number where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def leave_network() -> bool:
    """Move this process, while it has one thread, into a network without connections; whether that was permitted."""
    try:
        import ctypes

        unshare = ctypes.CDLL(None, use_errno=True).unshare
        return any(unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_NETWORK | _NEW_USER))
    except (ImportError, OSError, AttributeError, TypeError):  # not Linux
        return False


def _die_first() -> None:
    """Let the kernel choose this process where memory is short, and not the one that waits for it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return
