"""The table of trials: headings with units, filters, CSV, and what became of a trial."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.dashboard.conftest import Make, Open, go


def words(app) -> str:
    found = [e.value for kind in (app.markdown, app.caption, app.info, app.subheader) for e in kind]
    return " ".join(map(str, found)).replace("\\", "")


def shown(app) -> pd.DataFrame:
    return app.dataframe[0].value


def test_all_trials_are_rows_named_for_people(make: Make, open_page: Open) -> None:
    make()
    app = open_page("trials")
    assert not app.error
    table = shown(app)
    assert table["trial"].tolist() == [6, 5, 4, 3, 2, 1, 0]  # newest first
    assert table["accuracy (%)"].tolist()[-1] == pytest.approx(80)
    assert table["latency (ms, cpu_1_thread)"].tolist()[-1] == pytest.approx(0.01)
    assert "size (kB)" in table and "bits" in table and "prune_1" in table
    assert not [c for c in table.columns if c.startswith(("params_", "stage_")) or c in ("feasible", "state")]
    assert "7 trials" in words(app)


def test_filters_narrow_the_table_and_say_so(make: Make, open_page: Open) -> None:
    make()
    app = open_page("trials")
    app.multiselect(key="filter outcome digits").set_value(["measured"]).run()
    assert shown(app)["trial"].tolist() == [4, 3, 2, 1, 0] and "5 of 7 trials" in words(app)
    app.text_input(key="words digits").set_value("bits=8").run()
    assert shown(app)["trial"].tolist() == [3, 1]
    app.text_input(key="words digits").set_value("nothing>3").run()
    assert "nothing" in app.warning[0].value and not app.exception
    app.text_input(key="words digits").set_value("bits=77").run()
    assert "No trial meets" in words(app) and not app.exception


def test_a_range_is_in_the_unit_that_is_shown(make: Make, open_page: Open) -> None:
    make()
    app = open_page("trials")
    slider = next(s for s in app.slider if "accuracy" in s.label)
    slider.set_value((82.0, slider.max)).run()
    assert sorted(shown(app)["trial"].tolist()) == [1, 2, 3]
    slider = next(s for s in app.slider if "accuracy" in s.label)
    slider.set_value((slider.min, slider.max)).run()
    assert len(shown(app)) == 7  # both ends: also those without a value


def test_a_range_of_a_cost_is_on_its_scale(make: Make, open_page: Open) -> None:
    make()
    app = open_page("trials")
    slider = app.select_slider[0]
    assert "latency" in slider.label
    slider.set_range(slider.options[0], next(o for o in slider.options if float(o) >= 0.025)).run()
    assert not app.exception and sorted(shown(app)["trial"].tolist()) == [0, 1]


def test_filters_survive_a_look_at_another_page(make: Make, open_page: Open) -> None:
    make()
    app = go(open_page("front"), "trials")
    app.multiselect(key="filter outcome digits").set_value(["failed"]).run()
    assert app.metric == [] and go(app, "watch").metric
    go(app, "trials")
    assert not app.exception and shown(app)["trial"].tolist() == [6]


def test_the_order_and_the_columns_can_be_chosen(make: Make, open_page: Open) -> None:
    make()
    app = open_page("trials")
    app.selectbox(key="order digits").set_value("best accuracy (%)").run()
    assert shown(app)["trial"].tolist()[:3] == [3, 2, 1]
    app.multiselect(key="columns digits").set_value(["trial", "CPU time (s)"]).run()
    assert shown(app).columns.tolist() == ["trial", "CPU time (s)"]


def choose(app, trial: int):
    app.session_state["trial digits"] = trial  # what the callback of a row sets
    return app.run()


def test_a_failed_trial_shows_its_trace(make: Make, open_page: Open) -> None:
    study = make()
    folder = study.home / "trials" / "00006"
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("Traceback\n" + "x" * 30_000 + "\nFloatingPointError: <b>nan</b>\n")
    app = choose(open_page("trials"), 6)
    assert not app.exception and "Failed in distill: diverged" in words(app)
    said, trace = (c.value for c in app.code)
    assert said == "the loss was not finite by step 20"
    assert trace.endswith("FloatingPointError: <b>nan</b>") and len(trace) == 20_000 - 1  # and a line's end


def test_a_failed_trial_without_a_trace(make: Make, open_page: Open) -> None:
    make()
    app = choose(open_page("trials"), 6)
    assert "No trace was left" in words(app) and not app.error


def test_what_became_of_the_others(make: Make, open_page: Open) -> None:
    make()
    app = choose(open_page("trials"), 5)
    assert "does not meet the constraints" in words(app) and "must hold, but got 2" in words(app)
    assert "Measured: accuracy 80.0% ± 1.0%" in words(choose(app, 0)) and not app.exception


def test_before_the_first_trial(make: Make, open_page: Open) -> None:
    make(students=0, state="preparing")
    app = open_page("trials")
    assert "No trial has ended yet" in words(app) and not app.error


def test_many_trials_are_cut(make: Make, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from autokd.dashboard.views import trials

    monkeypatch.setattr(trials, "MOST_ROWS", 3)
    make()
    app = open_page("trials")
    assert len(shown(app)) == 3 and "the first 3 are shown, the CSV holds all" in words(app)
