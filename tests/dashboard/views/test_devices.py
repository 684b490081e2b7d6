"""The page of several devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from autokd.study.study import Study
from tests.dashboard.conftest import figures

Make = Callable[..., Study]
Open = Callable[..., AppTest]
TWO = ("cpu_1_thread", "cpu_2_threads")


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
