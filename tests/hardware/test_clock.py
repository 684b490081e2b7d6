from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autokd.hardware.clock import LIMIT, HostClock
from autokd.hardware.latency import LatencyMeter


def never() -> float:
    raise AssertionError("the usual beat was measured already")


def test_a_slow_minute_is_corrected_to_the_usual_clock() -> None:
    clock = HostClock()
    assert clock.factor(10.0, lambda: 10.0) == 1.0
    assert clock.factor(10.2, never) == pytest.approx(10.0 / 10.2)
    assert clock.factor(9.9, never) == pytest.approx(10.0 / 9.9)


def test_more_than_a_clock_rate_can_explain_is_left_as_it_was_timed() -> None:
    clock = HostClock()
    clock.factor(10.0, lambda: 10.0)
    assert clock.factor(10.0 / (1 + LIMIT) + 0.01, never) is not None
    assert clock.factor(10.0 / (1 + LIMIT) - 0.01, never) is None
    assert clock.factor(100.0, never) is None


def test_the_usual_beat_is_measured_once_a_host_and_shared(tmp_path: Path) -> None:
    folder = tmp_path / "clocks"
    assert HostClock(folder).factor(10.0, lambda: 10.5) == pytest.approx(1.05)
    assert HostClock(folder).factor(10.0, never) == pytest.approx(1.05)
    (file,) = folder.iterdir()
    file.write_text("{broken")
    assert HostClock(folder).factor(10.0, lambda: 10.1) == pytest.approx(1.01)  # a half-written file is no beat


def test_two_that_calibrate_at_once_agree(tmp_path: Path) -> None:
    second = HostClock(tmp_path)

    def slow() -> float:
        HostClock(tmp_path).factor(10.0, lambda: 10.3)  # another process was faster
        return 10.7

    assert second.factor(10.0, slow) == pytest.approx(1.03)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_timing_says_what_it_was_corrected_with(short, quiet, make_onnx, tmp_path: Path) -> None:
    path, clocks = make_onnx(), tmp_path / "clocks"
    with LatencyMeter([short], quiet, clocks) as meter:
        first = meter.measure(path, short.name)
    assert first.clock_factor is not None and abs(first.clock_factor - 1) <= LIMIT
    (file,) = clocks.iterdir()
    file.write_text('{"beat_us": 1e9}')  # as if this host had been a thousand times slower
    with LatencyMeter([short], quiet, clocks) as meter:
        assert meter.measure(path, short.name).clock_factor is None
    with LatencyMeter([replace(short, name="again")], quiet) as meter:
        assert meter.measure(path, "again").clock_factor is not None
