"""What counts towards a budget, and what ends a search."""

from __future__ import annotations

import numpy as np
import pytest

from autokd.config.objectives import Objective
from autokd.config.study_file import BudgetConfig
from autokd.strategies.budget import REJECTIONS_PER_TRIAL, USUAL_TRIALS, Budget
from autokd.strategies.expected_gain import GainWatch
from autokd.testing.simulation import FakeClock
from autokd.trial import Outcome, StageRecord, TrialRecord, Violation

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
TRAINED = TrialRecord(
    Outcome.MEASURED, {"width": 8}, stages=(StageRecord("distill", "k", 3.0, 2.0),), began_training=True
)


def budget(wall_before: float = 0.0, **allowed: object) -> tuple[Budget, FakeClock]:
    clock = FakeClock()
    gain = GainWatch(GOALS, [0.1, 8.0])
    return Budget(BudgetConfig.model_validate(allowed), gain, wall_before, clock), clock


@pytest.mark.parametrize(
    ("record", "counted", "rejected", "cpu_s"),
    [
        (TRAINED, 1, 0, 2.0),
        (TrialRecord(Outcome.STOPPED, began_training=True), 1, 0, 0.0),
        (TrialRecord(Outcome.FAILED, began_training=True), 1, 0, 0.0),
        (TrialRecord(Outcome.FAILED, failed_stage="build", cause="error"), 0, 1, 0.0),
        (TrialRecord(Outcome.INFEASIBLE, violations=(Violation("size_bytes <= 1", 2, 1),)), 0, 1, 0.0),
        (TrialRecord(Outcome.DUPLICATE), 0, 1, 0.0),
        (TrialRecord(Outcome.INTERRUPTED, began_training=True), 0, 0, 0.0),
    ],
    ids=lambda value: value.outcome.value if isinstance(value, TrialRecord) else None,
)
def test_what_a_trial_counts(record: TrialRecord, counted: int, rejected: int, cpu_s: float) -> None:
    mine, _ = budget()
    mine.count(record)
    assert (mine.counted, mine.rejected, mine.cpu_s) == (counted, rejected, cpu_s)


def test_what_is_spent_ends_a_search() -> None:
    mine, _ = budget(trials=2)
    mine.count(TRAINED)
    assert mine.finished() is None and not mine.reserved(0) and mine.reserved(1)
    mine.count(TRAINED)
    assert mine.finished() == "the budget of 2 trials is spent"
    mine, _ = budget(trials=9, cpu_s=2.0)
    mine.count(TRAINED)
    assert mine.finished() == "the budget of 2 CPU seconds is spent"


def test_the_clock_goes_on_where_it_stood() -> None:
    mine, clock = budget(wall_before=50.0, wall_s=60.0)
    clock.now = 9.0
    assert not mine.overdue and mine.finished() is None and mine.search_s == 9.0
    clock.now = 10.0
    assert mine.overdue and mine.wall_s == 60.0
    assert mine.finished() == "the budget of 60 seconds is spent"


def test_the_first_reason_stays() -> None:
    mine, _ = budget(trials=1)
    mine.stop("a person said so")
    mine.count(TRAINED)
    assert mine.finished() == "a person said so"


@pytest.mark.parametrize(
    ("trials", "expected"), [(1, REJECTIONS_PER_TRIAL), (None, REJECTIONS_PER_TRIAL * USUAL_TRIALS)]
)
def test_a_search_that_finds_nothing_says_why(trials: int | None, expected: int) -> None:
    mine, _ = budget(trials=trials)
    for k in range(expected):
        assert mine.finished() is None
        law = "size_bytes <= 1" if k % 3 else "latency_ms <= 1"
        mine.count(TrialRecord(Outcome.INFEASIBLE, violations=(Violation(law, 2, 1),)))
    times = sum(bool(k % 3) for k in range(expected))
    assert mine.finished() == (
        f"{expected} candidates were rejected; the commonest reason, {times} times: size_bytes <= 1"
    )


def test_only_like_failures_in_a_row_end_a_study() -> None:
    mine, _ = budget(failures_in_a_row=2)
    one = TrialRecord(Outcome.FAILED, failed_stage="distill", cause="nan", detail="loss", folder="t/1")
    other = TrialRecord(Outcome.FAILED, failed_stage="export", cause="error")
    told = [mine.failed_again(r) for r in (one, other, one, TRAINED, one, TrialRecord(Outcome.INFEASIBLE))]
    assert told == [None] * 6
    error = mine.failed_again(one)
    assert error is not None and "2 times in a row" in str(error) and "distill: nan (loss)" in str(error)


def test_a_gain_that_is_too_small_ends_a_search() -> None:
    mine, clock = budget(until="gain < 0.5%")
    times = np.arange(1.0, 201.0) * 30
    mine.gain.extend(times, np.tile([0.9, 0.01], (200, 1)))
    clock.now = float(times[-1])
    reason = mine.finished()
    assert reason is not None and "gain" in reason
