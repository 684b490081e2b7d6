"""Hardware profiles: a declared device, and whether this host can stand for it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from autokd import registry
from autokd.errors import ConfigError, HardwareError, nearest
from autokd.hardware.host import available_cores, board_name
from autokd.hardware.host import describe_host as describe_host

OPTIMIZATIONS = ("disabled", "basic", "extended", "all")
LOCAL = "local"
"""This host, a device like any other."""
LIMITS = ("size_bytes", "peak_memory_bytes", "macs", "params", "latency_ms")


@dataclass(frozen=True)
class HardwareProfile:
    """A device that a file is timed on.

    Args:
        name: As in ``latency_ms@name``.
        summary: One line for people.
        runtime: ``"onnxruntime"``.
        provider: ONNX Runtime's execution provider.
        threads: Threads of the session; 0 means every core this process may use.
        batch: Samples a call.
        graph_optimization: ``"disabled"``, ``"basic"``, ``"extended"`` or ``"all"``.
        machine: ``platform.machine()`` that the host must have, e.g. ``"aarch64"``; ``None``: any.
        board: Text that the board's own name must contain, e.g. ``"Raspberry Pi 5"``; ``None``: any.
        min_cores: Cores that the host must offer.
        cores: Cores that the timing is pinned to; ``None``: the last ``threads`` ones of the affinity mask.
        warmup: Calls before the clock counts.
        min_count: Timed calls at least.
        min_duration_s: Seconds of timing at least.
        max_duration_s: Seconds after which the blocks need no longer agree.
        timeout_s: Seconds after which loading and timing a file is given up.
        limits: What the device itself allows, e.g. ``{"size_bytes": 2e6}``; they become constraints.
    """

    name: str
    summary: str = ""
    runtime: str = "onnxruntime"
    provider: str = "CPUExecutionProvider"
    threads: int = 1
    batch: int = 1
    graph_optimization: str = "all"
    machine: str | None = None
    board: str | None = None
    min_cores: int = 1
    cores: tuple[int, ...] | None = None
    warmup: int = 20
    min_count: int = 30
    min_duration_s: float = 0.1
    max_duration_s: float = 1.0
    timeout_s: float = 120.0
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """Kind of device: a name among the entry points ``autokd.devices``, or a person's own ``package.module:factory``."""
        return LOCAL


@dataclass(frozen=True)
class DeviceProfile(HardwareProfile):
    """A profile of another kind of device than this host.

    A class of its own, so that the fields of this host's profiles, which are in plans and in keys of stages, stay what they are.
    """

    device: str = LOCAL

    def identity(self) -> dict[str, Any]:
        """What of it enters keys: its fields, and the device's driver by content, as an edited one measures something else."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "driver": registry.identity("devices", self.device)
        }


def profile_of(**given: Any) -> HardwareProfile:
    """The profile with these fields; the kind of device may be left out."""
    if given.get("device", LOCAL) != LOCAL:
        return DeviceProfile(**given)
    return HardwareProfile(**{key: value for key, value in given.items() if key != "device"})


def load_profile(name_or_path: str) -> HardwareProfile:
    """A shipped profile by its name, or a person's own from a YAML file (``mine.yaml``, ``folder/mine.yaml``).

    Raises:
        ConfigError: Unknown name or key (the nearest is offered), a wrong type or range, unreadable YAML.
    """
    text = str(name_or_path)
    own = text.endswith((".yaml", ".yml")) or os.sep in text or "/" in text
    file = Path(text) if own else registry.yaml_file("profiles", text)
    try:
        source = file.read_text(encoding="utf-8")
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("A profile must be a readable YAML file", str(error), file=str(file)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            "A profile must be valid YAML", problem, file=str(file), line=mark.line + 1 if mark else None
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError("A profile must be a mapping of keys to values", type(raw).__name__, file=str(file))
    return _Reader(file, source, raw, node).profile()


class _Reader:
    """Checks one file; every complaint carries file and line."""

    def __init__(self, file: Path, source: str, raw: dict[Any, Any], node: Any) -> None:
        self.file, self.source, self.raw = file, source, raw
        self.lines: dict[Any, int] = {}
        for key, _ in node.value:
            if key.value in self.lines:
                raise ConfigError(
                    "A key must be given once", repr(key.value), file=str(file), line=key.start_mark.line + 1
                )
            self.lines[key.value] = key.start_mark.line + 1

    def profile(self) -> HardwareProfile:
        known = [f.name for f in fields(DeviceProfile) if f.name != "name"]
        for key in self.raw:
            if key == "name":
                mend = f"The file's own name is the profile's: {self.file.stem}. Remove this line."
                raise self._error(key, "A profile's file must not name it", repr(self.raw[key]), mend)
            if key not in known:
                raise self._error(key, "A profile's keys must be known ones", repr(key), nearest(str(key), known))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.file.stem):
            raise self._error(
                None, "A profile's file name must be letters, digits, '_', '-' or '.'", repr(self.file.stem)
            )
        first = self.source.lstrip().partition("\n")[0]
        profile = profile_of(
            name=self.file.stem,
            summary=self._text("summary", first.lstrip("# ").strip() if first.startswith("#") else "") or "",
            runtime=self._choice("runtime", ("onnxruntime",), "onnxruntime"),
            provider=self._text("provider", "CPUExecutionProvider") or "",
            threads=int(self._number("threads", 1, low=0, whole=True)),
            batch=int(self._number("batch", 1, low=1, whole=True)),
            graph_optimization=self._choice("graph_optimization", OPTIMIZATIONS, "all"),
            machine=self._text("machine", None),
            board=self._text("board", None),
            min_cores=int(self._number("min_cores", 1, low=1, whole=True)),
            cores=self._cores(),
            warmup=int(self._number("warmup", 20, low=0, whole=True)),
            min_count=int(self._number("min_count", 30, low=5, whole=True)),
            min_duration_s=self._number("min_duration_s", 0.1, low=0.001),
            max_duration_s=self._number("max_duration_s", 1.0, low=0.001),
            timeout_s=self._number("timeout_s", 120.0, low=1),
            limits=self._limits(),
            device=self._device(),
        )
        if profile.cores is not None and profile.threads and len(profile.cores) != profile.threads:
            raise self._error("cores", f"cores must name {profile.threads} cores, one a thread", list(profile.cores))
        if not profile.min_duration_s <= profile.max_duration_s < profile.timeout_s:
            raise self._error(
                "max_duration_s" if "max_duration_s" in self.raw else "min_duration_s",
                "min_duration_s <= max_duration_s < timeout_s must hold",
                f"{profile.min_duration_s:g}, {profile.max_duration_s:g}, {profile.timeout_s:g}",
            )
        return profile

    def _error(self, key: Any, law: str, value: object, mend: str | None = None) -> ConfigError:
        return ConfigError(law, value, mend, file=str(self.file), line=self.lines.get(str(key)))

    def _text(self, key: str, default: str | None) -> str | None:
        value = self.raw.get(key, default)
        if value is not None and not (isinstance(value, str) and (value.strip() or key == "summary")):
            raise self._error(key, f"{key} must be text", repr(value))
        if value is None and default is not None:
            raise self._error(key, f"{key} must be text", "nothing")
        return value

    def _device(self) -> str:
        name = self._text("device", LOCAL) or LOCAL
        try:
            registry.load("devices", name)
        except ConfigError as error:
            raise self._error("device", error.law, error.value, error.mend) from error
        return name

    def _choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        value = self.raw.get(key, default)
        if value not in choices:
            raise self._error(
                key, f"{key} must be one of {', '.join(choices)}", repr(value), nearest(str(value), choices)
            )
        return str(value)

    def _number(self, key: str, default: float, low: float, whole: bool = False) -> float:
        return self._as_number(key, key, self.raw.get(key, default), low, whole)

    def _as_number(self, key: str, what: str, value: object, low: float, whole: bool) -> float:
        law = f"{what} must be a {'whole number' if whole else 'number'} of at least {low:g}"
        if isinstance(value, str) and not whole:  # YAML 1.1 reads 2e6 as text
            try:
                value = float(value)
            except ValueError:
                raise self._error(key, law, repr(value)) from None
        if (
            isinstance(value, bool)
            or not isinstance(value, int if whole else (int, float))
            or not low <= value < float("inf")
        ):
            raise self._error(key, law, repr(value))
        return float(value)

    def _cores(self) -> tuple[int, ...] | None:
        value = self.raw.get("cores")
        if value is None:
            return None
        whole = isinstance(value, list) and all(type(core) is int and core >= 0 for core in value)
        if not whole or not value or len(set(value)) != len(value):
            raise self._error(
                "cores", "cores must be a list of different core numbers", repr(value), "For example [2, 3]."
            )
        return tuple(value)

    def _limits(self) -> dict[str, float]:
        value = self.raw.get("limits") or {}
        if not isinstance(value, dict):
            raise self._error("limits", "limits must map metrics to their largest value", repr(value))
        for metric in value:
            if metric not in LIMITS:
                raise self._error(
                    "limits", "limits must be on known metrics", repr(metric), nearest(str(metric), LIMITS)
                )
        return {m: self._as_number("limits", f"limits.{m}", v, 0.0, False) for m, v in value.items()}


def pinned_cores(profile: HardwareProfile) -> tuple[int, ...]:
    """The cores that a timing on this profile runs on: the last ones, since systems put their own work on the first."""
    if profile.cores is not None:
        return profile.cores
    cores = available_cores()
    return cores[-profile.threads :] if profile.threads else cores


def check_host(profile: HardwareProfile) -> None:
    """Refuse when the profile's device cannot be had; of another device than this host only the name is looked up.

    Raises:
        ConfigError: No such device.
        HardwareError: This host cannot stand for the profile.
    """
    if profile.device == LOCAL:
        check_here(profile)
    else:
        registry.load("devices", profile.device)


def check_here(profile: HardwareProfile) -> None:
    """Refuse when this host cannot stand for the profile.

    Raises:
        HardwareError: Another architecture or board, too few cores, or a provider that this onnxruntime does not have.
    """
    elsewhere = "Choose another profile, or copy the folder autokd/hardware/agent to the device and time files there."
    if profile.machine is not None and platform.machine() != profile.machine:
        raise HardwareError(f"Profile {profile.name} needs a {profile.machine} machine", platform.machine(), elsewhere)
    if profile.board is not None and profile.board not in (board_name() or ""):
        raise HardwareError(
            f"Profile {profile.name} needs the board {profile.board}", board_name() or "another one", elsewhere
        )
    need, have = max(profile.min_cores, profile.threads), available_cores()
    if len(have) < need:
        raise HardwareError(
            f"Profile {profile.name} needs {need} cores",
            f"{len(have)} (cores {list(have)})",
            "Choose a profile with fewer threads.",
        )
    strange = sorted(set(profile.cores or ()) - set(have))
    if strange:
        raise HardwareError(
            f"Profile {profile.name} is pinned to cores {list(profile.cores or ())}", f"no core {strange} here"
        )
    if profile.cores is not None and not hasattr(os, "sched_setaffinity"):
        raise HardwareError(
            f"Profile {profile.name} is pinned to cores {list(profile.cores)}",
            f"{platform.system()}, where a process cannot be pinned",
            "Leave out `cores`: the system then chooses them.",
        )
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    if profile.provider not in providers:
        package = (
            "onnxruntime-gpu"
            if "CUDA" in profile.provider or "Tensorrt" in profile.provider
            else "a build of onnxruntime"
        )
        raise HardwareError(
            f"Profile {profile.name} needs {profile.provider} in onnxruntime",
            ", ".join(providers),
            f"Install {package} that has it.",
        )
