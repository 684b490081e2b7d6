"""Who teaches where the study has no teacher: nobody at first, then the best student, once that pays."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.strategies.tutors import BETTER, LABELS_FIRST, Tutors
from autokd.trial import Candidate, Measurement, Outcome, Rung, StageRecord, TrialRecord


def tutors(**changes: Any) -> Tutors:
    return Tutors(make_plan(from_dict(tiny(teacher="auto", distillation={"method": "kd"}, **changes))))


def student(accuracy: float, kind: str = "root", parent: int | None = None, cpu_s: float = 3.0) -> TrialRecord:
    rung = Rung(kind, 1.0, parent) if parent is not None else Rung(kind, 1.0)
    stages = (StageRecord("distill", f"key of {accuracy}", cpu_s, cpu_s),)
    return TrialRecord(
        Outcome.MEASURED, {"width_1": 8}, (Measurement("accuracy", accuracy, "ratio"),), stages=stages, rung=rung
    )


def rung(kind: str, parent: int) -> Candidate:
    return Candidate({"width_1": 8}, Rung(kind, 0.4, parent))


def test_nobody_teaches_before_a_student_is_measured() -> None:
    known = tutors()
    assert known.of(rung("narrow", 0), 0.5, math.inf) is None
    known.tell(0, TrialRecord(Outcome.FAILED, {"width_1": 8}, rung=Rung("root", 1.0)))
    assert known.of(rung("narrow", 0), 0.5, math.inf) is None


def test_the_best_teaches_what_is_smaller_and_who_is_much_worse() -> None:
    known = tutors()
    known.tell(0, student(0.80))
    known.tell(1, student(0.90))
    best = known.of(rung("narrow", 0), 0.5, math.inf)
    assert best is not None and (best.number, best.key) == (1, "key of 0.9")
    assert known.of(rung("train", 0), 0.5, math.inf) == best
    assert known.of(rung("train", 1), 0.5, math.inf) is None, "the best has nobody to learn from"
    assert known.of(rung("narrow", 1), 0.5, math.inf) is None, "nor has what comes from it"
    assert known.of(Candidate({"width_1": 8}, Rung("root", 1.0)), 0.5, math.inf) is None, "a root goes by the labels"


def test_another_takes_over_only_when_it_is_much_better() -> None:
    known = tutors()
    known.tell(9, student(0.5))
    known.tell(0, student(0.80))
    assert getattr(known.of(rung("narrow", 9), 0.5, math.inf), "number", None) == 0
    known.tell(1, student(1 - 0.2 * (BETTER + 0.02)))
    assert getattr(known.of(rung("narrow", 9), 0.5, math.inf), "number", None) == 0
    known.tell(2, student(1 - 0.2 * (BETTER - 0.02)))
    assert getattr(known.of(rung("narrow", 9), 0.5, math.inf), "number", None) == 2


def test_answers_must_be_worth_their_seconds() -> None:
    known = tutors()
    known.tell(9, student(0.5, cpu_s=1.0))
    known.tell(0, student(0.80, cpu_s=30.0))
    assert known.of(rung("narrow", 9), 0.5, left_s=50.0) is None, "10 s for a view, 5 allowed"
    assert known.of(rung("narrow", 9), 0.5, left_s=150.0) is not None


def test_of_independent_trials_one_teaches_all_that_follow() -> None:
    known = tutors()
    known.tell(0, student(0.80))
    alone = Candidate({"width_1": 8})
    assert known.of(alone, LABELS_FIRST / 2, math.inf) is None
    assert getattr(known.of(alone, LABELS_FIRST, math.inf), "number", None) == 0
    known.tell(1, student(0.99))
    assert getattr(known.of(alone, 0.9, math.inf), "number", None) == 0, "they stay comparable"


@pytest.mark.parametrize("teacher", ["none", {"family": "mobilenet"}])
def test_only_auto_makes_tutors(teacher: Any) -> None:
    known = Tutors(make_plan(from_dict(tiny(teacher=teacher))))
    known.tell(0, student(0.80))
    assert known.of(rung("narrow", 0), 0.5, math.inf) is None


def test_a_quality_that_is_a_loss_counts_downwards() -> None:
    known = tutors(objectives=["minimize log_loss", "minimize latency_ms@cpu_1_thread"])
    for number, loss in enumerate((0.9, 0.4)):
        record = student(0.5)
        values = (Measurement("log_loss", loss, "nats"),)
        known.tell(number, TrialRecord(Outcome.MEASURED, record.params, values, stages=record.stages, rung=record.rung))
    assert getattr(known.of(rung("narrow", 0), 0.5, math.inf), "number", None) == 1
