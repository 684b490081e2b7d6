"""What each effort asks of a device, to the byte: agents on boards speak it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autokd.effort import BRIEF, FULL, ONCE, QUICK, ROUGH, Effort
from autokd.hardware import meter as meter_module
from autokd.hardware.local import LocalDevice
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import HardwareProfile
from autokd.hardware.request import timing_request

SHIPPED = HardwareProfile("cpu_1_thread")
PATIENT = HardwareProfile(
    "patient", threads=2, batch=32, warmup=100, min_count=12, min_duration_s=3.0, max_duration_s=9.0
)
CUDA = HardwareProfile("cuda", provider="CUDAExecutionProvider", warmup=50, min_duration_s=0.003)
# (profile, effort, above_ms): warmup, min_count, min_duration_s, max_duration_s, and what follows the seed
TABLE = [
    (SHIPPED, FULL, 0.0, (20, 30, 0.1, 1.0), {}),
    (SHIPPED, QUICK, 0.0, (6, 10, 0.1 / 3, 1 / 3), {}),
    (SHIPPED, BRIEF, 0.0, (3, 5, 0.006, 0.015), {"memory": 0}),
    (SHIPPED, BRIEF, 1.5, (3, 5, 0.006, 0.015), {"memory": 0}),
    (SHIPPED, ROUGH, 1.5, (3, 5, 0.006, 0.015), {"memory": 0, "agree": 0.04}),
    (SHIPPED, ONCE, 0.0, (3, 5, 0.006, 0.015), {"memory": 0, "agree": 0.04}),
    (PATIENT, FULL, 0.0, (100, 12, 3.0, 9.0), {}),
    (PATIENT, QUICK, 0.0, (33, 5, 1.0, 3.0), {}),
    (PATIENT, BRIEF, 0.0, (3, 5, 0.006, 0.015), {"memory": 0}),
    (CUDA, BRIEF, 0.0, (50, 5, 0.003, 0.015), {"memory": 0}),
    (CUDA, QUICK, 0.0, (16, 10, 0.001, 1 / 3), {}),
]
NAMES = {FULL: "full", QUICK: "quick", BRIEF: "brief", ROUGH: "rough", ONCE: "once"}


@pytest.mark.parametrize(
    ("profile", "effort", "above_ms", "numbers", "more"),
    TABLE,
    ids=[f"{profile.name}-{NAMES[effort]}-{above_ms:g}" for profile, effort, above_ms, *_ in TABLE],
)
def test_the_numbers_of_an_effort(
    profile: HardwareProfile, effort: Effort, above_ms: float, numbers: tuple[float, ...], more: dict[str, float]
) -> None:
    expected = {
        "id": "/a/net.onnx",
        "provider": profile.provider,
        "threads": profile.threads,
        "batch": profile.batch,
        "optimization": "all",
        **dict(zip(("warmup", "min_count", "min_duration_s", "max_duration_s"), numbers, strict=True)),
        "timeout_s": 120.0,
        "seed": 0,
        **more,
        "above_ms": above_ms,
    }
    asked = timing_request(Path("/a/net.onnx"), profile, effort, above_ms)
    assert json.dumps(asked) == json.dumps(expected)


def test_a_custom_effort_is_one_value(short: HardwareProfile) -> None:
    asked = timing_request(Path("net.onnx"), short, Effort(part=10, agree=0.2), 0.0)
    assert (asked["min_duration_s"], asked["agree"], "memory" in asked) == (0.001, 0.2, False)


def test_the_line_that_reaches_this_hosts_agent(short, quiet, make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path second, and every core counted where the profile asks for all."""
    monkeypatch.setattr(meter_module, "PAUSES_S", ())
    lines: list[bytes] = []

    class Pipe:
        def __init__(self, pipe) -> None:
            self.write = lambda line: lines.append(line) or pipe.write(line)
            self.flush, self.close = pipe.flush, pipe.close

    def spied(profile: HardwareProfile) -> LocalDevice:
        device = LocalDevice(profile)
        device._stdin = Pipe(device._stdin)  # type: ignore[assignment]
        return device

    everything = HardwareProfile("all", threads=0, min_duration_s=0.01, max_duration_s=0.03)
    file = make_onnx()
    with LatencyMeter([everything], quiet, device=spied) as meter:
        meter.measure(file, "all", ROUGH, above_ms=1e6)
        device = meter.device_of("all")
        assert device is not None
        cores = device.facts().cores
    (line, calibration, *_), ending = [json.loads(line) for line in lines], {line[-1:] for line in lines}
    assert lines[0].startswith(json.dumps({"id": str(file), "path": str(file)})[:-1].encode())
    assert line == timing_request(file, everything, ROUGH, 1e6) | {"path": str(file), "threads": cores}
    assert calibration == {"beat_s": meter_module.CALIBRATION_S} and ending == {b"\n"}
