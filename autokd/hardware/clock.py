"""A device's usual speed, so that latencies taken hours apart on one device can be compared.

A shared or boosted core runs a percent or more faster in one minute than in the next. The worker therefore times a *beat* of fixed
work (three 48 x 48 float32 products) between the blocks of every timing; the beat stretches with the file's calls. A latency is
given at the device's usual clock: ``raw x usual beat / beat``. The usual beat is measured once and kept in a file, so every study
in a storage shares it. Drift beyond ``LIMIT`` is no clock rate any more, and nothing is corrected then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autokd.files import new_file
from autokd.hardware.device import DeviceFacts

LIMIT = 0.25
"""Greatest relative drift that is taken for a clock rate."""


class HostClock:
    """Turns raw latencies into latencies at one device's usual clock.

    Args:
        facts: The device; its ``id`` names the file.
        folder: Where the usual beat is kept, a file a device; ``None`` keeps it in this object alone.
    """

    def __init__(self, facts: DeviceFacts, folder: Path | None = None) -> None:
        self.facts, self.folder = facts, folder
        self._usual_us: float | None = None

    def factor(self, beat_us: float, calibrate: Callable[[], float]) -> float | None:
        """What to multiply a raw latency with.

        Args:
            beat_us: The beat during that timing, in microseconds.
            calibrate: Measures the usual beat, in microseconds; called once a device.

        Returns:
            About 1, or ``None`` when the drift is too great to be the clock's.
        """
        if self._usual_us is None:
            self._usual_us = self._kept() or self._keep(calibrate())
        factor = self._usual_us / beat_us
        return factor if abs(factor - 1) <= LIMIT else None

    def _file(self) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{self.facts.id}.json"

    def _kept(self) -> float | None:
        file = self._file()
        try:
            value = json.loads(file.read_text(encoding="utf-8"))["beat_us"] if file else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return float(value) if isinstance(value, int | float) and value > 0 else None

    def _keep(self, beat_us: float) -> float:
        """Write the beat unless another process was first; then take its."""
        file = self._file()
        if file is None:
            return beat_us
        with suppress(OSError):  # a full disk is reported by what needs the disk
            text = json.dumps({"host": self.facts.host, "cpu": self.facts.cpu, "beat_us": beat_us})
            with new_file(file, replace=False) as part:
                part.write_text(text, encoding="utf-8")
                if self._kept() is None:
                    file.unlink(missing_ok=True)  # broken
        return self._kept() or beat_us
