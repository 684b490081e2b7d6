"""Times files on hardware profiles: one warm device per profile, one timing at a time on this host."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from autokd.effort import FULL, Effort
from autokd.errors import ConfigError, HardwareError, StageFailure, UserError, nearest
from autokd.hardware.clock import HostClock
from autokd.hardware.device import Device, DeviceFacts, OpenDevice, open_device
from autokd.hardware.profile import HardwareProfile
from autokd.hardware.request import CPU, timing_request
from autokd.hardware.turnstile import Quiet
from autokd.protocols import LatencyResult
from autokd.trial import Stage

CALIBRATION_S = 2.0
PAUSES_S = (0.1, 0.4, 1.0)
"""Before further timings, where the beat says that the one before was disturbed. A brief one is repeated at once before any pause:
what disturbed ten milliseconds is mostly gone after them."""
HOPELESS = 2.0
"""So many times too slow is too slow, whatever else runs on the core: more than a disturbance was ever seen to do."""
GIVEN_UP = 3
"""After so many files in a row that stayed disturbed the host itself has changed: asking again would only take time."""
DISTURBED = 0.07
"""A beat so much slower than usual is no drift of the clock, which stays within some 4 %: a program beside us on a shared core took
30 % of a file's time and 18 % of the beat's."""


class ModelFileError(UserError):
    """The file is not an ONNX model."""


_spent, _spending = [0.0], threading.Lock()


def timing_cpu_s() -> float:
    """CPU seconds that timings asked for by this process have cost its workers; the calibration of the clock is none."""
    return _spent[0]


class LatencyMeter:
    """Times files on profiles, by name; the shipped implementation of :class:`autokd.protocols.Meter`.

    A profile's device starts with its first file and is kept warm. When it crashes or hangs it is replaced and the file is tried
    once more. Every timing is inside ``quiet.measuring()``, so it is the only one on this host and the batches of every process
    that uses the turnstile stand still. May be shared between threads; not between processes.

    >>> meter = LatencyMeter([HardwareProfile("board")])  # nothing is started before the first file
    >>> meter.measure(Path("student.onnx"), "bord")
    Traceback (most recent call last):
    ...
    autokd.errors.ConfigError: A latency must be measured on one of the given profiles, but got 'bord'. Did you mean 'board'?

    Args:
        profiles: The profiles it can time on; names must differ.
        quiet: The turnstile; by default this host's.
        clocks: Folder that keeps each device's usual clock (see :mod:`autokd.hardware.clock`); by default it is this meter's own,
            and latencies of two meters are not brought to the same clock.
        device: Opens a profile's device; by default the one that the profile names.
    """

    def __init__(
        self,
        profiles: Sequence[HardwareProfile],
        quiet: Quiet | None = None,
        clocks: Path | None = None,
        device: OpenDevice = open_device,
    ) -> None:
        self.profiles = {profile.name: profile for profile in profiles}
        if len(self.profiles) < len(profiles):
            raise ConfigError("Every profile must be listed once", ", ".join(p.name for p in profiles))
        self.quiet = quiet or Quiet()
        self._open, self._kept = device, clocks
        self._clocks: dict[str, HostClock] = {}  # by a device's id
        self._devices: dict[str, Device] = {}
        self._facts: dict[str, DeviceFacts] = {}  # of the device that answered last, by profile
        self._strange: dict[str, int] = {}  # by profile, files in a row whose timings stayed far from the usual clock
        self._locks = {name: threading.Lock() for name in self.profiles}

    def __enter__(self) -> LatencyMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the devices. The meter may be used again; they then start anew."""
        while self._devices:
            self._devices.popitem()[1].close()

    def measure(self, path: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult:
        """Time a file on a profile.

        Args:
            path: The ONNX file.
            profile: Name of one of the profiles given.
            effort: How long, and what for.
            above_ms: Stop as soon as a few blocks of calls are all above this, before the clock's drift is taken out; 0: never.

        Raises:
            ConfigError: No such profile, or it names no device.
            HardwareError: This host cannot stand for the profile, or the file's fixed batch is not the profile's.
            ModelFileError: Not an ONNX file.
            StageFailure: ``timeout`` or ``lost_worker`` (twice), ``out_of_memory``, or ``error`` in loading or running the file.
        """
        if profile not in self.profiles:
            raise ConfigError(
                "A latency must be measured on one of the given profiles",
                repr(profile),
                nearest(profile, self.profiles),
            )
        asked, file = self.profiles[profile], Path(path)
        request = timing_request(file.resolve(), asked, effort, above_ms)
        with self._locks[profile]:
            reply, factor = self._timed(asked, request, file)
            if asked.provider == CPU and effort.again and self._strange.get(profile, 0) < GIVEN_UP:
                # Something else took a part of the core, which slows a file otherwise than the beat: mostly it is soon gone.
                for pause_s in (0.0, *PAUSES_S) if effort.brief else PAUSES_S:
                    if not _disturbed(factor) or (above_ms and reply["p50_ms"] > HOPELESS * above_ms):
                        break
                    time.sleep(pause_s)
                    again, other = self._timed(asked, request, file)
                    if again["beat_us"] < reply["beat_us"]:
                        reply, factor = again, other
            if effort.again:
                self._strange[profile] = self._strange.get(profile, 0) + 1 if _disturbed(factor) else 0
        return LatencyResult(
            reply["p50_ms"] * (factor or 1.0),
            reply["p90_ms"] * (factor or 1.0),
            reply["spread"],
            reply["count"],
            reply["peak_memory_bytes"],
            factor,
        )

    def device_of(self, profile: str) -> Device | None:
        """The profile's device, or ``None`` while there is none."""
        return self._devices.get(profile)

    def _timed(
        self, profile: HardwareProfile, request: Mapping[str, Any], file: Path
    ) -> tuple[dict[str, Any], float | None]:
        """One timing, with a fresh device should the first be lost; and what brings it to the device's usual clock."""
        try:
            reply = self._ask(profile, request, file.resolve())
        except StageFailure as first:
            if first.cause not in ("timeout", "lost_worker"):
                raise
            reply = self._ask(profile, request, file.resolve())
        if "error" in reply:
            raise _explained(reply, profile, file)
        return reply, self._factor(profile, reply["beat_us"])

    def _factor(self, profile: HardwareProfile, beat_us: float) -> float | None:
        """What brings a raw latency to the device's usual clock; ``None`` where the beat says nothing about what ran the file."""
        if profile.provider != CPU:
            return None
        facts = self._facts[profile.name]
        clock = self._clocks.setdefault(facts.id, HostClock(facts, self._kept))
        return clock.factor(beat_us, lambda: float(self._ask(profile, {"beat_s": CALIBRATION_S})["beat_us"]))

    def _ask(self, profile: HardwareProfile, request: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
        """One request to a live device; a device that does not answer is ended."""
        device = self._live(profile)
        try:
            facts = self._facts[profile.name] = device.facts()  # its start is not part of the timing
            if request.get("threads") == 0:
                request = {**request, "threads": facts.cores}
            longest = profile.timeout_s if file else max(profile.timeout_s, 10 * CALIBRATION_S)
            with self.quiet.measuring():
                reply = device.ask(request, file, longest)
            if file:
                with _spending:
                    _spent[0] += float(reply["cpu_s"])
        except BaseException:  # Ctrl-C too: a late answer must not be taken for the next file's
            self._devices.pop(profile.name, None)
            device.close()
            raise
        if not facts.resets_peak and request.get("memory", 1):  # then only a device's first peak is right
            self._devices.pop(profile.name).close()
        return reply

    def _live(self, profile: HardwareProfile) -> Device:
        """The profile's device; a new one where there is none, or where it was lost since it was last asked."""
        device = self._devices.get(profile.name)
        if device is not None and not _there(device):
            self._devices.pop(profile.name, None)
            device.close()
            device = None
        if device is None:
            device = self._devices[profile.name] = self._open(profile)
        return device


def _there(device: Device) -> bool:
    try:
        device.facts()
    except StageFailure:
        return False
    return True


def _disturbed(factor: float | None) -> bool:
    """Whether the core was slower than a drifting clock makes it."""
    return factor is None or factor < 1 - DISTURBED


def _explained(reply: Mapping[str, Any], profile: HardwareProfile, path: Path) -> Exception:
    """The exception that an error reply stands for."""
    kind, text = reply.get("kind"), str(reply["error"])
    if kind == "not_onnx":
        return ModelFileError(
            "The file to be timed must be an ONNX model", f"{path}: {text}", "Was it written completely?"
        )
    if kind == "provider":
        return HardwareError(f"Profile {profile.name} needs a working {profile.provider}", text)
    if kind == "batch":
        law = f"A file timed on {profile.name} must accept a batch of {profile.batch}"
        return HardwareError(law, f"{path}: {text}", "Export it with a dynamic batch axis, or choose another profile.")
    starved = any(word in text for word in ("bad_alloc", "Failed to allocate", "out of memory", "MemoryError"))
    return StageFailure(Stage.MEASURE, "out_of_memory" if starved else "error", text)
