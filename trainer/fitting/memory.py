"""What the C library does with the large blocks of memory that batches of pictures are."""

from __future__ import annotations

import ctypes
import os
import sys

#: `M_MMAP_THRESHOLD` of malloc.h, and the bytes from which a block is the system's own: below a batch of 32 pictures
#: of 224x224 (19 MB), and above most of what a step of the training works with, which is quicker from a heap.
_MMAP_THRESHOLD, _LARGE = -3, 16 * 2**20


def return_large_blocks() -> None:
    """Have large blocks given back to the system as soon as they are freed. For commands: it holds for the process.

    glibc raises the size from which it does so to that of the largest block freed so far, up to 32 MB. Batches then
    come from the heaps of whichever threads made them, whose holes add up: from 0.96 to 1.4 GB in 40 epochs of 600
    pictures, and with this to 0.92 GB. Where `MALLOC_MMAP_THRESHOLD_` is set, and with another C library, nothing is
    done.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
