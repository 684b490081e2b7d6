"""Boxes, fronts and hypervolumes of the cost benchmark, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from curves import Box, Run, Student, marks

BOX = Box(poor=0.8, good=1.0, slow_ms=0.1, fast_ms=0.001)  # two decades of latency


def run(*students: Student, budget: float = 100.0) -> Run:
    return Run(students, budget, wall_s=1.0)


def test_one_student_in_the_middle_of_both_scales_dominates_a_quarter() -> None:
    assert BOX.volume([(0.9, 0.01)]) == pytest.approx(0.25)


def test_two_students_share_what_both_dominate() -> None:
    # (half of the accuracy, half of the latency) and (three quarters, a quarter): 1/4 + 1/4 * 1/4
    assert BOX.volume([(0.9, 0.01), (0.95, 10**-1.5)]) == pytest.approx(0.25 + 0.0625)


def test_nothing_counts_outside_the_box_and_nothing_more_beyond_its_best_corner() -> None:
    assert BOX.volume([(0.8, 0.01), (0.9, 0.1), (0.5, 1.0)]) == 0.0
    assert BOX.volume([]) == 0.0
    assert BOX.volume([(1.0, 0.0001)]) == pytest.approx(1.0)


def test_a_slower_machine_sees_the_same_volume_in_its_own_box() -> None:
    points = [(0.9, 0.01), (0.95, 0.04)]
    slower = [(accuracy, 1.7 * ms) for accuracy, ms in points]
    assert BOX.scaled(1.7).volume(slower) == pytest.approx(BOX.volume(points))
    assert BOX.scaled(1.7).volume(points) > BOX.volume(points)


def test_a_search_is_judged_by_what_was_finished_within_its_cpu_seconds() -> None:
    found = run(Student(10.0, 0.9, 0.01), Student(5.0), Student(10.0, 1.0, 0.01))
    assert found.validation(BOX, 9.9) == 0.0
    assert found.validation(BOX, 24.9) == pytest.approx(0.25)
    assert found.validation(BOX, 25.0) == pytest.approx(0.5)
    assert found.validation(BOX, 100.0) == pytest.approx(0.5)


def test_beyond_its_budget_a_search_says_nothing() -> None:
    found = run(Student(10.0, 0.9, 0.01, 0.9, 0.01), budget=20.0)
    assert found.validation(BOX, 20.1) is None
    assert found.test(BOX, 20.1) is None


def test_refused_students_cost_but_are_not_on_the_front() -> None:
    found = run(Student(10.0), Student(10.0, 0.9, 0.01), Student(1.0, 0.85, 0.02))
    assert [s.accuracy for s in found.front(100.0)] == [0.9]


def test_the_test_volume_is_that_of_the_front_validation_chose() -> None:
    chosen = Student(10.0, 0.95, 0.01, test_accuracy=0.9, again_ms=0.01)
    better_on_test = Student(10.0, 0.94, 0.01, test_accuracy=1.0, again_ms=0.01)
    assert run(chosen, better_on_test).test(BOX, 100.0) == pytest.approx(0.25)


def test_the_test_volume_takes_the_second_timing() -> None:
    lucky = Student(10.0, 0.9, 0.001, test_accuracy=0.9, again_ms=0.01)
    assert run(lucky).test(BOX, 100.0) == pytest.approx(0.25)


def test_the_test_volume_is_unknown_while_a_member_was_not_confirmed() -> None:
    assert run(Student(1.0, 0.9, 0.01, 0.9, 0.01), Student(1.0, 0.95, 0.02)).test(BOX, 100.0) is None
    assert run().test(BOX, 100.0) == 0.0


def test_the_price_of_a_level_is_the_moment_it_was_passed() -> None:
    found = run(Student(10.0, 0.9, 0.01), Student(5.0), Student(10.0, 1.0, 0.01), Student(90.0, 1.0, 0.001))
    assert found.reaches(BOX, 0.24) == 10.0
    assert found.reaches(BOX, 0.49) == 25.0
    assert found.reaches(BOX, 0.9) is None  # at 115 of 100


def test_the_best_test_accuracy_of_fast_members_looks_at_the_final_front_only() -> None:
    found = run(Student(1.0, 0.9, 0.010, 0.88, 0.010), Student(1.0, 0.95, 0.020, 0.93, 0.021), Student(1.0, 0.85, 0.02))
    assert found.best_test(0.020) == 0.88
    assert found.best_test(0.021) == 0.93
    assert found.best_test(0.001) == 0.0


def test_checkpoints_end_with_the_budget() -> None:
    assert marks(400) == [30, 60, 80, 120, 200, 400]
    assert marks(70) == [30, 60, 70]
    assert marks(20) == [20]


def test_a_box_tells_its_edges_in_microseconds() -> None:
    assert str(Box(0.8, 0.94, 0.150, 0.006).scaled(1.1)) == "log latency 6.6 to 165 µs x accuracy 0.800 to 0.940"
    assert math.isclose(Box(0.8, 0.94, 0.150, 0.006).scaled(2).slow_ms, 0.3)
