"""CPU seconds of this process and of everything that it started."""

from __future__ import annotations

import threading
import time

import psutil

EVERY_S = 1.0
"""A new look at the processes is taken so often at most: it costs five to ten milliseconds."""


class ProcessTree:
    """Counts the CPU seconds (user and system) of this process and its descendants, also of those that have ended.

    A process that ended is known by its last look, or by what its parent was told when it waited for it; what a process did between
    the last look and its violent death is lost. Thread-safe.

    >>> tree = ProcessTree()
    >>> before = tree.cpu_s()
    >>> _ = sum(range(10**6))
    >>> tree.cpu_s(now=True) >= before
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[int, float], float] = {}
        self._total, self._looked = 0.0, -EVERY_S

    def cpu_s(self, now: bool = False) -> float:
        """Seconds since this process began; never less than before.

        Args:
            now: Look even if the last look is fresh.
        """
        with self._lock:
            if now or time.monotonic() - self._looked >= EVERY_S:
                self._looked = time.monotonic()
                self._total = max(self._total, self._look())
            return self._total

    def _look(self) -> float:
        here = psutil.Process()
        told = 0.0
        for process in [here, *here.children(recursive=True)]:
            try:
                times, key = process.cpu_times(), (process.pid, process.create_time())
            except psutil.Error:
                continue
            own = times.user + times.system
            self._seen[key] = max(own, self._seen.get(key, 0.0))
            told += own + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return max(told, sum(self._seen.values()))
