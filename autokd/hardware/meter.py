"""Times files on hardware profiles: one warm worker process per profile, one timing at a time on this host."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from autokd.errors import ConfigError, HardwareError, StageFailure, UserError, nearest
from autokd.hardware.clock import HostClock
from autokd.hardware.local import _Worker
from autokd.hardware.profile import HardwareProfile, check_host, pinned_cores
from autokd.hardware.turnstile import Quiet
from autokd.protocols import LatencyResult
from autokd.trial import Stage

CPU = "CPUExecutionProvider"
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
QUICK = 3  # a quick timing asks for a third of the calls and of the time
ROUGH = 0.04
"""How closely a brief timing's blocks agree that is only compared with a limit, where no limit closer than four spreads is decided
by it (their half-range is the spread), or that is one of several."""
BRIEF = {"warmup": 3, "min_count": 5, "min_duration_s": 0.006, "max_duration_s": 0.015}  # at most so much


class ModelFileError(UserError):
    """The file is not an ONNX model."""


_spent, _spending = [0.0], threading.Lock()


def timing_cpu_s() -> float:
    """CPU seconds that timings asked for by this process have cost its workers; the calibration of the clock is none."""
    return _spent[0]


class LatencyMeter:
    """Times files on profiles, by name; the shipped implementation of :class:`autokd.protocols.Meter`.

    A profile's worker starts with its first file and is kept warm, pinned to the profile's cores. When it crashes or hangs it is
    replaced and the file is tried once more. Every timing is inside ``quiet.measuring()``, so it is the only one on this host and
    the batches of every process that uses the turnstile stand still. May be shared between threads; not between processes.

    Args:
        profiles: The profiles it can time on; names must differ.
        quiet: The turnstile; by default this host's.
        clocks: Folder that keeps this host's usual clock (see :mod:`autokd.hardware.clock`); by default it is this meter's own,
            and latencies of two meters are not brought to the same clock.
    """

    def __init__(
        self, profiles: Sequence[HardwareProfile], quiet: Quiet | None = None, clocks: Path | None = None
    ) -> None:
        self.profiles = {profile.name: profile for profile in profiles}
        if len(self.profiles) < len(profiles):
            raise ConfigError("Every profile must be listed once", ", ".join(p.name for p in profiles))
        self.quiet = quiet or Quiet()
        self._clock = HostClock(clocks)
        self._workers: dict[str, _Worker] = {}
        self._strange: dict[str, int] = {}  # by profile, files in a row whose timings stayed far from the usual clock
        self._locks = {name: threading.Lock() for name in self.profiles}

    def __enter__(self) -> LatencyMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers. The meter may be used again; they then start anew."""
        while self._workers:
            self._workers.popitem()[1].close()

    def measure(
        self,
        path: Path,
        profile: str,
        quick: bool = False,
        brief: bool = False,
        above_ms: float = 0.0,
        rough: bool = False,
        once: bool = False,
    ) -> LatencyResult:
        """Time a file on a profile.

        Args:
            path: The ONNX file.
            profile: Name of one of the profiles given.
            quick: A third of the calls and of the time, by the same method: for screens.
            brief: Some ten milliseconds, by the same method, without the memory: tells clear cases apart.
            above_ms: Stop as soon as a few blocks of calls are all above this, before the clock's drift is taken out; 0: never.
            rough: The blocks of a brief timing need not agree so well: it is compared with a limit, not with other timings.
            once: Not made again, however disturbed; for files that are timed in turns (:mod:`autokd.hardware.comparison`).

        Raises:
            ConfigError: No such profile.
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
        asked = self.profiles[profile]
        request = _request(Path(path).resolve(), asked, quick)
        if brief:
            most = {key: value for key, value in BRIEF.items() if asked.provider == CPU or key != "warmup"}
            request |= {key: min(request[key], value) for key, value in most.items()} | {"memory": 0}
            request |= {"agree": ROUGH} if rough or once else {}
        request["above_ms"] = above_ms
        with self._locks[profile]:
            reply, factor = self._timed(asked, request, Path(path))
            if asked.provider == CPU and not once and self._strange.get(profile, 0) < GIVEN_UP:
                # Something else took a part of the core, which slows a file otherwise than the beat: mostly it is soon gone.
                for pause_s in (0.0, *PAUSES_S) if brief else PAUSES_S:
                    if not _disturbed(factor) or (above_ms and reply["p50_ms"] > HOPELESS * above_ms):
                        break
                    time.sleep(pause_s)
                    again, other = self._timed(asked, request, Path(path))
                    if again["beat_us"] < reply["beat_us"]:
                        reply, factor = again, other
            if not once:
                self._strange[profile] = self._strange.get(profile, 0) + 1 if _disturbed(factor) else 0
        return LatencyResult(
            reply["p50_ms"] * (factor or 1.0),
            reply["p90_ms"] * (factor or 1.0),
            reply["spread"],
            reply["count"],
            reply["peak_memory_bytes"],
            factor,
        )

    def _timed(
        self, profile: HardwareProfile, request: Mapping[str, Any], path: Path
    ) -> tuple[dict[str, Any], float | None]:
        """One timing, with a fresh worker should the first be lost; and what brings it to the host's usual clock."""
        try:
            reply = self._ask(profile, request)
        except StageFailure as first:
            if first.cause not in ("timeout", "lost_worker"):
                raise
            reply = self._ask(profile, request)
        if "error" in reply:
            raise _explained(reply, profile, path)
        return reply, self._factor(profile, reply["beat_us"])

    def _factor(self, profile: HardwareProfile, beat_us: float) -> float | None:
        """What brings a raw latency to the host's usual clock; ``None`` where the beat says nothing about the device."""
        if profile.provider != CPU:
            return None
        return self._clock.factor(beat_us, lambda: float(self._ask(profile, {"beat_s": CALIBRATION_S})["beat_us"]))

    def worker_pid(self, profile: str) -> int | None:
        """Process id of the profile's worker, or ``None`` while there is none."""
        worker = self._workers.get(profile)
        return worker.process.pid if worker else None

    def _ask(self, profile: HardwareProfile, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request to a live worker; a worker that does not answer is ended."""
        worker = self._workers.get(profile.name)
        if worker is None or worker.process.poll() is not None:
            if worker is not None:
                worker.close()
            check_host(profile)
            worker = self._workers[profile.name] = _Worker(pinned_cores(profile))  # its start is not part of the timing
        try:
            worker.wait_ready()
            with self.quiet.measuring():
                longest = max(profile.timeout_s, 10 * CALIBRATION_S) if "beat_s" in request else profile.timeout_s
                reply = worker.ask(request, longest)
            if "path" in request:
                with _spending:
                    _spent[0] += float(reply["cpu_s"])
        except BaseException:  # Ctrl-C too: a late answer must not be taken for the next file's
            self._workers.pop(profile.name, None)
            worker.close()
            raise
        if not worker.resets_peak and request.get("memory", 1):  # then only a process's first peak is right
            self._workers.pop(profile.name).close()
        return reply


def _disturbed(factor: float | None) -> bool:
    """Whether the core was slower than a drifting clock makes it."""
    return factor is None or factor < 1 - DISTURBED


def _request(path: Path, profile: HardwareProfile, quick: bool) -> dict[str, Any]:
    share = QUICK if quick else 1
    return {
        "id": str(path),
        "path": str(path),
        "provider": profile.provider,
        "threads": profile.threads or len(pinned_cores(profile)),
        "batch": profile.batch,
        "optimization": profile.graph_optimization,
        "warmup": profile.warmup // share,
        "min_count": max(5, profile.min_count // share),
        "min_duration_s": profile.min_duration_s / share,
        "max_duration_s": profile.max_duration_s / share,
        "timeout_s": profile.timeout_s,
        "seed": 0,
    }


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
