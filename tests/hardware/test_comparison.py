"""Which of several files is faster, on a core whose speed changes while they are timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from autokd.effort import FULL, Effort
from autokd.hardware.comparison import ROUNDS, SCOUTS, compare
from autokd.hardware.meter import LatencyMeter
from autokd.protocols import LatencyResult

FILES = [Path(name) for name in ("slow", "fast", "near", "far")]
TIMES = {"slow": 1.1, "fast": 1.0, "near": 1.03, "far": 3.0}


class Core:
    """A meter whose core is so many times slower by the count of its timings, which the beat tells in part."""

    def __init__(self, slower: Callable[[int], float] = lambda count: 1.0, told: float = 1.0) -> None:
        self.slower, self.told = slower, told
        self.asked: list[str] = []
        self.once: list[bool] = []

    def measure(self, path: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult:
        assert effort.brief and not above_ms
        self.once.append(not effort.again)
        slower = self.slower(len(self.asked))
        self.asked.append(path.name)
        factor = slower**-self.told
        value = TIMES[path.name] * slower * factor
        return LatencyResult(value, value, 0.0, 5, None, factor)


def test_a_calm_core_gives_the_times() -> None:
    core = Core()
    assert compare(core, FILES, profile="p") == pytest.approx([1.1, 1.0, 1.03, 3.0])
    assert [core.asked.count(file.name) for file in FILES] == [ROUNDS, ROUNDS, ROUNDS, SCOUTS]


@pytest.mark.parametrize("told", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("changes", [4, 5, 7, 9])
def test_order_is_kept_where_the_core_is_half_as_fast_again_now_and_then(told: float, changes: int) -> None:
    """Faster and slower in stretches of some timings: in any stretch all of a round's files, or nearly all, are alike."""
    found = compare(Core(lambda count: 1.5 if count // changes % 2 else 1.0, told), FILES, profile="p")
    assert sorted(range(4), key=found.__getitem__) == [1, 2, 0, 3]
    if changes == 4:  # whole rounds: nothing is left of it in the ratios
        assert [a / found[1] for a in found] == pytest.approx([1.1, 1.0, 1.03, 3.0])


def test_one_disturbed_timing_changes_nothing() -> None:
    for at in range(3 * ROUNDS):
        found = compare(Core(lambda count, at=at: 4.0 if count == at else 1.0, 0.0), FILES[:3], profile="p")  # type: ignore[misc]
        assert found == pytest.approx([1.1, 1.0, 1.03]), at


@pytest.mark.parametrize("by", [1.3, 1.5, 2.0, 4.0])
def test_a_file_that_was_left_behind_stays_there(by: float) -> None:
    """Two contenders are an even number, and who was left behind has two timings: no median of these is robust."""
    files = [FILES[1], FILES[2], FILES[3]]
    for at in range(2 * 3 + 3 * 2):
        found = compare(Core(lambda count, at=at: by if count == at else 1.0, 0.0), files, profile="p")  # type: ignore[misc]
        assert found[2] > 2.5 * min(found[:2]), at


def test_what_is_timed_beside_puts_nothing_behind() -> None:
    core = Core()
    found = compare(core, [FILES[0], FILES[3]], [FILES[1]], profile="p")
    assert found == pytest.approx([1.1, 3.0, 1.0])
    plain = compare(core, [FILES[3]], [FILES[1]], profile="p")
    assert plain == pytest.approx([3.0, 1.0])
    assert core.asked.count("far") == SCOUTS + ROUNDS and core.asked.count("fast") == 2 * ROUNDS


def test_latencies_are_at_the_usual_clock_of_each_round() -> None:
    files = [Path("fast")] * 2 + [Path("far")] * 3
    for told in (1.0, 0.999):
        found = compare(Core(lambda count: 1.25 if count < 10 else 1.0, told), files, profile="p")
        assert found == pytest.approx([1.0, 1.0, 3.0, 3.0, 3.0], rel=1e-3)


def test_a_single_contender_is_not_timed_on() -> None:
    core = Core()
    assert compare(core, [FILES[1], FILES[3]], profile="p") == pytest.approx([1.0, 3.0])
    assert len(core.asked) == 2 * SCOUTS
    assert all(core.once)
    assert compare(core, FILES[:1], profile="p") == pytest.approx([1.1]) and core.once[2 * SCOUTS :] == [False]


def test_an_unknown_clock_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core()
    measure = core.measure
    monkeypatch.setattr(
        core, "measure", lambda *a, **k: LatencyResult(measure(*a, **k).p50_ms, 1.0, 0.0, 5, None, None)
    )
    assert compare(core, FILES, profile="p") == pytest.approx([1.1, 1.0, 1.03, 3.0])


def test_real_files(short, quiet, make_onnx) -> None:
    file = make_onnx()
    with LatencyMeter([short], quiet) as meter:
        found = compare(meter, [file, file], profile=short.name)
    assert all(0 < ms < math.inf for ms in found)
    assert max(found) < 3 * min(found)
