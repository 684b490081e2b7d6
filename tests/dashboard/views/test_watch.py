"""A running search: its budget, what runs, how its front grew, and what it spared."""

from __future__ import annotations

import re

import pytest

from autokd.storage.attributes import CONFIG_KEY, STATE_KEY
from autokd.trial import Outcome, StageRecord, TrialRecord
from tests.dashboard.conftest import Make, Open, figures


def words(app) -> str:
    found = [e.value for kind in (app.markdown, app.caption, app.info, app.subheader) for e in kind]
    return " ".join(map(str, found)).replace("\\", "")


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
