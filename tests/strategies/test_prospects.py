"""What a survey of untrained roots tells a ladder: with which root to begin, what another will cost, and when nothing fits."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.strategies.ladder.ladder import FIRST_SHARE, LEAST, SECOND_SHARE, Ladder
from autokd.strategies.ladder.prospects import Survey
from autokd.strategies.strategy import DONE
from autokd.trial import Candidate, Measurement, Outcome, StageRecord, TrialRecord

LATENCY = "latency_ms@cpu_1_thread"
SIZE = 4_000
TRAIN_US = (80.0, 130.0, 300.0, 750.0)
MS = (0.015, 0.018, 0.030, 0.072)


def plan(**changes: Any) -> Plan:
    usual = {"search__strategy": "ladder", "space": "mobilenet_28", "training__epochs": 25}
    return make_plan(from_dict(tiny(**usual | changes)))


def facts(ladder: Ladder, known: int = 4) -> dict[str, Any]:
    roots = [
        {"params": params, "costs": {LATENCY: ms}, "train_s": us * 1e-6}
        for params, ms, us in zip(ladder.first[:known], MS, TRAIN_US, strict=False)
    ]
    return {"roots": roots, "data": {"splits": {"train": SIZE}}}


def ladder(known: int = 4, **changes: Any) -> Ladder:
    made = Ladder(plan(**changes), [0.1, 0.2])
    made.knows(facts(made, known))
    return made


def end(made: Ladder, number: int, move: Candidate, accuracy: float) -> float:
    """The rung ran as the survey foretold; its CPU seconds."""
    assert move.rung is not None
    place = next(k for k, root in enumerate(made.first) if root == dict(move.params))
    spent = TRAIN_US[place] * 1e-6 * 25 * SIZE * move.rung.share
    made.begun(number, move)
    values = (Measurement("accuracy", accuracy, "ratio"), Measurement("latency_ms", MS[place], "ms", "cpu_1_thread"))
    stages = (StageRecord("distill", f"key{number}", spent, spent),)
    made.tell(number, TrialRecord(Outcome.MEASURED, move.params, values, stages=stages, rung=move.rung))
    return spent


def move_of(made: Ladder) -> Candidate:
    move = made.next_move()
    assert isinstance(move, Candidate)
    return move


@pytest.mark.parametrize(
    ("budget", "second", "whole"), [(30, 1, False), (60, 2, False), (200, 2, True), (2000, 3, True)]
)
def test_the_second_root_is_the_dearest_that_the_budget_bears(budget: int, second: int, whole: bool) -> None:
    made = ladder(budget={"cpu_s": budget, "trials": None})
    first = move_of(made)
    assert first.rung is not None and dict(first.params) == made.first[0]
    spent = end(made, 0, first, 0.8)
    assert spent <= max(FIRST_SHARE * budget, LEAST * TRAIN_US[0] * 1e-6 * 25 * SIZE) + 1e-6
    then = move_of(made)
    assert then.rung is not None and dict(then.params) == made.first[second]
    assert (then.rung.share == 1.0) == whole
    if not whole:
        assert then.rung.share * TRAIN_US[second] * 1e-6 * 25 * SIZE <= SECOND_SHARE * (budget - spent) + 0.1


def test_without_seconds_to_share_the_two_cheapest_come_first_and_whole() -> None:
    made = ladder(budget={"trials": 20})
    for number in range(2):
        move = move_of(made)
        assert move.rung is not None and move.rung.share == 1.0 and dict(move.params) == made.first[number]
        end(made, number, move, 0.8)


def test_a_root_is_foretold_beside_one_that_was_trained() -> None:
    made = ladder()
    assert made.survey is not None
    found = made.survey.beside(made.first[2], made.first[0])
    assert found is not None and found.places == 2
    assert found.larger == pytest.approx(2.0) and found.dearer == pytest.approx(300 / 80)
    assert made.survey.beside({"width_1": 3}, made.first[0]) is None


def test_a_ledger_of_the_first_version_has_no_survey() -> None:
    made = Ladder(plan(budget={"cpu_s": 60, "trials": None}), [0.1, 0.2])
    made.knows({"teacher": {}, "data": {"splits": {"train": SIZE}}})
    assert made.survey is None and dict(move_of(made).params) == made.first[0]


def test_a_root_that_cannot_be_built_is_left_out() -> None:
    made = ladder(known=3, budget={"cpu_s": 60, "trials": None})
    assert made.survey is not None and len(made.survey.roots) == 3
    assert Survey.of({}, made.first, LATENCY, 10, ["width_1"]) is None


def test_a_budget_in_which_nothing_fits_any_more_ends() -> None:
    made = ladder(budget={"cpu_s": 60, "trials": None})
    end(made, 0, move_of(made), 0.8)
    end(made, 1, move_of(made), 0.82)
    made.beside_s = 59.0
    assert made.next_move() == DONE
