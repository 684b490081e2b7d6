"""Peak memory of this process, from what the system tells."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def resets_peak() -> bool:
    """Whether the kernel lets a process reset its own resident peak: Linux."""
    return os.access(CLEAR, os.W_OK)


def reset_peak() -> int:
    """Give freed memory back, reset the resident peak, and return what is resident now, in bytes."""
    gc.collect()
    if not resets_peak():
        return peak_bytes()
    with suppress(ImportError, OSError, AttributeError):  # not glibc
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # else the heap that an earlier file left would hide this one's
    CLEAR.write_text("5")
    return status_bytes("VmRSS")


def peak_bytes() -> int:
    """The resident peak of this process, in bytes."""
    if STATUS.exists():  # getrusage would count what its parent held when it was started
        return status_bytes("VmHWM")
    if sys.platform == "win32":
        return working_set_bytes()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(field: str) -> int:
    """A field of the status, which counts in KiB."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in {STATUS}")


def working_set_bytes() -> int:
    """The resident peak as Windows tells it (``GetProcessMemoryInfo``)."""
    import ctypes

    class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS of psapi.h
        _fields_ = [
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        ]

    found, kernel = Counters(cb=ctypes.sizeof(Counters)), ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    if not kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(found), found.cb):
        raise OSError("GetProcessMemoryInfo was refused")
    return found.PeakWorkingSetSize
