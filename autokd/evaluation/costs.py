"""What a file costs: size, MACs, parameters, and latency and memory on profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autokd.deployment.inspect import inspect
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Meter
from autokd.trial import Measurement


def file_costs(file: Path, profiles: Sequence[HardwareProfile], meter: Meter, quick: bool = False) -> list[Measurement]:
    """Every cost of an ONNX file that does not need data.

    Args:
        file: The file.
        profiles: Where to time it.
        meter: Times it.
        quick: A shorter timing, for screens.

    Raises:
        StageFailure: It cannot be timed.
    """
    facts = inspect(file)
    found = [
        Measurement("size_bytes", float(facts.size_bytes), "bytes"),
        Measurement("macs", float(facts.macs), ""),
        Measurement("params", float(facts.params), ""),
    ]
    for profile in profiles:
        timed = meter.measure(file, profile.name, quick=quick)
        extra = {
            "p90_ms": timed.p90_ms,
            "count": timed.count,
            "batch": profile.batch,
            "threads": profile.threads,
            "clock_factor": timed.clock_factor,
        }
        found.append(Measurement("latency_ms", timed.p50_ms, "ms", profile.name, timed.spread, extra))
        found.append(Measurement("peak_memory_bytes", float(timed.peak_memory_bytes), "bytes", profile.name))
    return found
