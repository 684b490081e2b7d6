"""A student by limits, and what a little more of one thing buys of another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import selection

ACCURACY, LATENCY = Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread")


def rows(*values: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"number": k, "accuracy": a, "latency_ms@cpu_1_thread": ms} for k, (a, ms) in enumerate(values)]
    )


@pytest.mark.parametrize("values", [[0.0103, 0.3], [5.0, 5.0], [9.5e6, 1.2e7], [1.0, 10.0]])
def test_a_slider_s_limits_reach_around_every_value(values: list[float]) -> None:
    steps = selection.grid(pd.Series(values))
    assert steps == sorted(steps)
    assert min(values) <= steps[0] <= 1.11 * min(values)
    assert max(values) <= steps[-1] <= 1.11 * max(values)


def test_limits_stay_where_they_are_as_a_study_grows() -> None:
    few, many = selection.grid(pd.Series([0.02, 0.05])), selection.grid(pd.Series([0.02, 0.05, 0.5, 0.01]))
    assert set(few) <= set(many)


def test_no_values_no_limits() -> None:
    assert selection.grid(pd.Series([np.nan, 0.0])) == []


def test_the_best_inside_limits_is_the_most_accurate_then_the_fastest() -> None:
    found = rows((0.9, 3.0), (0.9, 2.0), (0.95, 9.0))
    inside = selection.within(found, {"latency_ms@cpu_1_thread": 5.0}, {"accuracy": 0.5})
    assert selection.best(inside, ACCURACY, LATENCY) == 1
    assert selection.best(inside.iloc[:0], ACCURACY, LATENCY) is None


def test_an_exchange_is_against_the_neighbours_on_the_front() -> None:
    front = rows((0.8, 1.0), (0.9, 2.0), (0.95, 5.0))
    cheaper, better = selection.exchanges(front, front.iloc[1], ACCURACY, LATENCY)
    assert cheaper is not None and better is not None
    assert (cheaper.number, better.number) == (0, 2)
    assert (cheaper.cost, cheaper.gain) == pytest.approx((-1.0, -0.1))
    assert (better.cost, better.gain) == pytest.approx((3.0, 0.05))
    assert selection.exchanges(front, front.iloc[0], ACCURACY, LATENCY)[0] is None
    behind = pd.Series({"number": 7, "accuracy": 0.85, "latency_ms@cpu_1_thread": 3.0})
    cheaper, better = selection.exchanges(front, behind, ACCURACY, LATENCY)
    assert cheaper is not None and better is not None
    assert (cheaper.number, better.number) == (1, 2) and cheaper.gain == pytest.approx(0.05)
