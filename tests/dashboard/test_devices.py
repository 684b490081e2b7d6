"""The page Compare devices: orders, winners, what is drawn, and the page over a real ledger."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from autokd.config.objectives import Objective
from autokd.figures import devices_figure, order_between, rank_figure, winners
from autokd.study.study import Study
from tests.dashboard.conftest import figures

A, B = (Objective("minimize", "latency_ms", d) for d in ("one", "two"))
Make = Callable[..., Study]
Open = Callable[..., AppTest]
TWO = ("cpu_1_thread", "cpu_2_threads")


def rows(one: list[float], two: list[float], error: float | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"number": np.arange(len(one)) + 10, A.name: one, B.name: two})
    return frame if error is None else frame.assign(**{f"{A.name}_error": error, f"{B.name}_error": error})


# ------------------------------------------------------------------------------------------------------ numbers


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


# ------------------------------------------------------------------------------------------------------ figures


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


# --------------------------------------------------------------------------------------------------------- page


def words(app: AppTest) -> str:
    return "\n".join(str(e.value) for kind in (app.markdown, app.info, app.caption) for e in kind).replace("\\", "")


def test_two_devices_that_disagree(make: Make, open_page: Open) -> None:
    make(hardware=TWO)
    app = open_page("devices")
    assert not app.error
    # .80 .83 .86 .89 .50 and latencies of k+1 and 6-k: on the second device only trial 3 and 4 are on the front
    table = app.dataframe[1].value
    assert table["trial"].tolist() == [3, 2, 1, 0, 4]
    assert table["front of cpu_1_thread"].tolist() == [True] * 4 + [False]
    assert table["front of cpu_2_threads"].tolist() == [True, False, False, False, True]
    assert table["latency (ms, cpu_2_threads)"].tolist() == pytest.approx([0.03, 0.04, 0.05, 0.06, 0.02])
    assert "is **-1.00**" in words(app) and "10 of 10 pairs (100%) change their order" in words(app)
    assert len(figures(app)) == 2


def test_the_winner_depends_on_how_good_it_must_be(make: Make, open_page: Open) -> None:
    make(hardware=TWO)
    app = open_page("devices")
    app.slider[0].set_value(85.0).run()
    assert not app.exception and not app.error
    shown = app.dataframe[0].value
    assert shown[["trial", "role"]].to_numpy().tolist() == [
        [2, "fastest on cpu_1_thread"],
        [3, "fastest on cpu_2_threads"],
    ]
    assert shown["slower by (%, cpu_1_thread)"].tolist() == pytest.approx([0, 33.3])
    assert "at most 33% slower" in words(app) and "2 of 5 students" in words(app)
    app.slider[0].set_value(89.0).run()
    assert "Trial 3 is the fastest on every device" in words(app)


def test_one_device_says_how_to_time_on_another(make: Make, open_page: Open) -> None:
    make()
    app = open_page("devices")
    assert not app.error and "on cpu_1_thread only" in words(app)
    assert app.code[0].value == "hardware: [cpu_1_thread, cpu_2_threads]" and "autokd measure" in app.code[2].value
    assert app.code[1].value.startswith("autokd retime digits") and app.code[1].value.endswith(
        "--profile cpu_2_threads"
    )


@pytest.mark.parametrize("students", [0, 1, 2])
def test_few_students(make: Make, open_page: Open, students: int) -> None:
    make(students=students, hardware=TWO)
    app = open_page("devices")
    assert not app.error and ("No measured student yet" in words(app)) == (students == 0)
