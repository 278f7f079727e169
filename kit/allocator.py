"""Freed memory is kept for the next batch instead of being returned to the system and requested again.

glibc gives every block of more than 32 MB a mapping of its own, and the kernel clears each of its pages at every step:
a large part of a small network's time at a large size. PyTorch is told to ask for huge pages as well. `python
benchmarks/allocator.py` measures both."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of <malloc.h>


def keep_freed_memory() -> bool:
    """Set up this process so, before torch is imported; returns whether that was possible (only on glibc)."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # https://docs.pytorch.org, memory allocation on CPU
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
