"""What sketches are drawn for and timed with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Dataset, Meter


@dataclass(frozen=True)
class Bench:
    """Data, clocks and tools of a screening.

    Args:
        data: The students read it; its calibration samples serve one that cannot be sketched.
        clock: The profile whose clock chooses among int8 plans.
        remembered: Metric and profile of what is looked at where a timing could do without it.
        meter: Times.
        pace: Entered around every batch of work.
    """

    data: Dataset
    clock: HardwareProfile
    remembered: frozenset[tuple[str, str | None]]
    meter: Meter
    pace: Callable[[], AbstractContextManager[None]]
