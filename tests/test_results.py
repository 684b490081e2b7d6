"""Fronts, choices and hypervolumes, on members made up for the purpose."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autokd.cli.front import again_words
from autokd.config.load import from_dict
from autokd.config.objectives import Objective
from autokd.config.plan import Plan, make_plan
from autokd.errors import StudyError
from autokd.storage import results
from autokd.storage.ledger import Ledger
from autokd.storage.results import Member, choose, front, volume
from autokd.study.front_table import timed_again
from autokd.trial import Measurement, Outcome, TrialRecord, Violation

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "a"))
POINTS = [(0.90, 4.0), (0.80, 1.0), (0.85, 5.0), (0.80, 1.0), (0.70, 0.5), (0.88, 2.0)]
"""Accuracy and latency; trial 2 is dominated, trial 3 is a copy of trial 1."""


def record(accuracy: float, latency: float, **facts: object) -> TrialRecord:
    measured = (
        Measurement("accuracy", accuracy, "ratio"),
        Measurement("latency_ms", latency, "ms", "a"),
        Measurement("latency_ms", 10 / latency, "ms", "b"),
    )
    values: dict[str, object] = {"outcome": Outcome.MEASURED, "measurements": measured, "params": {"width_1": 8}}
    return TrialRecord(**(values | facts))  # type: ignore[arg-type]


def member(number: int, accuracy: float, latency: float) -> Member:
    whole = record(accuracy, latency)
    return Member(number, whole.params, {"accuracy": accuracy, "latency_ms@a": latency}, None, None, whole)


@pytest.fixture
def found() -> list[Member]:
    return [member(i, *point) for i, point in enumerate(POINTS)]


def test_front_is_undominated_distinct_and_cheapest_first(found: list[Member]) -> None:
    assert [m.number for m in front(found, GOALS)] == [4, 1, 5, 0]


def test_front_of_nothing_is_empty() -> None:
    assert front([], GOALS) == []


def test_front_without_a_cost_is_sorted_by_the_last_objective() -> None:
    goals = (Objective("maximize", "accuracy"), Objective("minimize", "log_loss"))
    made = [
        Member(i, {}, {"accuracy": a, "log_loss": loss}, None, None, record(a, 1.0))
        for i, (a, loss) in enumerate([(0.9, 0.5), (0.8, 0.1), (0.7, 0.6)])
    ]
    assert [m.number for m in front(made, goals)] == [1, 0]


def test_choose_by_number_takes_dominated_ones_too(found: list[Member]) -> None:
    assert choose(found, GOALS, trial=2).number == 2
    with pytest.raises(StudyError, match="4, 1, 5, 0"):
        choose(found, GOALS, trial=17)


@pytest.mark.parametrize(
    ("latency", "accuracy", "number"),
    [(4.0, None, 0), (3.9, None, 5), (1.0, None, 1), (None, 0.8, 1), (None, 0.81, 5), (None, 0.0, 4), (3.0, 0.75, 5)],
)
def test_choose_by_limits(found: list[Member], latency: float | None, accuracy: float | None, number: int) -> None:
    assert choose(found, GOALS, max_latency_ms=latency, min_accuracy=accuracy).number == number


def test_choose_without_limits_takes_the_knee(found: list[Member]) -> None:
    assert choose(found, GOALS).number in (1, 5)


@pytest.mark.parametrize(
    ("latency", "accuracy", "words"),
    [(0.4, None, "fastest: 0.5 ms"), (None, 0.95, "most accurate: 0.9000"), (1.0, 0.85, "most accurate: 0.8000")],
)
def test_choose_says_what_comes_closest(
    found: list[Member], latency: float | None, accuracy: float | None, words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        choose(found, GOALS, max_latency_ms=latency, min_accuracy=accuracy)


def test_choose_of_nothing() -> None:
    with pytest.raises(StudyError, match="measured student"):
        choose([], GOALS)
    with pytest.raises(StudyError, match="none yet"):
        choose([], GOALS, trial=0)


def test_choose_by_latency_needs_a_latency_objective(found: list[Member]) -> None:
    goals = (GOALS[0], Objective("minimize", "size_bytes"))
    made = [
        Member(0, {}, {"accuracy": 0.9, "size_bytes": 5.0}, None, None, record(0.9, 1.0)),
    ]
    with pytest.raises(StudyError, match="latency objective"):
        choose(made, goals, max_latency_ms=1)


def test_volume_is_an_area_in_accuracy_and_log_latency() -> None:
    made = [member(0, 0.9, 1.0)]
    assert volume(made, GOALS, (0.1, math.e)) == pytest.approx(0.8 * 1.0)
    both = [*made, member(1, 0.5, 0.1)]
    expected = 0.8 * 1.0 + 0.4 * math.log(10)
    assert volume(both, GOALS, (0.1, math.e)) == pytest.approx(expected)


def test_volume_before_there_is_a_reference_or_a_member(found: list[Member]) -> None:
    assert volume(found, GOALS, None) is None
    assert volume(found, GOALS, (0.1,)) is None
    assert volume([], GOALS, (0.1, 8.0)) == 0.0


# -------------------------------------------------------------------------------------- out of a real ledger


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("threads: 1\n")
    return make_plan(
        from_dict(
            {
                "name": "made up",
                "data": {"source": "digits"},
                "teacher": {"family": "mobilenet"},
                "space": {"family": "mobilenet", "parameters": {"width_1": {"choice": [8, 16], "stage": "build"}}},
                "hardware": [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")],
                "objectives": ["maximize accuracy", "minimize latency_ms@a"],
                "constraints": ["latency_ms@a <= 4.5"],
            }
        )
    )


@pytest.fixture
def ledger(plan: Plan, tmp_path: Path) -> Ledger:
    ledger = Ledger.create(
        f"sqlite:///{tmp_path}/l.db", "made up", plan.directions, [str(o) for o in plan.objectives], {}
    )
    for point in POINTS:
        late = point[1] > 4.5
        violations = (Violation("latency_ms@a <= 4.5", point[1], point[1] - 4.5),) if late else ()
        ledger.add(record(*point, violations=violations), plan)
    ledger.add(record(0.99, 0.1, outcome=Outcome.INFEASIBLE), plan)
    ledger.add(record(0.99, 0.1, outcome=Outcome.FAILED), plan)
    ledger.add(TrialRecord(Outcome.MEASURED, measurements=(Measurement("accuracy", 1.0, "ratio"),)), plan)
    return ledger


def test_members_are_measured_feasible_and_whole(ledger: Ledger, plan: Plan) -> None:
    assert [m.number for m in results.members(ledger, plan)] == [0, 1, 3, 4, 5]


def test_members_on_another_profile_are_judged_there(ledger: Ledger, plan: Plan) -> None:
    objectives = results.objectives_on(plan, "b")
    assert [o.name for o in objectives] == ["accuracy", "latency_ms@b"]
    best = front(results.members(ledger, plan, "b"), objectives)
    assert [m.number for m in best] == [0]  # what is slow on a is fast on b
    assert best[0].values["latency_ms@b"] == pytest.approx(2.5)


def test_a_profile_that_was_not_measured_is_refused(plan: Plan) -> None:
    with pytest.raises(StudyError, match="Measured: a, b"):
        results.objectives_on(plan, "c")


def test_confirmed_values_go_with_their_member(ledger: Ledger, plan: Plan) -> None:
    ledger.set_attr(results.CONFIRMED_KEY, {"5": {"accuracy": 0.87}})
    confirmed = {m.number: m.confirmed for m in results.members(ledger, plan)}
    assert confirmed[5] == {"accuracy": 0.87}
    assert confirmed[0] is None


def test_a_member_as_plain_values(ledger: Ledger, plan: Plan) -> None:
    assert results.members(ledger, plan)[0].to_dict() == {
        "number": 0,
        "params": {"width_1": 8},
        "values": {"accuracy": 0.9, "latency_ms@a": 4.0},
        "confirmed": None,
        "artifact": None,
    }


def test_second_timings_are_told_beside_the_first() -> None:
    def timed(number: int, first: float, second: float | None) -> Member:
        confirmed = None if second is None else {"latency_ms@a": second}
        return Member(number, {}, {"latency_ms@a": first}, confirmed, None, TrialRecord(Outcome.MEASURED, {}))

    found = [timed(0, 1.0, 1.01), timed(1, 2.0, 1.9), timed(2, 3.0, 3.06), timed(3, 4.0, None)]
    again = timed_again(found, "latency_ms@a")
    assert again and again_words(again) == "The same files timed again: 2.0% apart in the median, 5.0% at most."
    assert timed_again(found[3:], "latency_ms@a") is None
