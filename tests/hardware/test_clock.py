from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autokd.effort import BRIEF, ONCE, ROUGH
from autokd.hardware import meter as latency
from autokd.hardware.clock import LIMIT, HostClock
from autokd.hardware.device import DeviceFacts
from autokd.hardware.meter import LatencyMeter

HERE = DeviceFacts("here")


def never() -> float:
    raise AssertionError("the usual beat was measured already")


def test_a_slow_minute_is_corrected_to_the_usual_clock() -> None:
    clock = HostClock(HERE)
    assert clock.factor(10.0, lambda: 10.0) == 1.0
    assert clock.factor(10.2, never) == pytest.approx(10.0 / 10.2)
    assert clock.factor(9.9, never) == pytest.approx(10.0 / 9.9)


def test_more_than_a_clock_rate_can_explain_is_left_as_it_was_timed() -> None:
    clock = HostClock(HERE)
    clock.factor(10.0, lambda: 10.0)
    assert clock.factor(10.0 / (1 + LIMIT) + 0.01, never) is not None
    assert clock.factor(10.0 / (1 + LIMIT) - 0.01, never) is None
    assert clock.factor(100.0, never) is None


def test_the_usual_beat_is_measured_once_a_host_and_shared(tmp_path: Path) -> None:
    folder = tmp_path / "clocks"
    assert HostClock(HERE, folder).factor(10.0, lambda: 10.5) == pytest.approx(1.05)
    assert HostClock(HERE, folder).factor(10.0, never) == pytest.approx(1.05)
    (file,) = folder.iterdir()
    file.write_text("{broken")
    assert HostClock(HERE, folder).factor(10.0, lambda: 10.1) == pytest.approx(1.01)  # a half-written file is no beat


def test_two_that_calibrate_at_once_agree(tmp_path: Path) -> None:
    second = HostClock(HERE, tmp_path)

    def slow() -> float:
        HostClock(HERE, tmp_path).factor(10.0, lambda: 10.3)  # another process was faster
        return 10.7

    assert second.factor(10.0, slow) == pytest.approx(1.03)
    assert len(list(tmp_path.iterdir())) == 1


USUAL_US = 10.0


def feed(meter: LatencyMeter, beat_us: Callable[[int], float]) -> list[dict[str, Any]]:
    """The worker times, but its beats are ours: the usual one, and what is said for the first timing, the second, ...

    Which beats a busy host has is luck. Returns the replies to all timings that were asked for.
    """
    honest, seen = meter._ask, list[dict[str, Any]]()

    def ask(profile: Any, request: Any, file: Path | None = None) -> dict[str, Any]:
        reply = honest(profile, request, file)
        assert reply["beat_us"] > 0
        if file is None:
            return reply | {"beat_us": USUAL_US}
        seen.append(reply | {"beat_us": beat_us(len(seen) + 1)})
        return seen[-1]

    meter._ask = ask  # type: ignore[method-assign]
    return seen


def slow(count: int) -> float:
    """As beside a busy neighbour on the core."""
    return 2 * USUAL_US


def slow_once(count: int) -> float:
    return slow(count) if count == 1 else USUAL_US


def test_a_timing_says_what_it_was_corrected_with(short, quiet, make_onnx, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(latency, "PAUSES_S", (0.0, 0.0))
    path, clocks = make_onnx(), tmp_path / "clocks"
    with LatencyMeter([short], quiet, clocks) as meter:
        seen = feed(meter, lambda count: USUAL_US * 1.02)
        first = meter.measure(path, short.name)
        assert first.clock_factor == pytest.approx(1 / 1.02)
        assert first.p50_ms == pytest.approx(seen[0]["p50_ms"] / 1.02)
    (file,) = clocks.iterdir()
    file.write_text('{"beat_us": 1e9}')  # as if this host had been a thousand times slower
    with LatencyMeter([short], quiet, clocks) as meter:  # nothing is fed: no beat is near that one
        assert meter.measure(path, short.name).clock_factor is None
    with LatencyMeter([replace(short, name="again")], quiet) as meter:
        feed(meter, lambda count: USUAL_US)
        assert meter.measure(path, "again").clock_factor == 1.0


def test_a_disturbed_timing_is_made_again(short, quiet, make_onnx) -> None:
    with LatencyMeter([short], quiet) as meter:
        seen = feed(meter, slow_once)
        result = meter.measure(make_onnx(), short.name)
    assert len(seen) == 2 and result.clock_factor == 1.0
    assert result.p50_ms == seen[1]["p50_ms"]


@pytest.mark.parametrize(("of_the_time", "timings"), [(0.01, 1), (0.45, 1), (0.6, 2), (1.25, 2), (100.0, 2)])
def test_only_a_case_that_is_not_clear_is_timed_again(
    short, quiet, make_onnx, monkeypatch, of_the_time: float, timings: int
) -> None:
    path = make_onnx()
    with LatencyMeter([short], quiet) as meter:
        feed(meter, lambda count: USUAL_US)
        took_ms = meter.measure(path, short.name, BRIEF).p50_ms
    with LatencyMeter([short], quiet) as meter:
        seen = feed(meter, slow_once)
        timed = meter._timed
        monkeypatch.setattr(
            meter, "_timed", lambda *asked: ({**timed(*asked)[0], "p50_ms": took_ms}, 0.5 if len(seen) == 1 else 1.0)
        )
        meter.measure(path, short.name, BRIEF, above_ms=of_the_time * took_ms)
    assert len(seen) == timings


def test_a_brief_timing_is_repeated_before_anything_is_waited_for(short, quiet, make_onnx, monkeypatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(latency.time, "sleep", waits.append)
    with LatencyMeter([short], quiet) as meter:
        feed(meter, slow_once)
        meter.measure(make_onnx(), short.name, BRIEF)
        assert waits == [0.0]
        feed(meter, slow)
        meter.measure(make_onnx(), short.name, BRIEF)
    assert waits == [0.0, 0.0, *latency.PAUSES_S]


def test_a_timing_that_is_one_of_several_is_not_made_again(short, quiet, make_onnx) -> None:
    with LatencyMeter([short], quiet) as meter:
        seen = feed(meter, slow)
        for _ in range(latency.GIVEN_UP):
            meter.measure(make_onnx(), short.name, ONCE)
        assert len(seen) == latency.GIVEN_UP
        meter.measure(make_onnx(), short.name, BRIEF)  # and says nothing about the host
        assert len(seen) > latency.GIVEN_UP + 1


def test_a_timing_for_a_limit_is_rougher(short, quiet, make_onnx, monkeypatch) -> None:
    asked: list[dict] = []
    with LatencyMeter([short], quiet) as meter:
        feed(meter, lambda count: USUAL_US)  # else a busy host would have some made again
        ask = meter._ask
        monkeypatch.setattr(meter, "_ask", lambda profile, *more: asked.append(more[0]) or ask(profile, *more))
        for above_ms in (0.0, 1e-6):
            meter.measure(make_onnx(), short.name, ROUGH if above_ms else BRIEF)
        meter.measure(make_onnx(), short.name, BRIEF, above_ms=1e-6)
        meter.measure(make_onnx(), short.name, ONCE)
    timings = [request for request in asked if "beat_s" not in request]
    assert ["agree" in request for request in timings] == [False, True, False, True]


def test_a_host_that_stays_strange_is_not_asked_again_each_time(short, quiet, make_onnx, monkeypatch) -> None:
    monkeypatch.setattr(latency, "PAUSES_S", (0.0, 0.0))
    with LatencyMeter([short], quiet) as meter:
        seen = feed(meter, slow)
        for _ in range(latency.GIVEN_UP):
            assert meter.measure(make_onnx(), short.name).clock_factor is None
        several = len(seen)
        meter.measure(make_onnx(), short.name)
    assert several == 3 * latency.GIVEN_UP and len(seen) == several + 1
