"""A timing as others see it: how much it may cost, what it says, and who makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROUGHLY = 0.04
"""How closely a timing's blocks agree that is only compared with a limit, where no limit closer than four spreads is decided by it
(their half-range is the spread), or that is one of several."""


@dataclass(frozen=True)
class Effort:
    """What is asked of one timing; the method is the same for all of them.

    >>> from dataclasses import replace
    >>> replace(BRIEF, again=False)
    Effort(part=1, brief=True, agree=None, again=False)
    >>> ROUGH == replace(BRIEF, agree=ROUGHLY)
    True

    Args:
        part: The profile's counts and seconds divided by this; 1 is a whole timing.
        brief: Some ten milliseconds at most, without the memory: tells clear cases apart.
        agree: Relative range within which the fastest blocks of calls must lie; ``None``: the device's own, 1 %.
        again: Made again where it was disturbed, and a sign that the host has changed where that does not help.
    """

    part: int = 1
    brief: bool = False
    agree: float | None = None
    again: bool = True


FULL = Effort()
"""As the profile says: for records."""
QUICK = Effort(part=3)
"""A third of the calls and of the time: for screens."""
BRIEF = Effort(brief=True)
"""For clear cases, and for timings that are compared with each other."""
ROUGH = Effort(brief=True, agree=ROUGHLY)
"""A brief one that is compared with a limit, not with other timings."""
ONCE = Effort(brief=True, agree=ROUGHLY, again=False)
"""A rough one that is not made again, however disturbed; for files that are timed in turns (:mod:`autokd.hardware.comparison`)."""


@dataclass(frozen=True)
class LatencyResult:
    """Timing of one file on one profile.

    Args:
        p50_ms: Median latency in milliseconds of one call at the profile's batch size.
        p90_ms: 90th percentile.
        spread: Relative half-range of the block medians that were kept, e.g. ``0.004`` for 0.4 %.
        count: Number of timed calls.
        peak_memory_bytes: Peak resident memory of the worker above its state before the file was loaded; ``None``: not looked at.
        clock_factor: What the raw latencies were multiplied with to stand for the host's usual clock; ``None``: they are raw.
    """

    p50_ms: float
    p90_ms: float
    spread: float
    count: int
    peak_memory_bytes: int | None
    clock_factor: float | None = None


class Meter(Protocol):
    """Times a file on a profile, by name."""

    def measure(self, path: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult: ...
