"""The studies of a ledger as a table."""

from __future__ import annotations

import pytest

from autokd.dashboard.analysis import studies_table
from autokd.storage.summaries import StudySummary


def summary(**facts: object) -> StudySummary:
    known: dict[str, object] = {"name": "a", "state": "searching", "reason": "", "live": True}
    return StudySummary(**known | facts)  # type: ignore[arg-type]


def plan(**budget: float) -> dict[str, object]:
    return {"config": {"budget": budget}}


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
