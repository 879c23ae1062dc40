"""How the C library's allocator treats large tensors."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process use freed memory again, where glibc would hand it back to the system.

    On a CPU each step allocates and frees the same large tensors; fresh pages for them, which the system clears first, took
    a fifth of the time of training at `scale=lite`, a seventh of a ResNet-101's frame, and nothing of a small network's.
    The process stays as large as it was at its peak. No effect with another C library.
    """
    if sys.platform == "win32":  # where there is no handle to the program itself
        return
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_MMAP_MAX, 0)
