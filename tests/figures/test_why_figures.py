"""What is drawn of parameters, objectives and teachers."""

from __future__ import annotations

import pandas as pd
import pytest
from made_trials import explained as trials

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import importance
from autokd.figures import importance_figure, parallel_figure, slice_figure, teacher_figure

ACCURACY = Objective("maximize", "accuracy")
LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")


def test_bars_are_drawn_in_order_and_names_are_no_html() -> None:
    table = pd.DataFrame({"parameter": ["<b>a</b>", "b"], "importance": [0.5, 0.1], "error": [0.1, 0.02]})
    bar = importance_figure(table, "share").data[0]
    assert list(bar.y) == ["&lt;b&gt;a&lt;/b&gt;", "b"] and bar.text[1] == "<b>b</b><br>10.0 ± 2.0 % of the variation"


def test_a_slice_has_boxes_an_absent_value_and_marked_members() -> None:
    frame = trials(100)
    figure = slice_figure(frame, [3, 5], "block_2", ACCURACY)
    box, others, members = figure.data
    absent = frame["params_block_2"].isna()
    assert [t.split("<br>")[0] for t in figure.layout.xaxis.ticktext] == ["inverted", "plain", "absent"]
    assert figure.layout.xaxis.ticktext[2].endswith(f"n = {absent.sum()}")
    assert box.median[2] == pytest.approx(frame.loc[absent, "accuracy"].median())
    assert box.q1[2] == pytest.approx(frame.loc[absent, "accuracy"].quantile(0.25))
    assert members.name == "on the front" and [c[0] for c in members.customdata] == [3, 5] and len(others.x) == 98


def test_a_continuous_parameter_is_drawn_on_its_own_scale() -> None:
    figure = slice_figure(trials(100), [], "lr", LATENCY, log=True)
    assert figure.layout.xaxis.type == "log" and figure.layout.yaxis.type == "log"
    assert {t.name for t in figure.data} == {"student", "median of students in order"}


def test_parallel_lines_without_webgl() -> None:
    frame = trials(1000)
    figure = parallel_figure(frame, [10, 20], ["width", "block_2", "lr"], [ACCURACY, LATENCY])
    assert {t.type for t in figure.data} == {"scatter"}
    others = figure.data[0]
    assert others.y.count(None) == 300 and len(others.y) == 300 * 6
    lines = [t for t in figure.data if t.name == "on the front"]
    assert [t.customdata[0][0] for t in lines] == [10, 20] and lines[0].line.color != lines[1].line.color
    texts = [list(t.text) for t in figure.data if t.mode == "markers+text"]
    assert texts[0] == [f"<b>{w}</b>" for w in (8, 16, 24, 32)] and "<b>absent</b>" in texts[1]
    slow, fast = frame[LATENCY.name].idxmax(), frame[LATENCY.name].idxmin()
    best, worst = (parallel_figure(frame, [k], [], [LATENCY]).data[1].y[0] for k in (fast, slow))
    assert (best, worst) == (1, 0)  # better is up


def test_parallel_lines_of_one_student() -> None:
    figure = parallel_figure(trials(1), [0], ["width", "lr"], [ACCURACY, LATENCY])
    assert all(0 <= v <= 1 for t in figure.data if t.name == "on the front" for v in t.y)


def test_sides_are_drawn_next_to_each_other() -> None:
    found = importance.teacher_effect(trials(100), ACCURACY, LATENCY)
    figure = teacher_figure(found.rows, ACCURACY, ["a", "b", "c", "d"])
    boxes, points = [t for t in figure.data if t.type == "box"], [t for t in figure.data if t.type == "scatter"]
    assert list(boxes[0].x) == pytest.approx([-0.2, 0.8, 1.8, 2.8]) and [p.name for p in points] == [
        "with a teacher",
        "without",
    ]
    assert sum(len(p.x) for p in points) == 100
