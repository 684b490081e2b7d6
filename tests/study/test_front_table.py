"""The facts of a front: made of members for the terminal and of columns for the dashboard, the same in both."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.objectives import Objective, error_of, spread_of
from autokd.config.plan import make_plan
from autokd.storage.attributes import CONFIRMED_KEY, FACTS_KEY, REFERENCE_KEY
from autokd.storage.lineage import Lineage
from autokd.storage.reader import TrialReader
from autokd.study.front_table import Column, Confirmed, columns_of, confirmed_facts, front_table, rows_of
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, Rung, TrialRecord

LATENCY = "latency_ms@cpu_1_thread"
ROOT, NARROW = Rung("root", 1.0), Rung("narrow", 1.0, parent=0)


def record(accuracy: float, latency_ms: float, rung: Rung | None = None, **params: int) -> TrialRecord:
    measured = (
        Measurement("accuracy", accuracy, "ratio", spread=0.02),
        Measurement("latency_ms", latency_ms, "ms", "cpu_1_thread", 0.004),
        Measurement("size_bytes", 4000.0, "bytes"),
    )
    notes = {"cuts": ["prune_1 0.5"]} if rung and rung.parent is not None else {}
    parent = rung.parent if rung else None
    return TrialRecord(Outcome.MEASURED, dict(params), measured, notes=notes, rung=rung, parent=parent)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A root, what was cut from it, and a student beside them."""
    made = Study.create(make_plan(from_dict(tiny())), f"sqlite:///{tmp_path}/autokd.db")
    for one in (
        record(0.8, 0.02, ROOT, bits=32, wide_1=16, wide_2=16),
        record(0.7, 0.01, NARROW, bits=32, wide_1=16, wide_2=16),
        record(0.9, 0.04, bits=32, wide_1=32, wide_2=64),
    ):
        made.ledger.add(one, made.plan)
    made.ledger.set_attr(CONFIRMED_KEY, {"1": {"accuracy": 0.68, "accuracy_se": 0.03, LATENCY: 0.011}})
    made.ledger.set_attr(REFERENCE_KEY, [0.1, 1.0])
    teacher = {"name": "family:mlp", "measurements": [vars(Measurement("accuracy", 0.95, "ratio", spread=0.01))]}
    made.ledger.set_attr(FACTS_KEY, {"teacher": teacher})
    return made


def test_the_table_of_a_front(study: Study) -> None:
    found = front_table(study, study.front())
    assert [c.name for c in found.columns] == ["accuracy", LATENCY, "size_bytes", "params"]
    assert [c.direction for c in found.columns] == ["maximize", "minimize", None, None]
    assert found.latency == Column("latency_ms", "ms", "cpu_1_thread", "minimize")
    assert [r.number for r in found.rows] == [1, 0, 2], "cheapest first"
    assert [m and m.value for m in found.rows[0].cells] == [0.7, 0.01, 4000.0, None]
    assert [r.origin for r in found.rows] == ["narrow of root 0", "root", ""] and found.descends
    assert [dict(r.left) for r in found.rows] == [{"1": 0.5}, {}, {}]
    assert found.shared == {"bits": 32}, "told once"
    assert [dict(r.params) for r in found.rows] == [{}, {}, {"wide": "32-64"}], "a rung has its root's parameters"
    assert found.roots == {0: {"wide": 16}}
    assert found.confirmed and found.rows[0].confirmed == (
        Confirmed("accuracy", 0.68, None, 0.03),
        Confirmed("latency_ms", 0.011, "cpu_1_thread"),
    )
    assert found.again is not None and found.again.median == found.again.most == pytest.approx(0.1)
    assert found.against is not None and (found.against.kind, found.against.name) == ("teacher", "family:mlp")
    assert [m and m.value for m in found.against.cells] == [0.95, None, None, None]
    assert found.hypervolume == study.hypervolume() and found.reference == {"accuracy": 0.1, LATENCY: 1.0}


def test_an_empty_front_of_a_study_without_a_teacher(tmp_path: Path) -> None:
    made = Study.create(make_plan(from_dict(tiny())), f"sqlite:///{tmp_path}/autokd.db")
    found = front_table(made, [])
    assert (found.rows, found.against, found.hypervolume, found.again) == ((), None, None, None)
    assert not found.confirmed and not found.descends and not found.reference


def test_columns_say_the_same_as_members(study: Study) -> None:
    members = front_table(study, study.front())
    reader = TrialReader(study.ledger.url, study.name)
    reader.refresh()
    frame = reader.frame.set_index("number", drop=False).loc[[1, 0, 2]]
    reader.close()
    rows = rows_of(frame, members.columns, study.ledger.attr(CONFIRMED_KEY), study.lineage())
    for row, member in zip(rows, members.rows, strict=True):
        assert (row.number, row.confirmed, row.origin, row.left) == (
            member.number, member.confirmed, member.origin, member.left,
        )  # fmt: skip
        for cell, known in zip(row.cells, member.cells, strict=True):
            assert (cell is None) == (known is None)
            if cell is not None and known is not None:
                assert (cell.name, cell.value, cell.unit) == (known.name, known.value, known.unit)
                error, other = (error_of(m.metric, m.value, m.spread) for m in (cell, known))
                assert error == (None if other is None else pytest.approx(other))
    assert rows[0].params == {"bits": 32, "wide_1": 16, "wide_2": 16}, "all of them"


def test_an_objective_is_not_shown_twice() -> None:
    found = columns_of([Objective("maximize", "accuracy"), Objective("minimize", "size_bytes")])
    assert [(c.name, c.direction) for c in found] == [
        ("accuracy", "maximize"), ("size_bytes", "minimize"), ("params", None),
    ]  # fmt: skip


def test_nothing_confirmed_is_no_fact() -> None:
    assert list(confirmed_facts(None)) == [] and list(confirmed_facts({})) == []
    empty = pd.DataFrame({"number": pd.Series([], dtype=int)})
    assert rows_of(empty, columns_of([Objective("maximize", "accuracy")]), {}, Lineage(())) == []


@pytest.mark.parametrize(("metric", "spread"), [("latency_ms", 0.02 / 4), ("log_loss", 0.02), ("latency_ms", None)])
def test_a_known_error_is_a_metrics_spread(metric: str, spread: float | None) -> None:
    error = error_of(metric, 4.0, spread)
    assert error == (None if spread is None else pytest.approx(0.02))
    assert spread_of(metric, 4.0, error) == (None if spread is None else pytest.approx(spread))
