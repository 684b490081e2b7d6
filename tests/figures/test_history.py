"""How a front grew, and what is drawn of it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_trials import over_time as trials

from autokd.config.objectives import Objective
from autokd.figures import front_history, hypervolume_figure, newest_figure, outcomes_figure, search_seconds
from autokd.figures.history import improvements
from autokd.pareto import hypervolume, non_dominated

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
REFERENCE = [0.1, 8.0]


@pytest.mark.parametrize("goals", [GOALS, (*GOALS, Objective("minimize", "size_bytes"))], ids=["two", "three"])
def test_every_step_is_the_hypervolume_of_its_time(goals: tuple[Objective, ...]) -> None:
    frame = trials(150, goals=goals)
    reference = [*REFERENCE, 5.0][: len(goals)]
    found = front_history(frame, goals, reference)
    names, directions, scales = [o.name for o in goals], [o.direction for o in goals], [o.scale for o in goals]
    whole = frame[frame["feasible"] & frame[names].notna().all(axis=1)]
    for row in found.steps.to_dict("records"):
        then = whole.loc[whole["number"] <= row["number"], names].to_numpy()
        assert row["volume"] == pytest.approx(hypervolume(then, reference, directions, scales))
    assert found.volume == pytest.approx(hypervolume(whole[names].to_numpy(), reference, directions, scales))
    assert 5 < len(found.steps) < len(whole)


def test_what_improves_is_on_the_front_of_its_time() -> None:
    gains = np.random.default_rng(1).integers(0, 40, (3000, 2)).astype(float)  # with ties, over several chunks
    slow = [
        n for n in range(len(gains))
        if not (gains[:n] >= gains[n]).all(axis=1).any()
    ]  # fmt: skip
    assert improvements(gains).tolist() == slow
    best = gains[non_dominated(gains, ["maximize", "maximize"])]
    assert {tuple(p) for p in best} <= {tuple(p) for p in gains[improvements(gains)]}


def test_a_history_follows_the_order_in_which_trials_ended() -> None:
    frame = trials(3).assign(feasible=True, accuracy=[0.5, 0.6, 0.7], **{GOALS[1].name: 1.0})
    frame["ended"] = [1010.0, 1006.0, 1008.0]
    found = front_history(frame, GOALS, REFERENCE)
    assert found.steps["number"].tolist() == [1, 2]  # 0 ended last and is worse than both
    assert found.steps["search_s"].tolist() == [6.0, 8.0] and found.steps["cpu_s"].tolist() == [1.0, 2.0]
    assert found.search_s == 10.0 and found.cpu_s == 3.0


def test_points_outside_the_reference_add_nothing() -> None:
    frame = trials(2).assign(feasible=True, accuracy=[0.05, 0.6], **{GOALS[1].name: [1.0, 2.0]})
    assert front_history(frame, GOALS, REFERENCE).steps["volume"].tolist() == pytest.approx([0, 0.5 * math.log(4)])


@pytest.mark.parametrize("frame", [trials(0), trials(5).drop(columns="accuracy"), trials(4).assign(feasible=False)])
def test_a_study_without_a_student_has_no_history(frame: pd.DataFrame) -> None:
    found = front_history(frame, GOALS, REFERENCE)
    assert not len(found.steps) and found.volume is None
    assert not hypervolume_figure(found, GOALS).data


def test_pauses_are_no_search() -> None:
    frame = trials(6)
    frame.loc[3:, ["begun", "ended"]] += 86400.0
    assert search_seconds(frame).tolist() == pytest.approx([5, 6, 7, 7 + 5, 7 + 6, 7 + 7])
    killed = frame.assign(outcome=["measured", "measured", "interrupted", "measured", "measured", "measured"])
    killed.loc[2, "ended"] = 1003.0 + 86400.0 - 1  # told as such when the search went on
    assert search_seconds(killed).tolist() == pytest.approx([5, 6, 6, 6 + 5, 6 + 6, 6 + 7])


def test_the_hypervolume_figure_reaches_until_now() -> None:
    frame = trials(40)
    found = front_history(frame, GOALS, REFERENCE)
    figure = hypervolume_figure(found, GOALS)
    line, points = figure.data
    assert line.x[0] == 0 and line.y[0] == 0 and line.x[-1] == found.search_s and line.y[-1] == found.volume
    assert [d[0] for d in points.customdata] == found.steps["number"].tolist()
    assert figure.layout.xaxis.title.text == "seconds of search"
    assert figure.layout.yaxis.title.text == "hypervolume (accuracy × ln latency)"
    assert hypervolume_figure(found, GOALS, "cpu_s").data[0].x[-1] == 40.0
    with pytest.raises(ValueError, match="'wall'"):
        hypervolume_figure(found, GOALS, "wall")


def test_the_newest_are_ringed() -> None:
    frame = trials(40).assign(feasible=True).dropna()
    numbers = frame["number"].tolist()[:3]
    figure = newest_figure(frame, GOALS, [*numbers, 999])
    assert list(figure.data[-1].text) == [str(n) for n in numbers]
    assert newest_figure(frame, GOALS, [999]).data[-1].mode != "markers+text"


def test_outcomes_keep_their_order_and_numbers() -> None:
    bar = outcomes_figure({"measured": 1200, "stopped": 3}).data[0]
    assert list(bar.y) == ["measured", "stopped early"] and list(bar.text) == ["1,200", "3"]
