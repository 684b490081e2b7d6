"""Where a search stands, from the columns of its trials."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from made_trials import over_time as trials

from autokd.config.study_file import BudgetConfig
from autokd.dashboard.analysis import progress
from autokd.dashboard.analysis.progress import Spent
from autokd.files import write_json
from autokd.storage.reader import Running


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
    everything = progress.budget(BudgetConfig(cpu_s=300.0), frame, 34.0, 290.0)
    assert [(s.unit, s.done, s.of) for s in everything] == [("CPU", 290.0, 300.0)], (
        "what trials are not charged for counts"
    )


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
