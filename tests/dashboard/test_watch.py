"""A running search: its budget, what runs, how its front grew, and what it spared."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.config.study_file import BudgetConfig
from autokd.dashboard.analysis import progress
from autokd.dashboard.analysis.progress import Spent
from autokd.figures import front_history, hypervolume_figure, newest_figure, outcomes_figure, search_seconds
from autokd.figures.history import improvements
from autokd.files import write_json
from autokd.pareto import hypervolume, non_dominated
from autokd.storage.attributes import CONFIG_KEY, STATE_KEY
from autokd.storage.reader import Running
from autokd.trial import Outcome, StageRecord, TrialRecord
from tests.dashboard.conftest import Make, Open, figures

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
REFERENCE = [0.1, 8.0]


def words(app) -> str:
    found = [e.value for kind in (app.markdown, app.caption, app.info, app.subheader) for e in kind]
    return " ".join(map(str, found)).replace("\\", "")


def trials(n: int, seed: int = 0, goals: tuple[Objective, ...] = GOALS) -> pd.DataFrame:
    """``n`` trials of 5 s, one begun each second, 1 CPU second each; some infeasible, some not measured."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"number": np.arange(n), "begun": 1000.0 + np.arange(n), "ended": 1005.0 + np.arange(n)})
    frame = frame.assign(cpu_s=1.0, outcome="measured", began_training=True, feasible=rng.random(n) < 0.8)
    for k, goal in enumerate(goals):
        frame[goal.name] = rng.random(n) if k == 0 else np.exp(rng.normal(size=n))
    frame.loc[frame["number"] % 7 == 3, goals[-1].name] = np.nan
    return frame


# ------------------------------------------------------------------------------------------------------------ the page


def test_a_running_study(make: Make, open_page: Open) -> None:
    make(students=5, state="searching", live=True)
    app = open_page("watch")
    assert not app.error
    shown = {m.label: m.value.replace("\\", "") for m in app.metric}
    assert shown["State"] == "searching" and shown["Trials of 12"] == "6" and shown["Front of 5"] == "4"
    running = next(d.value for d in app.dataframe if "stage" in d.value and "running for" in d.value)
    assert running["trial"].tolist() == [7] and running["stage"].tolist() == ["distill"]
    assert running["done"].tolist() == [25]
    assert "Trial 3 moved the front last" in words(app) and "3 trials ended since" in words(app)
    assert not any("autokd resume" in c.value for c in app.code)


def test_the_hypervolume_is_the_study_s(make: Make, open_page: Open) -> None:
    study = make()
    shown = {m.label: m.value.replace("\\", "") for m in open_page("watch").metric}
    assert float(shown["Hypervolume"]) == pytest.approx(study.hypervolume(), rel=1e-3)


def test_what_more_search_would_bring(make: Make, open_page: Open) -> None:
    study = make(students=5)
    assert "Next 10 minutes: known after 10 measured students (5 so far)." in words(open_page("watch"))
    study.ledger.set_attr(CONFIG_KEY, study.plan.with_overrides(["budget.until=gain < 0.5%"]).to_json())
    study.ledger.set_attr(STATE_KEY, 'finished: the budget "gain < 0.5%" is reached')
    app = open_page("watch")
    assert any("--set budget.until=null" in c.value for c in app.code)


def test_with_enough_students_it_is_a_number(make: Make, open_page: Open) -> None:
    study = make(students=14)
    text = words(open_page("watch"))
    assert f"N{str(study.status()['expected_gain']['text'])[1:]}." in text
    assert re.search(r"Next 10 minutes: about \+[\d.]+ % hypervolume \([\d.]+-[\d.]+ %\)\.", text)


def test_what_was_not_spent(make: Make, open_page: Open) -> None:
    study = make(students=4)
    stopped = TrialRecord(Outcome.STOPPED, began_training=True, stages=(StageRecord("distill", "x", 1.0, 0.6),))
    study.ledger.finish(study.optuna_study.ask(), stopped, None)
    shown = {m.label: m.value.replace("\\", "") for m in open_page("watch").metric}
    assert shown["By early rejection"] == "about 1.6 s of CPU"  # one trial, and 1.6 CPU s for a trained one
    assert shown["By the store of stages"] == "3.0 s of CPU"  # two trainings of 1.5
    assert shown["By early stopping"] == "about 1.0 s of CPU"


def test_a_stopped_trial_that_was_continued_spared_nothing_and_counts_once() -> None:
    row = {
        "began_training": True,
        "parent": None,
        "rung": None,
        "retried": False,
        "stage_distill_s": 1.0,
        "saved_cpu_s": 0.0,
    }
    rows = [(0, "measured", 2.0, None), (1, "stopped", 0.5, None), (2, "stopped", 0.5, None), (3, "measured", 1.5, 1)]
    names = ("number", "outcome", "cpu_s", "continues")
    frame = pd.DataFrame([dict(zip(names, r, strict=True)) | row for r in rows], dtype=object)
    spared = progress.saved(frame)
    assert (spared.stopped, spared.stopped_cpu_s, spared.train_cpu_s) == (1, 1.5, 2.0)
    assert progress.counted(frame).tolist() == [True, True, True, False]


def test_failures_are_named(make: Make, open_page: Open) -> None:
    make()
    app = open_page("watch")
    table = app.dataframe[-1].value
    assert table["trial"].tolist() == [6] and table["stage"].tolist() == ["distill"]
    assert table["cause"].tolist() == ["diverged"] and "not finite by step 20" in table["what it said"].iloc[0]


@pytest.mark.parametrize(
    ("state", "command"),
    [("interrupted", "autokd resume 'my study'"), ("finished: 12 trials", "--set budget.trials=+3")],
)
def test_how_to_go_on(make: Make, open_page: Open, state: str, command: str) -> None:
    study = make("my study", state=state)
    study.ledger.set_attr(CONFIG_KEY, study.plan.with_overrides(["budget.trials=6"]).to_json())  # all are spent
    app = open_page("watch")
    assert not app.error and any(command in c.value for c in app.code)


@pytest.mark.parametrize(("state", "live"), [("preparing", True), ("preparing", False)])
def test_before_the_first_trial(make: Make, open_page: Open, state: str, live: bool) -> None:
    make(students=0, state=state, live=live)
    app = open_page("watch")
    assert not app.error and {m.label: m.value for m in app.metric}["Hypervolume"] == "–"


def test_the_clock_can_be_cpu_time(make: Make, open_page: Open) -> None:
    make()
    app = open_page("watch")
    app.button_group(key="clock digits").set_value("cpu_s").run()
    assert not app.exception and not app.error
    assert any('"CPU seconds in trials"' in figure for figure in figures(app))


# ---------------------------------------------------------------------------------------------------------- progress


def test_what_counts() -> None:
    frame = pd.DataFrame(
        {
            "outcome": ["measured", "failed", "failed", "infeasible", "measured", "failed", "interrupted", None],
            "began_training": [True, True, False, False, True, True, True, None],
            "parent": [None, None, None, None, 3, None, None, None],
            "retried": [False, False, False, False, False, True, False, None],
        }
    )
    assert progress.counted(frame).tolist() == [True, True] + [False] * 6
    assert progress.outcomes(frame) == {
        "measured": 2, "infeasible": 1, "failed": 3, "interrupted": 1, "unknown": 1,
    }  # fmt: skip
    assert progress.counted(frame[["outcome"]]).tolist() == [False] * 8


def test_a_budget_says_what_is_spent() -> None:
    frame = trials(30)
    spent = progress.budget(BudgetConfig(trials=60, wall_s=100.0, cpu_s=300.0), frame, 34.0)
    assert [s.share for s in spent] == pytest.approx([0.5, 0.34, 0.1])
    assert [str(s) for s in spent] == ["30 of 60 trials", "34 s of 100 s", "30 s of 5 min CPU time"]


def test_a_larger_budget_is_offered_for_what_is_spent() -> None:
    spent = [Spent("trials", 30, 30), Spent("clock", 10, 100), Spent("CPU", 51, 50)]
    assert progress.more_budget(spent) == "--set budget.trials=+15 --set budget.cpu_s=+25"
    assert progress.more_budget(spent[1:2]) == ""


def test_the_time_left_is_that_of_the_nearest_limit() -> None:
    frame = trials(30)  # one trial and one CPU second a second
    assert progress.seconds_left([Spent("trials", 30, 60)], frame) == pytest.approx(30)
    assert progress.seconds_left([Spent("trials", 30, 60), Spent("CPU", 30, 50)], frame) == pytest.approx(20)
    assert progress.seconds_left([Spent("trials", 30, 60), Spent("clock", 90, 100)], frame) == pytest.approx(10)
    assert progress.seconds_left([Spent("trials", 2, 60)], frame.iloc[:2]) is None


def test_only_the_recent_pace_counts() -> None:
    frame = trials(60)
    slow = frame["number"] < 30
    frame.loc[slow, ["begun", "ended"]] -= 29.0 * (30 - frame.loc[slow, ["number"]].to_numpy())
    assert progress.seconds_left([Spent("trials", 60, 80)], frame) == pytest.approx(20)


def test_time_goes_on_between_trials_and_not_in_a_pause() -> None:
    frame = trials(10)  # the last one ended at 1014
    assert progress.wall_seconds(14.0, frame, [Running(10, 1010.0)], True, 1020.0) == pytest.approx(20)
    assert progress.wall_seconds(14.0, frame, [Running(10, 9000.0)], True, 9003.0) == pytest.approx(17)
    assert progress.wall_seconds(14.0, frame, [Running(10, 1010.0)], False, 9003.0) == 14.0
    assert progress.wall_seconds(0.0, frame.iloc[:0], [Running(0, 1000.0)], True, 1004.0) == pytest.approx(4)


def test_running_trials_without_a_word_are_starting(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "progress.json").write_text("{half")
    (tmp_path / "2").mkdir()
    write_json(tmp_path / "2" / "progress.json", {"stage": "distill", "samples": 5, "of": 4})
    running = [Running(1, 90.0), Running(2, None), Running(3, 40.0)]
    table = progress.running_table(running, lambda n: tmp_path / str(n), 100.0)
    assert table["stage"].tolist() == ["starting", "distill", "starting"]
    assert table["done"][1] == 1.0 and math.isnan(table["done"][0])
    assert table["running for"].tolist() == ["10 s", "", "60 s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "0.3 s"), (45, "45 s"), (600, "10 min"), (9000, "2.5 h"), (216000, "2.5 days")]
)
def test_a_time_for_people(seconds: float, text: str) -> None:
    assert progress.span(seconds) == text


# ------------------------------------------------------------------------------------------------------------ history


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
