"""Students side by side, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import comparison, students
from autokd.storage.results import Member
from autokd.trial import Measurement, Outcome, TrialRecord

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))


def member(
    number: int, accuracy: float, ms: float, confirmed: Mapping[str, float] | None = None, **params: object
) -> Member:
    measured = (
        Measurement("accuracy", accuracy, "ratio", None, 0.004),
        Measurement("latency_ms", ms, "ms", "cpu_1_thread", 0.01),
        Measurement("size_bytes", 1000.0, "bytes"),
    )
    record = TrialRecord(Outcome.MEASURED, params, measured)  # type: ignore[arg-type]
    return Member(number, record.params, {}, confirmed, None, record)


def test_the_best_of_a_row_and_what_cannot_be_told_from_it() -> None:
    members = [member(1, 0.900, 0.02), member(2, 0.905, 0.0201), member(3, 0.85, 0.05)]
    rows = comparison.measurements(members, GOALS).set_index("measurement")
    assert [text[-1] for text in rows.loc["accuracy"][1:]] == ["≈", "★", "%"]
    assert [text[-1] for text in rows.loc["latency"][1:]] == ["★", "≈", "%"]
    assert [text[-1] for text in rows.loc["size"][1:]] == ["B", "B", "B"]  # all the same: nobody is best


def test_test_values_come_last() -> None:
    members = [member(1, 0.9, 0.02, {"accuracy": 0.88}), member(2, 0.8, 0.01, {"accuracy": 0.81})]
    rows = comparison.measurements(members, GOALS)
    assert rows["of"].tolist() == ["validation split", "cpu_1_thread", "the file", "test split"]
    assert rows["trial 1"].tolist()[-1] == "88.0% ★"


def test_a_parameter_that_one_does_not_have_differs() -> None:
    rows = comparison.params([member(1, 0.9, 0.02, same=1, alpha=0.5), member(2, 0.8, 0.01, same=1)])
    assert rows.to_dict("list") == {
        "": ["≠", ""], "parameter": ["alpha", "same"], "trial 1": ["0.5", "1"], "trial 2": ["–", "1"],
    }  # fmt: skip


def test_a_front_of_one_is_compared_with_the_latest_other() -> None:
    rows = pd.DataFrame({"number": [0, 1, 2], "accuracy": [0.9, 0.5, 0.4], "latency_ms@cpu_1_thread": [1.0, 2.0, 3.0]})
    assert students.suggested(rows.iloc[:1], rows, GOALS) == [0, 2]
    assert students.suggested(rows.iloc[:0], rows, GOALS) == []
