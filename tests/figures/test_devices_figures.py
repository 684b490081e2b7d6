"""Orders of students on several devices, and what is drawn of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.figures import devices_figure, order_between, rank_figure, winners

A, B = (Objective("minimize", "latency_ms", d) for d in ("one", "two"))


def rows(one: list[float], two: list[float], error: float | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"number": np.arange(len(one)) + 10, A.name: one, B.name: two})
    return frame if error is None else frame.assign(**{f"{A.name}_error": error, f"{B.name}_error": error})


def test_orders_are_compared_by_rank() -> None:
    same = order_between(rows([1, 2, 3, 4], [10, 200, 201, 9000]), A.name, B.name)
    assert (same.students, same.spearman, same.pairs, same.swapped) == (4, pytest.approx(1), 6, 0)
    turned = order_between(rows([1, 2, 3, 4], [4, 3, 2, 1]), A.name, B.name)
    assert turned.spearman == pytest.approx(-1) and turned.swapped == turned.sure == 6
    assert order_between(rows([1, 2, 3, 4], [1, 3, 2, 4]), A.name, B.name).spearman == pytest.approx(0.8)  # by hand


def test_a_swap_within_the_spread_is_not_sure() -> None:
    found = order_between(rows([1, 1.05, 3], [2.05, 2, 9], error=0.1), A.name, B.name)
    assert (found.swapped, found.sure) == (1, 0)
    assert order_between(rows([1, 1.5, 3], [2.5, 2, 9], error=0.1), A.name, B.name).sure == 1


def test_too_few_or_equal_students_have_no_correlation() -> None:
    assert math.isnan(order_between(rows([1, 2], [1, 2]), A.name, B.name).spearman)
    assert math.isnan(order_between(rows([1, 1, 1], [1, 2, 3]), A.name, B.name).spearman)
    assert order_between(rows([1, 2, math.nan], [1, 2, 3]), A.name, B.name).students == 2


def test_the_best_student_for_all_devices_loses_least() -> None:
    found = winners(rows([1.0, 2.0, 1.2], [3.0, 1.0, 1.1]), [A.name, B.name])
    assert found is not None and dict(found.fastest) == {A.name: 10, B.name: 11}
    assert found.everywhere == 12 and found.loss == pytest.approx(1.2)
    assert found.losses.loc[10].tolist() == pytest.approx([1, 3]) and found.losses.index.tolist() == [10, 11, 12]
    assert winners(rows([], []), [A.name, B.name]) is None


def test_ranks_and_what_becomes_of_them() -> None:
    figure = rank_figure(rows([1, 2, 3, 4], [1, 9, 3, 4]), [A, B])
    named = {t.name: t for t in figure.data if t.name and t.mode == "lines+markers"}
    assert list(named["worse on two"].y) == [2, 4, None] and list(named["better on two"].y) == [3, 2, None, 4, 3, None]
    assert list(named["the same rank on two as on one"].y) == [1, 1, None]
    assert named["worse on two"].customdata[0][0] == 11 and list(figure.layout.xaxis.ticktext) == ["one", "two"]


def test_members_of_each_front_are_told_apart() -> None:
    figure = devices_figure(rows([1, 2, 3, 4], [2, 5, 6, 7], error=0.1), A, B, [10, 11], [11, 12])
    found = {t.name: [c[0] for c in t.customdata] for t in figure.data if t.customdata is not None}
    assert found == {"on no front": [13], "front of one": [10], "front of two": [12], "front of both": [11]}
    assert {t.name for t in figure.data} >= {"equal on both", "typical: 2 times as much"}
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_no_line_of_equality_where_it_would_squeeze_the_points() -> None:
    figure = devices_figure(rows([1, 2, 3], [1000, 2000, 3000]), A, B, [], [])
    assert "equal on both" not in {t.name for t in figure.data} and "typical: 1,000 times as much" in {
        t.name for t in figure.data
    }
