"""What a device is to the meter: a transport of three methods. Requests go there, replies come back, and it decides nothing.

What a request and a reply hold is told at the top of ``autokd/hardware/agent/__main__.py``; every device speaks it. When a timing
is made again, what a disturbed one is, which clock a latency is given at, what an error means: all that is the meter's
(:mod:`autokd.hardware.meter`), the same for every device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autokd import registry
from autokd.errors import HardwareError
from autokd.hardware.profile import HardwareProfile


@dataclass(frozen=True)
class DeviceFacts:
    """What a device says of itself in its greeting.

    >>> DeviceFacts("my board").id
    Traceback (most recent call last):
    ...
    autokd.errors.HardwareError: A device's id must be letters, digits, '_', '-' or '.', but got 'my board'.

    Args:
        id: Whose clock it is; the same for the same machine, today and tomorrow. Names the file that keeps its usual clock.
        host: The machine's name, for people.
        cpu: Its processor, for people.
        cores: Cores that a session may use; what a profile with ``threads: 0`` gets.
        runtime: What runs the file, with its version.
        resets_peak: Whether the peak memory of every file is its own; if not, only that of a device's first file is.

    Raises:
        HardwareError: The id is no file name.
    """

    id: str
    host: str = ""
    cpu: str | None = None
    cores: int = 1
    runtime: str = ""
    resets_peak: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.id):
            raise HardwareError("A device's id must be letters, digits, '_', '-' or '.'", repr(self.id))


class Device(Protocol):
    """Answers requests on some machine, one at a time.

    Whatever has these three methods is a device; the meter times on it as on this host:

    >>> from autokd.hardware.meter import LatencyMeter
    >>> class Stopwatch:
    ...     def facts(self):
    ...         return DeviceFacts("stopwatch")
    ...     def ask(self, request, file, timeout_s):
    ...         times = {"p50_ms": 1.5, "p90_ms": 2.0, "spread": 0.01, "count": request.get("min_count", 0)}
    ...         return {**times, "beat_us": 10.0, "peak_memory_bytes": 4096, "cpu_s": 0.1}
    ...     def close(self):
    ...         print("closed")
    >>> with LatencyMeter([HardwareProfile("board")], device=lambda profile: Stopwatch()) as meter:
    ...     timed = meter.measure(Path("student.onnx"), "board")
    closed
    >>> timed.p50_ms, timed.count, timed.clock_factor
    (1.5, 30, 1.0)
    """

    def facts(self) -> DeviceFacts:
        """What it says of itself. Waits for its start the first time, and costs nothing afterwards.

        Raises:
            StageFailure: ``timeout`` or ``lost_worker``: it does not start, or it is gone.
        """
        ...

    def ask(self, request: Mapping[str, Any], file: Path | None, timeout_s: float) -> dict[str, Any]:
        """The reply to one request. After a failure only :meth:`close` may be called: a late answer would be the next one's.

        Args:
            request: Plain values. Where the file is on the device is the transport's business, so its path is not among them.
            file: The ONNX file on this host that the request is about; ``None`` for the beat (``beat_s``).
            timeout_s: Seconds after which nothing is waited for any more.

        Raises:
            StageFailure: ``timeout`` or ``lost_worker``. What is wrong with a file or a request is a reply: ``error`` and ``kind``.
        """
        ...

    def close(self) -> None:
        """End whatever was started for it, answered or not; once more does nothing."""
        ...


OpenDevice = Callable[[HardwareProfile], Device]
"""What an entry point of ``autokd.devices`` is: it starts a device for a profile, or raises HardwareError where none can stand for
it."""


def open_device(profile: HardwareProfile) -> Device:
    """The device that a profile names.

    Raises:
        ConfigError: No such device.
        HardwareError: It cannot stand for the profile.
    """
    device: Device = registry.load("devices", profile.device)(profile)
    if missing := [name for name in ("facts", "ask", "close") if not callable(getattr(device, name, None))]:
        law = f"A device must have facts, ask and close; {profile.device!r} of profile {profile.name} has no"
        raise HardwareError(law, ", ".join(missing), "See autokd.hardware.device.Device.")
    return device
