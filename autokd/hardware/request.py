"""What is asked of a device: a profile and an effort as the numbers of one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autokd.effort import Effort
from autokd.hardware.profile import HardwareProfile

CPU = "CPUExecutionProvider"
LEAST = 5
"""Calls."""
MOST = {"warmup": 3, "min_count": LEAST, "min_duration_s": 0.006, "max_duration_s": 0.015}
"""Of a brief timing."""


def timing_request(file: Path, profile: HardwareProfile, effort: Effort, above_ms: float) -> dict[str, Any]:
    """The request for one timing; ``agent/timing.py`` says what its numbers mean.

    Args:
        file: The ONNX file.
        profile: Where and how it is to be run.
        effort: How long.
        above_ms: The timing ends as soon as the file is clearly slower; 0: never.

    Returns:
        Plain values; ``threads`` is 0 where the profile asks for every core that the device has.
    """
    asked: dict[str, Any] = {
        "id": str(file),
        "provider": profile.provider,
        "threads": profile.threads,
        "batch": profile.batch,
        "optimization": profile.graph_optimization,
        "warmup": profile.warmup // effort.part,
        "min_count": max(LEAST, profile.min_count // effort.part),
        "min_duration_s": profile.min_duration_s / effort.part,
        "max_duration_s": profile.max_duration_s / effort.part,
        "timeout_s": profile.timeout_s,
        "seed": 0,
    }
    if effort.brief:
        most = {key: value for key, value in MOST.items() if profile.provider == CPU or key != "warmup"}
        asked |= {key: min(asked[key], value) for key, value in most.items()} | {"memory": 0}
    if effort.agree is not None:
        asked["agree"] = effort.agree
    return asked | {"above_ms": above_ms}
