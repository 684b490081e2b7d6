"""The page that puts students side by side."""

from __future__ import annotations

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from autokd.storage.attributes import CONFIRMED_KEY
from tests.dashboard.conftest import EVIL, Make, Open


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def table(app: AppTest, name: str) -> pd.DataFrame:
    frame = next(d.value for d in app.dataframe if name in d.value.columns)
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_it_begins_with_the_ends_of_the_front_and_its_knee(make: Make, open_page: Open) -> None:
    make()
    app = open_page("compare")
    assert not app.error
    box = app.multiselect[0]
    assert box.value[0] == 0 and box.value[-1] == 3 and 2 <= len(box.value) <= 3
    assert len(app.get("plotly_chart")) == len(box.value) + 1  # a picture of each, and the curves


def test_what_differs_comes_first_and_the_best_is_marked(make: Make, open_page: Open) -> None:
    make()
    app = open_page("compare")
    app.multiselect[0].set_value([0, 1]).run()
    assert not app.exception and not app.error
    assert app.session_state["compare digits"] == [0, 1]
    params = table(app, "parameter")
    assert params[["", "parameter"]].values.tolist() == [["≠", "bits"], ["≠", "prune_1"], ["", "lr"], ["", "method"]]
    assert params["trial 1"].tolist()[0] == "8" and params["trial 0"].tolist()[0] == "32"
    found = table(app, "measurement").set_index("measurement")
    assert found.loc["accuracy", "trial 1"].endswith("★") and found.loc["latency", "trial 0"].endswith("★")
    assert not found.loc["accuracy", "trial 0"].endswith("★")


def test_a_choice_stays_when_another_page_was_looked_at(make: Make, open_page: Open) -> None:
    make()
    app = open_page("compare")
    app.session_state["compare digits"] = [1, 2]
    app.run()
    assert app.multiselect[0].value == [1, 2]


def test_trials_that_are_no_students_are_left_out(make: Make, open_page: Open) -> None:
    make()
    app = open_page("compare")
    app.session_state["compare digits"] = [1, 5, 2, 99]
    app.run()
    assert app.multiselect[0].value == [1, 2] and not app.exception
    app.multiselect[0].set_value([1, 2, 3]).run()
    assert app.multiselect[0].value == [1, 2, 3]


@pytest.mark.parametrize(("chosen", "said"), [([], "at least two"), ([1], "at least two")])
def test_too_few_are_said(make: Make, open_page: Open, chosen: list[int], said: str) -> None:
    make()
    app = open_page("compare")
    app.multiselect[0].set_value(chosen).run()
    assert said in words(app) and not app.dataframe and not app.exception


def test_a_study_of_one_student(make: Make, open_page: Open) -> None:
    make(students=1)
    app = open_page("compare")
    assert "it takes two to compare" in words(app) and not app.multiselect


def test_missing_folders_are_said(make: Make, open_page: Open) -> None:
    study = make()
    for name in ("blocks.json", "curve.json"):
        (study.home / "trials" / "00000" / name).unlink()
    app = open_page("compare")
    assert not app.error
    text = words(app)
    assert "Trial 0: its folder does not say what it is made of" in text
    assert "No learning curve is in the folder of trial 0" in text


def test_confirmed_values_have_rows_of_their_own(make: Make, open_page: Open) -> None:
    make().ledger.set_attr(CONFIRMED_KEY, {"0": {"accuracy": 0.77, "accuracy_se": 0.02}})
    app = open_page("compare")
    rows = table(app, "measurement")
    last = rows[rows["of"] == "test split"].iloc[0]
    assert last["trial 0"] == "77.0% ± 2.0%" and last["trial 3"] == "–"
    assert "was not read for trial" in words(app)


def test_text_of_a_ledger_is_text(make: Make, open_page: Open) -> None:
    make(evil=True)
    app = open_page("compare")
    assert not app.error and "<b>kd" not in words(app)
    assert EVIL in table(app, "parameter")["trial 0"].tolist()


def test_another_device_moves_the_suggestion(make: Make, open_page: Open) -> None:
    make(hardware=("cpu_1_thread", "cpu_2_threads"))
    app = open_page("compare")
    app.selectbox(key="profile digits").set_value("cpu_2_threads").run()
    assert not app.exception and not app.error
    assert set(app.multiselect[0].value) == {3, 4}  # there only two are on the front
