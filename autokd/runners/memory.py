"""Keeps freed memory in the process while nets are trained: asking for the same pages again costs more than the work.

PyTorch frees every activation and asks for it again a moment later. glibc gives buffers above 128 KiB back to the kernel at
once, and the kernel clears each page anew: on a virtual machine half of a training's time (measured on an inverted net at
20 x 20: 69,000 page faults and 0.27 s a step, against 0.15 s without them). ``mallopt(3)`` of the GNU C library turns that off;
elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8  # malloc.h
LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc refuses more


def keep_freed() -> None:
    """From now on freed memory stays with this process."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 64 << 20)
        mallopt(ARENA_MAX, 1)  # the backward pass runs in a thread of its own


def give_back() -> None:
    """Return what is free now to the system: after a trial, so that its memory is not the next one's."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
