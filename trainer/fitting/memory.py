"""Memory settings that let a training step reuse the memory that the step before has freed."""

from __future__ import annotations

import os

from runtime.child_limits import physical_memory
from runtime.memory import MallocSetting, keep_malloc, set_malloc

# Measured on two cores with glibc 2.36 and TensorFlow 2.21 without oneDNN: minor faults a step, and MB at the peak.
# Fashion-MNIST with `cnn small` in batches of 64; MobileNetV2 0.35 on pictures of 224x224 in batches of 32; 40 epochs
# on 600 such pictures with a tiny network.
#
#                                                     Fashion-MNIST    MobileNetV2       40 epochs
#   mmap threshold alone                             48,400  1,091    198,600  2,314    7,800    986
#   glibc's own settings                              3,500  1,175    193,000  2,456    1,250  1,544
#   mmap and trim threshold, 64 MB of top pad         1,600  1,163    179,800  2,635      340  1,980
#   the same, and TensorFlow's pool                       4  1,075      4,500  2,555        2  1,699
#   both thresholds, the pool, one heap                   3  1,022        370  2,244        2    994
#
# Without the pool, large tensors come from the system in each step. With a heap for each thread, the thresholds let
# every thread keep its largest size. The trained weights are the same to the last bit with all of these settings.
# Most of the faults that MobileNetV2 keeps come with the first batches of an epoch. The others come with numpy's
# request for large pages: without it (NUMPY_MADVISE_HUGEPAGE=0) a later step has 8 instead of 136, and the first ones
# have more.
_SETTINGS = (
    # One heap, in which each thread uses what another has freed. With a heap for each thread, the holes of all add up.
    MallocSetting(-8, 1, "MALLOC_ARENA_MAX", "arena_max"),
    # The end of the heap goes back to the system only if it is larger than what a step frees. Setting any threshold
    # ends glibc's own adjustment of all of them. This one then stays at 128 kB: the kernel takes the end of the heap
    # after each step, and must fill it with zeros in the next.
    MallocSetting(-1, 512 * 2**20, "MALLOC_TRIM_THRESHOLD_", "trim_threshold"),
    # A larger block that does not fit into the heap comes from the system and leaves no hole. The value is below a
    # batch of 32 images of 224x224 (19 MB) and above most blocks of a step.
    MallocSetting(-3, 16 * 2**20, "MALLOC_MMAP_THRESHOLD_", "mmap_threshold"),
)
#: TensorFlow keeps a pool for its tensors, as it does by itself with oneDNN and beside a GPU; and the pool's size in
#: MB, which is 64 GB by default, however much memory the machine has.
_POOL, _POOL_SIZE, _MIN_POOL_SIZE = "TF_CPU_ALLOCATOR_USE_BFC", "TF_CPU_BFC_MEM_LIMIT_IN_MB", 2**16


def reuse_memory() -> None:
    """Set up malloc and TensorFlow so that freed memory is used again and heaps do not grow with the epochs.

    For commands. Call it before TensorFlow is imported and before threads are started. The malloc settings hold for
    this process alone; the pool is set by environment variables, which children inherit. Values that the user's own
    environment sets stay as they are. With a C library other than glibc nothing is done.
    """
    keep_malloc()
    if not set_malloc(_SETTINGS):
        return
    os.environ.setdefault(_POOL, "true")
    os.environ.setdefault(_POOL_SIZE, str(max(physical_memory() // 2**20, _MIN_POOL_SIZE)))
