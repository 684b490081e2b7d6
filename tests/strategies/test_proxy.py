"""Rank correlations of a free proxy, their intervals, and the gate that shuts it off."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autokd.config.objectives import Objective
from autokd.strategies.monitors import gate_frame, goals_of
from autokd.strategies.proxy import (
    FEWEST,
    LEVEL,
    THRESHOLD,
    ProxyGate,
    log_macs_params,
    partial_spearman,
    ranks,
    spearman,
)

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))


def students(n: int, seed: int = 0, says: float = 1.0, cost_says: float = 0.0) -> np.ndarray:
    """``(n, 3)``: value, proxy, cost. The proxy says ``says`` of the value and ``cost_says`` of the cost."""
    rng = np.random.default_rng(seed)
    cost, own = rng.normal(size=n), rng.normal(size=n)
    value = cost + own + 0.3 * rng.normal(size=n)
    return np.column_stack([value, cost_says * cost + says * own + 0.3 * rng.normal(size=n), np.exp(cost)])


def fed(rows: np.ndarray, gate: ProxyGate | None = None, cost: bool = True) -> ProxyGate:
    gate = gate or ProxyGate()
    for value, proxy, spent in rows:
        gate.observe(value, proxy, spent if cost else None)
    return gate


# ------------------------------------------------------------------------------------------------- correlations


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_correlation_are_scipy_s(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 12, (2, 40)).astype(float)  # with ties
    assert ranks(a) == pytest.approx(stats.rankdata(a) - 1)
    found = spearman(a, b)
    assert found is not None and found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.low < found.value < found.high and found.n == 40


def test_the_partial_correlation_is_that_of_the_residuals() -> None:
    a, b, c = students(60, says=0.5, cost_says=1.0).T
    x, y, z = (stats.rankdata(v) for v in (a, b, c))
    left = [v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y)]
    found = partial_spearman(a, b, c)
    assert found is not None and found.value == pytest.approx(np.corrcoef(*left)[0, 1])
    plain = spearman(a, b)
    assert plain is not None
    assert partial_spearman(a, b, np.ones(60)) == plain, "a constant says nothing"


@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("strength", [0.0, 0.5, 0.85])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int, strength: float) -> None:
    rng = np.random.default_rng(n)
    truth = 6 / math.pi * math.asin(strength / 2)  # Spearman's of a normal pair with this correlation
    plain = partial = 0
    for _ in range(500):
        common, a, b, c = rng.normal(size=(4, n))
        a, b = math.sqrt(strength) * common + math.sqrt(1 - strength) * np.array([a, b])
        one, two = spearman(a, b), partial_spearman(a, b, c)  # the third has nothing to do with them
        assert one is not None and two is not None
        plain += one.low <= truth <= one.high
        partial += two.low <= truth <= two.high
    assert plain / 500 == pytest.approx(LEVEL, abs=0.05)
    assert partial / 500 == pytest.approx(LEVEL, abs=0.05)


def test_what_has_no_correlation() -> None:
    assert spearman([1, 2, 3, 4], [1, 2, 3, 4]) is None
    assert spearman([1.0] * 9, list(range(9))) is None
    assert partial_spearman(range(9), [3, 1, 2, 5, 4, 9, 8, 7, 6], range(9)) is None, "the third column says it all"
    assert spearman(range(9), range(9)) is not None
    with pytest.raises(ValueError, match="equally long"):
        spearman(range(9), range(8))


def test_the_proxy() -> None:
    assert log_macs_params(1000.0, 10.0) == pytest.approx(math.log(10_000))
    assert log_macs_params(None, 10.0) is log_macs_params(10.0, 0.0) is log_macs_params(math.nan, 1.0) is None


# ----------------------------------------------------------------------------------------------------- the gate


def test_it_opens_for_what_ranks_and_stays_shut_for_noise() -> None:
    assert fed(students(40)).informative
    assert fed(students(40), cost=False).informative
    assert not fed(students(40, says=0.0)).informative
    assert sum(fed(students(30, seed, says=0.0)).informative for seed in range(100)) <= 2
    assert not fed(students(40) * [1, -1, 1]).informative, "one that ranks the wrong way round"


def test_what_only_repeats_the_cost_tells_nothing() -> None:
    """Larger nets are slower and better: that is known from the latency."""
    rows = students(60, says=0.0, cost_says=1.0)
    gate = fed(rows)
    assert gate.correlation is not None and gate.correlation.low > THRESHOLD
    assert gate.beyond_cost is not None and abs(gate.beyond_cost.value) < 0.3
    assert not gate.informative and "off" in str(gate)
    assert fed(rows, cost=False).informative, "where no cost is known it is all there is"


def test_not_before_there_are_enough() -> None:
    rows = students(FEWEST)
    gate = fed(rows[:-1])
    assert not gate.informative and str(gate).endswith(f"known after {FEWEST} measured students ({FEWEST - 1} so far)")
    assert fed(rows[-1:], gate).informative and "informative" in str(gate)


def test_it_shuts_again_when_what_it_says_stops_being_true() -> None:
    gate = fed(students(30))
    assert gate.informative
    assert not fed(students(60, 1, says=0.0), gate).informative


def test_what_was_not_measured_is_left_out() -> None:
    gate = ProxyGate()
    for value, proxy in ((None, 1.0), (1.0, None), (math.nan, 1.0), (1.0, math.inf)):
        gate.observe(value, proxy, 1.0)
    assert gate.n == 0
    gate.observe(1.0, 1.0, math.nan)
    assert gate.n == 1 and not gate.costs_known


def test_plain_values() -> None:
    found = fed(students(40)).to_dict()
    assert found["students"] == 40 and found["informative"] is True and found["threshold"] == THRESHOLD
    assert found["rank_correlation"]["low"] < found["rank_correlation"]["value"] < found["rank_correlation"]["high"]
    assert ProxyGate().to_dict()["rank_correlation"] is None


# -------------------------------------------------------------------------------------------------- from a study


def table(n: int = 30) -> pd.DataFrame:
    value, proxy, cost = students(n).T
    frame = pd.DataFrame(
        {"outcome": "measured", "accuracy": value, GOALS[1].name: cost, "macs": np.exp(proxy), "params": 1.0}
    )
    frame.loc[0, "outcome"] = "failed"
    return frame


def test_of_a_table_of_trials() -> None:
    frame = table()
    gate = gate_frame(GOALS, frame)
    assert gate.n == 29 and gate.costs_known and gate.informative
    assert "among those of equal latency" in str(gate)
    assert gate_frame(GOALS, frame.drop(columns="macs")).n == 0
    upside_down = (Objective("minimize", "log_loss"), GOALS[1])
    assert gate_frame(upside_down, frame.assign(log_loss=-frame["accuracy"])).correlation == gate.correlation


def test_which_goals_it_is_judged_by() -> None:
    size = Objective("minimize", "size_bytes")
    assert goals_of(GOALS) == GOALS
    assert goals_of((size, GOALS[0])) == (GOALS[0], size)
    assert goals_of((GOALS[0], Objective("minimize", "macs"))) == (GOALS[0], None), (
        "a proxy made of it would tell nothing new"
    )
    assert goals_of((size, GOALS[1])) == (None, size)
