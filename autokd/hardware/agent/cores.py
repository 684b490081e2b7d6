"""The cores that this process runs on."""

from __future__ import annotations

import os

_pinned: list[int] = []


def pin(cores: list[int]) -> None:
    """Run on these cores only, the calling thread on the first; the threads of a session are placed when it is made.

    Where the system cannot pin a process (macOS, Windows) it chooses the cores, and this does nothing.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
        import numpy  # noqa: F401  threads that libraries start now inherit all the cores
        import onnxruntime  # noqa: F401

        _pinned[:] = cores
        os.sched_setaffinity(0, cores[:1])


def pinned() -> list[int]:
    """The cores that this process was pinned to; empty: to none."""
    return list(_pinned)


def core_count() -> int:
    """Cores that a session may use."""
    if _pinned:
        return len(_pinned)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
