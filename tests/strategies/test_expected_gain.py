"""The expected gain of more search: exact where it can be, calibrated where it cannot, and quiet when it does not know."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.pareto import hypervolume, hypervolume_contributions
from autokd.strategies import expected_gain
from autokd.strategies.expected_gain import FEWEST, LEVEL, ExpectedGain, GainWatch, percent, volumes
from autokd.strategies.monitors import watch_frame

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
THREE = (*GOALS, Objective("minimize", "size_bytes"))
REFERENCE = [0.1, 8.0]


def students(n: int, seed: int = 0, goals: tuple[Objective, ...] = GOALS) -> np.ndarray:
    """``(n, m)`` students drawn independently: larger ones are better and slower, luck comes on top."""
    rng = np.random.default_rng(seed)
    size = rng.random(n)
    accuracy = 0.95 - 0.4 * np.exp(-3 * size) - 0.1 * rng.random(n) ** 2
    costs = [np.exp(3 * size - 2 + 0.5 * rng.normal(size=n)) for _ in goals[1:]]
    return np.column_stack([accuracy, *costs])


def watched(values: np.ndarray, shares: tuple[float, ...] = expected_gain.SHARES, seconds: float = 10.0) -> GainWatch:
    goals = THREE[: values.shape[1]]
    watch = GainWatch(goals, [0.1, 8.0, 8.0][: len(goals)], shares)
    watch.extend(seconds * np.arange(1, len(values) + 1), values)
    return watch


def exact(values: np.ndarray, contributions: bool = False) -> np.ndarray:
    goals = THREE[: values.shape[1]]
    how = hypervolume_contributions if contributions else hypervolume
    return np.asarray(
        how(values, [0.1, 8.0, 8.0][: len(goals)], [o.direction for o in goals], [o.scale for o in goals])
    )


# ------------------------------------------------------------------------------------------------------ volumes


@pytest.mark.parametrize("m", [2, 3])
def test_volumes_of_many_selections_are_the_hypervolume_of_each(m: int) -> None:
    rng = np.random.default_rng(m)
    points = rng.integers(1, 9, (40, m)).astype(float)  # with ties and copies
    there = rng.random((30, 40)) < rng.random((30, 1))
    there[0] = False
    found = volumes(points, there)
    for chosen, volume in zip(there, found, strict=True):
        assert volume == pytest.approx(hypervolume(points[chosen], np.zeros(m), ["maximize"] * m))


@pytest.mark.parametrize("goals", [GOALS, THREE], ids=["two", "three"])
def test_the_volume_is_the_study_s_at_every_step(goals: tuple[Objective, ...]) -> None:
    values = students(80, goals=goals)
    values[::9] = np.nan  # outside a constraint
    values[5:8] = values[4]
    watch = GainWatch(goals, [0.1, 8.0, 8.0][: len(goals)])
    for n, row in enumerate(values, 1):
        watch.extend([10.0 * n], row[None])
        known = values[:n][np.isfinite(values[:n]).all(axis=1)]
        assert watch.volume == pytest.approx(exact(known) if len(known) else 0.0)
    assert watch.measured == 80


def test_one_by_one_or_at_once_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = students(300)
    values[100:140] = values[60:100]
    one = GainWatch(GOALS, REFERENCE)
    for n, row in enumerate(values):
        one.observe(10.0 * (n + 1), row.tolist())
    for chunk in (7, 512):
        monkeypatch.setattr(expected_gain, "CHUNK", chunk)
        assert watched(values).expected() == one.expected()


def test_little_is_kept_of_a_long_search_and_nothing_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    values = students(3000)
    short = watched(values)
    assert len(short._points) < 600
    monkeypatch.setattr(expected_gain, "DEPTH", 10**9)
    whole = watched(values)
    assert len(whole._points) > 2990
    for window in (600.0, 30_000.0):
        a, b = short.expected(window), whole.expected(window)
        assert a.gain == pytest.approx(b.gain, rel=0.25) and a.high == pytest.approx(b.high, rel=1.0)
    assert (whole._points[whole._beaten < 24] == short._points).all()


def test_copies_do_not_pile_up() -> None:
    watch = watched(np.repeat(students(20), 200, axis=0))
    assert len(watch._points) <= 20 * expected_gain.DEPTH
    assert watch.expected().gain == 0


# ------------------------------------------------------------------------------------------------- the estimate


def test_one_trial_ahead_is_the_sum_of_contributions_over_the_trials() -> None:
    """Good's estimate: what was seen once tells what was not seen."""
    values = students(60)
    told = watched(values, shares=(1.0,)).expected(10.0)  # one student in ten seconds
    assert told.students == pytest.approx(1.0)
    ahead = math.log1p(1 / 60) / math.log(60 / 59)
    want = ahead * exact(values, contributions=True).sum() / 60 / exact(values)
    assert told.gain == pytest.approx(want, rel=0.35)  # 400 draws of something rare


def test_a_front_that_no_longer_moves_expects_nothing() -> None:
    best = np.array([[0.99, 0.01]])
    values = np.vstack([best, students(60)])
    told = watched(values).expected()
    assert told.gain == told.low == 0 and told.high is not None and told.high > 0, (
        "another such stroke of luck may come"
    )
    told = watched(values, shares=(0.5,)).expected()
    assert str(told) == "next 10 minutes: about +0 % hypervolume (0-0 %)"


def test_only_the_newest_students_say_what_comes() -> None:
    """A front that was found early and stood since promises less than one that is still moving."""
    values = students(80)
    best = np.argsort(-exact(values, contributions=True))
    early = np.vstack([values[best], students(0)])
    gains = [watched(v).expected().gain for v in (early, early[::-1])]
    assert gains[0] is not None and gains[1] is not None and gains[0] < 0.2 * gains[1]


def test_more_time_brings_more() -> None:
    watch = watched(students(100))
    told = [watch.expected(w) for w in (3.0, 30.0, 300.0, 3000.0, 30_000.0)]
    gains = [t.gain for t in told]
    assert gains == sorted(gains, key=lambda g: g or 0.0) and gains[0] != gains[-1]
    for t in told:
        assert t.low is not None and t.high is not None and 0 <= t.low <= t.high
        assert t.students == pytest.approx(t.window_s / 10)


def test_a_faster_pace_brings_more() -> None:
    values = students(60)
    slow, fast = (watched(values, seconds=s).expected() for s in (60.0, 5.0))
    assert slow.students == pytest.approx(10) and fast.students == pytest.approx(120)
    assert slow.gain is not None and fast.gain is not None and slow.gain < fast.gain


def test_only_the_recent_pace_counts() -> None:
    watch = GainWatch(GOALS, REFERENCE)
    watch.extend([*np.arange(40) * 100.0, *(4000 + np.arange(40) * 10.0)], students(80))
    assert watch.expected().students == pytest.approx(60)


def test_the_same_trials_give_the_same_advice() -> None:
    assert watched(students(50)).expected() == watched(students(50)).expected()


def test_independent_students_are_foretold_without_bias() -> None:
    """Over many simulated searches: what was expected is what came, and the interval holds about as often as it says."""
    expected, came, inside = [], [], []
    for seed in range(60):
        values = students(120, seed)
        for n in (20, 40, 60):
            told = watched(values[:n]).expected(10.0 * n)
            gain = float(exact(values[: 2 * n]) / exact(values[:n])) - 1
            assert told.gain is not None and told.low is not None and told.high is not None
            expected.append(told.gain)
            came.append(gain)
            inside.append(told.low <= gain <= told.high)
    assert 0.75 < sum(expected) / sum(came) < 1.35
    assert LEVEL - 0.15 < np.mean(inside) < 0.95


# --------------------------------------------------------------------------------------------- what it cannot say


def test_too_few_students_are_said() -> None:
    told = watched(students(FEWEST - 1)).expected()
    assert told.gain is None and told.short == ""
    assert str(told) == f"next 10 minutes: known after {FEWEST} measured students ({FEWEST - 1} so far)"
    assert watched(students(FEWEST)).expected().gain is not None


def test_nothing_better_than_the_reference_is_said() -> None:
    told = watched(students(30) * [0.1, 1.0]).expected()
    assert told.volume == 0 and told.gain is None and "no student is better than the reference point" in str(told)
    assert watched(students(30) * [np.nan, 1.0]).expected().volume == 0


def test_no_reference_and_no_time_are_said() -> None:
    watch = GainWatch(GOALS, None)
    watch.extend(np.arange(30.0), students(30))
    assert "teacher" in watch.expected().missing and watch.volume is None and watch.measured == 30
    assert "no time" in watched(students(30), seconds=0.0).expected().missing


def test_infinite_and_impossible_values_add_nothing() -> None:
    values = students(30)
    values[3], values[4] = [math.inf, 1.0], [0.9, 0.0]
    assert watched(values).volume == pytest.approx(exact(np.delete(values, [3, 4], axis=0)))


def test_words() -> None:
    told = ExpectedGain(600, 30, 2.0, 20.0, 0.0043, 0.001, 0.0091)
    assert str(told) == "next 10 minutes: about +0.43 % hypervolume (0.1-0.91 %)"
    assert told.short == "+0.43 % (0.1-0.91 %)"
    assert [percent(v) for v in (0, 1e-5, 0.00043, 0.021, 0.12, 0.995, 3.2)] == [
        "0",
        "0",
        "0.043",
        "2.1",
        "12",
        "100",
        "320",
    ]
    assert told.to_dict()["gain"] == 0.0043


# ---------------------------------------------------------------------------------------------- from a study


def table(n: int) -> pd.DataFrame:
    """Trials of 10 s, one after the other; every fifth is infeasible, which takes no time and is no student."""
    frame = pd.DataFrame(
        {"number": np.arange(n), "begun": 1000.0 + 10 * np.arange(n), "ended": 1010.0 + 10 * np.arange(n)}
    )
    frame = frame.assign(outcome="measured", feasible=True)
    frame[[o.name for o in GOALS]] = students(n)
    frame.loc[frame["number"] % 5 == 4, ["outcome", "feasible"]] = ["infeasible", False]
    return frame


def test_pauses_are_no_search() -> None:
    frame = table(50)
    paused = frame.copy()
    paused.loc[30:, ["begun", "ended"]] += 86400.0
    told = watch_frame(GOALS, REFERENCE, frame).expected()
    assert watch_frame(GOALS, REFERENCE, paused).expected() == told
    assert told.measured == 40 and told.students == pytest.approx(48, rel=0.05)


def test_students_are_taken_in_the_order_in_which_they_ended() -> None:
    frame = table(50)
    shuffled = frame.sample(frac=1.0, random_state=0)
    assert watch_frame(GOALS, REFERENCE, shuffled).expected() == watch_frame(GOALS, REFERENCE, frame).expected()


def test_a_table_without_students() -> None:
    for frame in (table(0), table(5).drop(columns="accuracy"), table(5).assign(outcome="failed", feasible=False)):
        assert watch_frame(GOALS, REFERENCE, frame).expected().gain is None
