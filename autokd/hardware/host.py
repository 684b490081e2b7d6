"""What this host is: the cores it may use, and a description for receipts."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from autokd.hardware.agent.machine import board_name as board_name
from autokd.hardware.agent.machine import cpu_model


def available_cores() -> tuple[int, ...]:
    """The cores this process may use, in order: the affinity mask, cut to a container's CPU quota if that is less."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    quota = _cpu_quota()
    return tuple(cores if quota is None else cores[-max(1, int(quota)) :])


def _cpu_quota() -> float | None:
    """CPUs that the control group grants (``docker run --cpus``), or ``None`` without a limit."""
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def describe_host() -> dict[str, str | int | list[str] | None]:
    """What a reader of a number must know of the host that made it."""
    import onnxruntime

    return {
        "cpu": cpu_model(),
        "machine": platform.machine(),
        "cores": len(available_cores()),
        "os": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "providers": list(onnxruntime.get_available_providers()),
    }
