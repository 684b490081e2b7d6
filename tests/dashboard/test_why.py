"""The page Why: what its numbers say of data whose answer is known, what is drawn, and every part over a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import failures, importance
from autokd.dashboard.components.why_teacher import teacher_words
from autokd.figures import importance_figure, parallel_figure, slice_figure, teacher_figure
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord, Violation
from tests.dashboard.conftest import figures

ACCURACY = Objective("maximize", "accuracy")
LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")
LOSS = Objective("minimize", "log_loss")
PARTS = ("What matters", "One parameter", "All at once", "Teacher or none", "What was lost")
EVIL = "<b>kd</b> [x](javascript:alert(1)) :red[$y$]"
Make = Callable[..., Study]
Open = Callable[..., AppTest]


def trials(n: int = 200, seed: int = 0, teacher: float = 0.03) -> pd.DataFrame:
    """Accuracy hangs on width, a teacher and noise; latency on width and on a second stage; ``lr`` on nothing."""
    rng = np.random.default_rng(seed)
    stages, width = rng.integers(1, 3, n), rng.choice([8, 16, 24, 32], n)
    method = rng.choice(["kd", "none"], n)
    frame = pd.DataFrame({"number": np.arange(n), "state": "COMPLETE", "outcome": "measured", "feasible": True})
    frame["params_width"], frame["params_stages"], frame["params_method"] = width, stages, method
    frame["params_block_2"] = pd.Series(rng.choice(["plain", "inverted"], n)).where(stages == 2)
    frame["params_lr"], frame["params_bits"] = 10 ** rng.uniform(-1, 0, n), 8
    frame["accuracy"] = 0.7 + 0.004 * width + teacher * (method == "kd") + 0.01 * rng.normal(size=n)
    frame[LATENCY.name] = 0.01 * np.exp(0.05 * width + 0.5 * (stages == 2))
    return frame


# --------------------------------------------------------------------------------------------------- importance


def test_importance_finds_what_an_objective_hangs_on() -> None:
    found = importance.importance(trials(), ACCURACY)
    shares = found.table.set_index("parameter")["importance"]
    assert found.table["parameter"].tolist()[:2] == ["width", "method"] and found.r2 is not None and found.r2 > 0.8
    # var(.004 width) = .00128, var of the teacher = .000225, noise = .0001
    assert shares["width"] == pytest.approx(0.00128 / 0.0016, abs=0.12)
    assert shares["method"] == pytest.approx(0.000225 / 0.0016, abs=0.05)
    assert abs(shares["lr"]) < 0.02 and found.constant == ("bits",) and not found.refusal


def test_costs_are_explained_in_logarithm_and_absent_values_count() -> None:
    frame = trials()
    frame["params_stages"] = 1  # only that block_2 is there says that there is a second stage
    shares = importance.importance(frame, LATENCY).table.set_index("parameter")["importance"]
    assert shares["width"] > shares["block_2"] > 0.2 > 10 * abs(shares["lr"])


def test_importance_is_refused_in_words() -> None:
    few = importance.importance(trials(19), ACCURACY)
    assert few.trials == 19 and few.r2 is None and "19 of the at least 20" in few.refusal and not len(few.table)
    noise = trials(60).assign(accuracy=np.random.default_rng(1).normal(size=60))
    none = importance.importance(noise, ACCURACY)
    assert (
        none.r2 is not None
        and none.r2 < importance.LEAST_R2
        and "means nothing" in none.refusal
        and not len(none.table)
    )
    assert "same value" in importance.importance(trials(30).assign(accuracy=0.5), ACCURACY).refusal
    alike = trials(30)[["number", "outcome", "accuracy", "params_bits"]]
    assert "no parameter differs" in importance.importance(alike, ACCURACY).refusal
    assert importance.importance(trials(30), LOSS).trials == 0


def test_many_trials_are_sampled_and_the_answer_does_not_depend_on_the_day() -> None:
    frame = trials(4000)
    frame.loc[:99, "outcome"] = "failed"
    one, two = importance.importance(frame, ACCURACY), importance.importance(frame, ACCURACY)
    assert (one.trials, one.used) == (3900, importance.MOST)
    pd.testing.assert_frame_equal(one.table, two.table)


def test_names_and_absent_values_become_numbers() -> None:
    assert importance.encoded(pd.Series([8.0, np.nan, 32.0])).tolist() == [8, -16, 32]
    assert importance.encoded(pd.Series(["b", None, "a"], dtype=object)).tolist() == [1, -1, 0]


def test_parameters_are_ordered_by_what_they_go_along_with() -> None:
    found = importance.association(trials(), ["lr", "method", "width"], ACCURACY)
    assert found.index.tolist() == ["width", "method", "lr"] and found["width"] > 0.6 and abs(found["lr"]) < 0.1


# ------------------------------------------------------------------------------------------------------ teacher


def test_a_teacher_is_compared_at_equal_cost() -> None:
    rng, n = np.random.default_rng(0), 200
    taught = np.arange(n) < n / 2
    width = np.where(taught, rng.uniform(0, 3, n), rng.uniform(1, 4, n))  # those with a teacher are the small ones
    frame = pd.DataFrame({"number": np.arange(n), "params_method": np.where(taught, "kd", "none")})
    frame[LATENCY.name] = np.exp(width)
    frame["accuracy"] = 0.5 + 0.1 * width + 0.03 * taught + 0.005 * rng.normal(size=n)
    plain_difference = frame["accuracy"][taught].median() - frame["accuracy"][~taught].median()
    found = importance.teacher_effect(frame, ACCURACY, LATENCY)
    assert plain_difference < -0.05 < 0 < found.low < found.difference < found.high and found.told
    assert len(found.bands) == 4 and found.bands[["with", "without"]].sum().sum() == n
    assert "with a teacher are better" in teacher_words(found, ACCURACY, LATENCY)


def test_a_teacher_without_effect_cannot_be_told() -> None:
    found = importance.teacher_effect(trials(300, teacher=0.0), ACCURACY, LATENCY)
    assert found.low < 0 < found.high and not found.told
    assert teacher_words(found, ACCURACY, LATENCY).startswith("**Cannot be told from this study**: the interval")


def test_a_teacher_that_harms_is_said_to() -> None:
    frame = trials(300, teacher=-0.05)
    found = importance.teacher_effect(frame, ACCURACY, LATENCY)
    assert found.high < 0 and "with a teacher are worse" in teacher_words(found, ACCURACY, LATENCY)
    flipped = frame.assign(log_loss=-frame["accuracy"])
    lower = importance.teacher_effect(flipped, LOSS, LATENCY)
    assert lower.difference > 0 and "are worse" in teacher_words(lower, LOSS, LATENCY)


def test_few_students_on_a_side_cannot_be_told() -> None:
    frame = trials(60)
    frame["params_method"] = ["none"] * 4 + ["kd"] * 56
    found = importance.teacher_effect(frame, ACCURACY, LATENCY)
    assert not found.told and "too few" in teacher_words(found, ACCURACY, LATENCY)


# --------------------------------------------------------------------------------------------------------- lost


def test_lost_trials_are_grouped() -> None:
    frame = pd.DataFrame(
        {
            "number": range(6), "state": ["COMPLETE", "FAIL", "FAIL", "FAIL", "PRUNED", "PRUNED"],
            "outcome": ["measured", "failed", "failed", None, "infeasible", "infeasible"],
            "failed_stage": [None, "distill", "distill", None, None, None],
            "cause": [None, "diverged", "diverged", None, None, None],
            "violation": [None, None, None, None, "size_bytes <= 40000", "size_bytes <= 40000"],
            "began_training": [True, True, True, None, False, None],
            "cpu_s": [3.0, 2.0, 2.0, 1.0, 0.1, 0.1], "saved_cpu_s": 0.0,
        }
    )  # fmt: skip
    failed = failures.failures(frame).to_dict("records")
    assert failed[0] == {"stage": "distill", "cause": "diverged", "trials": 2, "first": 1, "last": 2}
    assert failed[1]["cause"] == "no record" and failed[1]["first"] == 3
    one = {"constraint": "size_bytes <= 40000", "before_training": True, "trials": 2, "first": 4, "last": 5}
    assert failures.rejections(frame).to_dict("records") == [one]
    known = frame.assign(retimed=[False] * 5 + [True])  # another study trained it
    assert [r["before_training"] for r in failures.rejections(known).to_dict("records")] == [False, True]
    step = frame.assign(began_training=True, cpu_s=[0.0] * 5 + [2.0])  # of a ladder: no cut made the first fast enough
    assert [r["before_training"] for r in failures.rejections(step).to_dict("records")] == [False, True]
    assert not len(failures.failures(frame.head(1))) and not len(failures.rejections(frame.head(1)))


def test_how_far_outside() -> None:
    records = [
        TrialRecord(Outcome.INFEASIBLE, violations=(Violation("size_bytes <= 40 kB", 40000 + d, d),))
        for d in (4e3, 8e3, 4e4)
    ]
    found = failures.outside("size_bytes <= 40 kB", [*records, None])
    assert found is not None and (found.of, found.unit, found.amount, found.most) == (3, "bytes", 8e3, 4e4)
    assert found.value == 48e3 and found.share == pytest.approx(0.2)
    assert failures.outside("macs <= 1", records) is None
    step = "latency_ms@cpu_1_thread <= 0.8 times the parent's"
    found = failures.outside(step, [TrialRecord(Outcome.INFEASIBLE, violations=(Violation(step, 0.01, 0.002),))])
    assert found is not None and (found.unit, found.share) == ("ms", None)


# ------------------------------------------------------------------------------------------------------ figures


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


# --------------------------------------------------------------------------------------------------------- page


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
