"""The list of studies: how far each is, the best it found, and that a row opens it."""

from __future__ import annotations

import json

import pytest

from autokd.storage.attributes import CONFIG_KEY
from tests.dashboard.conftest import Make, Open, go


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
