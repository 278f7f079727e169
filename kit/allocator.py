"""Memory that is freed is kept for the next batch, not handed back to the system and asked for again.

glibc gives every block of more than 32 MB a mapping of its own, and the kernel clears each of its pages at every step.
On two cores an EfficientNet-lite0 at 128 px trained at 38 images/s so, and at 88 with this; a ResNet-50 at 96 px at 59
and 90 (benchmarks/allocator.py). Huge pages, which PyTorch asks for when told to, brought another fifth to the former.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of <malloc.h>


def keep_freed_memory() -> bool:
    """Set up this process so, before torch is imported; whether it could be done (on glibc)."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # https://docs.pytorch.org, memory allocation on CPU
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
