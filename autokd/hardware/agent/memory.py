"""Peak memory of this process, from what the system tells."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path


def resets_peak() -> bool:
    """Whether the kernel lets a process reset its own resident peak."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def reset_peak() -> int:
    """Give freed memory back, reset the resident peak, and return what is resident now, in bytes."""
    gc.collect()
    if not resets_peak():
        return peak_bytes()
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # else the heap that an earlier file left would hide this one's
    except (OSError, AttributeError):
        pass  # not glibc
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_bytes() -> int:
    """The resident peak of this process in bytes; 0 where the system does not tell (Windows)."""
    if resets_peak():
        return status_bytes("VmHWM")
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")
