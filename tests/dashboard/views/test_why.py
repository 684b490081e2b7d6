"""The page Why: every part over a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from made_trials import explained as trials
from streamlit.testing.v1 import AppTest

from autokd.config.objectives import Objective
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord
from tests.dashboard.conftest import figures

LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")
PARTS = ("What matters", "One parameter", "All at once", "Teacher or none", "What was lost")
EVIL = "<b>kd</b> [x](javascript:alert(1)) :red[$y$]"
Make = Callable[..., Study]
Open = Callable[..., AppTest]


def fill(study: Study, frame: pd.DataFrame) -> None:
    """Measured trials of the frame, without files."""
    for row in frame.to_dict("records"):
        params: dict[str, Any] = {
            k.removeprefix("params_"): v for k, v in row.items() if k.startswith("params_") and v == v and v is not None
        }
        measured = (
            Measurement("accuracy", row["accuracy"], "ratio", spread=0.01),
            Measurement("latency_ms", row[LATENCY.name], "ms", "cpu_1_thread", 0.01),
        )
        record = TrialRecord(Outcome.MEASURED, params, measured, began_training=True)
        study.ledger.finish(study.optuna_study.ask(), record, [row["accuracy"], row[LATENCY.name]])


def part(open_page: Open, name: str, study: str = "digits") -> AppTest:
    app = open_page("why", study)
    app.session_state[f"why {study}"] = name
    app.run()
    assert not app.exception and not app.error
    return app


def words(app: AppTest) -> str:
    """All text of the page, unescaped."""
    return "\n".join(str(e.value) for kind in (app.markdown, app.info, app.caption) for e in kind).replace("\\", "")


def test_every_part_of_a_whole_study(make: Make, open_page: Open) -> None:
    fill(make(students=0), trials(80))
    app = part(open_page, "What matters")
    assert (
        "Most of it hangs on **width**" in words(app) and "80 measured trials" in words(app) and len(figures(app)) == 1
    )
    app = part(open_page, "One parameter")
    assert len(figures(app)) == 1 and "80 students" in words(app)
    app.selectbox(key="why parameter digits").set_value("block_2").run()
    assert not app.exception and "do not have block_2" in words(app)
    app = part(open_page, "All at once")
    assert set(app.multiselect[0].value) == {"width", "stages", "method", "block_2", "lr"}
    app.multiselect[0].set_value(["lr"]).run()
    assert not app.exception and app.multiselect[0].value == ["lr"]
    app = part(open_page, "Teacher or none")
    assert "with a teacher are better" in words(app) and len(app.dataframe[0].value) == 4
    app = part(open_page, "What was lost")
    assert "No trial failed" in words(app) and "No trial was outside a constraint" in words(app)


def test_a_failure_s_traceback_is_one_click_away(make: Make, open_page: Open) -> None:
    study = make()
    (study.home / "trials" / "00006").mkdir(parents=True, exist_ok=True)
    (study.home / "trials" / "00006" / "error.txt").write_text("Traceback: the loss was nan", encoding="utf-8")
    app = part(open_page, "What was lost")
    assert "5 measured, 1 infeasible, 1 failed" in words(app)
    assert app.expander[0].label.replace("\\", "") == "distill: diverged (trial 6)"
    assert app.expander[0].code[0].value == "Traceback: the loss was nan"
    assert "the loss was not finite by step 20" in app.expander[0].markdown[0].value.replace("\\", "")
    row = app.dataframe[1].value.iloc[0]
    assert row["constraint"] == "latency_ms@cpu_1_thread <= 1" and row["too far by"] == "1.00 ms (100%)"


def test_a_failure_without_a_traceback(make: Make, open_page: Open) -> None:
    make()
    assert "There is no traceback" in words(part(open_page, "What was lost"))


@pytest.mark.parametrize("name", PARTS)
def test_a_small_study_says_what_it_cannot_tell(make: Make, open_page: Open, name: str) -> None:
    make(students=5, evil=True)
    text = words(part(open_page, name))
    if name == "What matters":
        assert "cannot be told from this study: 5 of the at least 20" in text
    if name == "Teacher or none":
        assert f"Every student of this study had a teacher (method {EVIL})" in text


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("state", ["preparing", "interrupted"])
def test_a_study_without_trials(make: Make, open_page: Open, name: str, state: str) -> None:
    make(students=0, state=state)
    assert "No trial has finished yet" in words(part(open_page, name))
