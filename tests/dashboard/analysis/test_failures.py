"""What was lost, in groups, and how far outside the limits."""

from __future__ import annotations

import pandas as pd
import pytest

from autokd.dashboard.analysis import failures
from autokd.trial import Outcome, TrialRecord, Violation


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
