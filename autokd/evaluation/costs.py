"""What a file costs: size, MACs, parameters, and latency and memory on profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autokd.deployment.inspect import inspect
from autokd.effort import FULL, Effort
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import LatencyResult, Meter
from autokd.trial import Measurement


def file_costs(
    file: Path, profiles: Sequence[HardwareProfile], meter: Meter, effort: Effort = FULL
) -> list[Measurement]:
    """Every cost of an ONNX file that does not need data.

    Args:
        file: The file.
        profiles: Where to time it.
        meter: Times it.
        effort: How long each timing is.

    Raises:
        StageFailure: It cannot be timed.
    """
    facts = inspect(file)
    found = static_costs(facts.size_bytes, facts.macs, facts.params)
    for profile in profiles:
        found += timed_costs(meter.measure(file, profile.name, effort), profile)
    return found


def static_costs(size_bytes: int, macs: int, params: int, **extra: Any) -> list[Measurement]:
    """What no clock is needed for; ``extra`` belongs to the size."""
    return [
        Measurement("size_bytes", float(size_bytes), "bytes", extra=extra),
        Measurement("macs", float(macs), ""),
        Measurement("params", float(params), ""),
    ]


def timed_costs(timed: LatencyResult, profile: HardwareProfile, **more: Any) -> list[Measurement]:
    """A timing as measurements: the latency and, where it was looked at, the memory."""
    extra = {
        "p90_ms": timed.p90_ms,
        "count": timed.count,
        "batch": profile.batch,
        "threads": profile.threads,
        "clock_factor": timed.clock_factor,
    }
    found = [Measurement("latency_ms", timed.p50_ms, "ms", profile.name, timed.spread, extra | more)]
    if timed.peak_memory_bytes is not None:
        found.append(Measurement("peak_memory_bytes", float(timed.peak_memory_bytes), "bytes", profile.name))
    return found
