"""The list of studies: how far each is, the best it found, and that a row opens it."""

from __future__ import annotations

import json

import pytest

from autokd.dashboard.analysis import studies_table
from autokd.storage.attributes import CONFIG_KEY
from autokd.storage.summaries import StudySummary
from tests.dashboard.conftest import Make, Open, go


def summary(**facts: object) -> StudySummary:
    known: dict[str, object] = {"name": "a", "state": "searching", "reason": "", "live": True}
    return StudySummary(**known | facts)  # type: ignore[arg-type]


def plan(**budget: float) -> dict[str, object]:
    return {"config": {"budget": budget}}


def test_every_study_is_a_row(make: Make, open_page: Open) -> None:
    make("old", students=2)
    make("new", students=5)
    make("begun", students=0, state="preparing")
    app = open_page("studies")
    assert not app.error and not app.warning
    table = app.dataframe[0].value
    assert table["study"].tolist() == ["begun", "new", "old"]
    assert table["state"].tolist() == ["interrupted", "finished", "finished"]
    assert table["ended because"].tolist() == ["", "12 trials", "12 trials"]
    assert table["budget"].tolist() == ["12 trials"] * 3
    assert table["measured"].tolist() == [0, 5, 2]
    assert table["rejected"].tolist() == [0, 1, 1] and table["failed"].tolist() == [0, 1, 1]
    assert table["progress"].tolist() == [0, 50, 25]
    assert table["best accuracy (%)"].tolist()[1:] == pytest.approx([89, 83])
    assert table["best latency (ms, cpu_1_thread)"].tolist()[1:] == pytest.approx([0.01, 0.01])


def test_a_chosen_row_opens_its_front(make: Make, open_page: Open) -> None:
    make("old", students=2)
    make("new", students=2)
    app = open_page("studies")
    app.session_state["open study"] = app.session_state["clicked study"] = "old"  # what the callback of a row sets
    app.run()
    assert not app.exception and not app.error
    assert "Pareto front" in [s.value for s in app.subheader]
    assert app.title[0].value == "old" and app.selectbox(key="study").value == "old"


def test_looking_at_the_list_keeps_the_chosen_study(make: Make, open_page: Open) -> None:
    make("old", students=2)
    make("new", students=2)
    app = open_page("front")
    app.selectbox(key="study").set_value("old").run()
    go(app, "studies")
    assert app.title[0].value == "Studies"
    go(app, "trials")
    assert not app.exception and app.title[0].value == "old"


def test_a_study_of_another_version_is_said_in_words(make: Make, open_page: Open) -> None:
    make("fine", students=2)
    strange = make("strange", students=2)
    raw = json.loads(strange.ledger.attr(CONFIG_KEY))
    raw["config"]["not yet invented"] = True
    strange.ledger.set_attr(CONFIG_KEY, json.dumps(raw))
    app = open_page("studies")
    assert not app.error and app.dataframe[0].value["study"].tolist() == ["strange", "fine"]
    assert "another version" in app.warning[0].value and "strange" in app.warning[0].value
    assert "fine" not in app.warning[0].value


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"plan": plan(trials=10), "counts": {"COMPLETE": 4, "FAIL": 1, "PRUNED": 90}}, 0.5),
        ({"plan": plan(trials=10, wall_s=100.0), "counts": {"COMPLETE": 1}, "wall_s": 80.0}, 0.8),
        ({"plan": plan(trials=10), "counts": {"COMPLETE": 11}}, 1.0),
        ({"plan": plan(cpu_s=10.0), "counts": {"COMPLETE": 4}}, None),
        ({"plan": plan(cpu_s=10.0), "state": "finished", "reason": "the budget of 10 CPU seconds is spent"}, 1.0),
        ({"plan": {}}, None),
        ({"plan": {"config": {"budget": {"trials": "many"}}}}, None),
    ],
)
def test_share(facts: dict[str, object], expected: float | None) -> None:
    assert studies_table.share(summary(**facts)) == expected


def test_budget_in_words() -> None:
    assert studies_table.budget_text(plan(trials=1200, wall_s=7200.0, cpu_s=90.0)) == "1,200 trials, 2.0 h, 90 s of CPU"
    assert studies_table.budget_text({"config": None}) == ""


def test_objectives_of_different_studies_have_their_own_columns() -> None:
    found = [summary(best={"latency_ms@pi_5": 3.0}), summary(name="b", best={"size_bytes": 4000.0})]
    table = studies_table.table(found)
    assert table["best latency (ms, pi_5)"].tolist()[0] == 3.0 and table["best latency (ms, pi_5)"].isna()[1]
    assert table["best size (kB)"][1] == pytest.approx(4.0)
    assert str(table["begun"].dtype).startswith("datetime64") and table["begun"].isna().all()
