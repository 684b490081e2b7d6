"""What objectives hang on and what a teacher gives, on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_trials import explained as trials

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import importance
from autokd.dashboard.components.why_teacher import teacher_words

ACCURACY = Objective("maximize", "accuracy")
LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")
LOSS = Objective("minimize", "log_loss")


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
