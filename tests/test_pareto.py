"""Fronts and volumes against brute force, against Optuna's, and in the cases that go wrong."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume

from autokd.pareto import dominates, hypervolume, hypervolume_contributions, knee, non_dominated

MIN2, MIN3 = ("minimize", "minimize"), ("minimize",) * 3
MIXED = ("maximize", "minimize", "minimize")


def brute_front(values: np.ndarray, directions: tuple[str, ...]) -> np.ndarray:
    return np.array([not any(dominates(b, a, directions) for b in values) for a in values])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.9, 1.0), (0.8, 2.0), True),
        ((0.9, 1.0), (0.9, 2.0), True),
        ((0.9, 1.0), (0.9, 1.0), False),
        ((0.9, 3.0), (0.8, 2.0), False),
        ((0.8, 2.0), (0.9, 1.0), False),
    ],
)
def test_dominates(a: tuple[float, ...], b: tuple[float, ...], expected: bool) -> None:
    assert dominates(a, b, ("maximize", "minimize")) is expected


@pytest.mark.parametrize("directions", [MIN2, ("maximize", "minimize"), MIN3, MIXED])
@pytest.mark.parametrize("levels", [4, 10_000], ids=["many ties", "few ties"])
def test_non_dominated_equals_brute_force(directions: tuple[str, ...], levels: int) -> None:
    rng = np.random.default_rng(levels)
    for _ in range(8):
        values = rng.integers(levels, size=(40, len(directions))).astype(float)
        assert np.array_equal(non_dominated(values, directions), brute_front(values, directions))


def test_copies_of_a_front_member_all_stay() -> None:
    assert non_dominated([[1, 2], [2, 1], [1, 2], [2, 2]], MIN2).tolist() == [True, True, True, False]


def test_a_large_set_is_quick() -> None:
    values = np.random.default_rng(0).random((20_000, 3))
    assert non_dominated(values, MIN3).sum() > 50


def test_an_empty_set_has_an_empty_front_and_no_volume() -> None:
    assert non_dominated([], MIN2).shape == (0,)
    assert hypervolume([], [1, 1], MIN2) == 0.0
    assert hypervolume_contributions([], [1, 1], MIN2).shape == (0,)


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_equals_optunas(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    for n in (1, 2, 7, 60):
        values = rng.random((n, objectives)) * 1.2  # some are worse than the reference
        ours = hypervolume(values, [1.0] * objectives, ("minimize",) * objectives)
        inside = values[(values <= 1).all(axis=1)]
        assert ours == pytest.approx(compute_hypervolume(inside, np.ones(objectives)), abs=1e-12)


@pytest.mark.parametrize("directions", [("maximize", "minimize"), MIXED])
def test_hypervolume_equals_monte_carlo_in_accuracy_and_log_cost(directions: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    m = len(directions)
    scales = ["linear"] + ["log"] * (m - 1)
    reference, ideal = np.array([0.1] + [100.0] * (m - 1)), np.array([0.9] + [1.0] * (m - 1))
    values = np.column_stack([rng.uniform(0.1, 0.9, 30), 10 ** rng.uniform(0, 2, (30, m - 1))])
    share = rng.random((60_000, m))
    points = np.column_stack([0.1 + 0.8 * share[:, 0], 100 ** share[:, 1:]])
    covered = np.zeros(len(points), dtype=bool)
    for v in values:
        covered |= (v[0] >= points[:, 0]) & (v[1:] <= points[:, 1:]).all(axis=1)
    assert hypervolume(values, reference, directions, scales, ideal) == pytest.approx(covered.mean(), abs=0.01)
    full = 0.8 * math.log(100) ** (m - 1)
    assert hypervolume(values, reference, directions, scales) == pytest.approx(
        full * hypervolume(values, reference, directions, scales, ideal)
    )


def test_hypervolume_golden() -> None:
    """Two students: (90 %, 1 ms) and (80 %, 0.1 ms) against a guess of 10 % and a teacher of 10 ms."""
    volume = hypervolume([[0.9, 1.0], [0.8, 0.1]], [0.1, 10.0], ("maximize", "minimize"), scales=("linear", "log"))
    assert volume == pytest.approx(0.8 * math.log(10) + 0.7 * math.log(10))


def test_points_that_do_not_beat_the_reference_and_copies_add_nothing() -> None:
    front = [[0.5, 0.5]]
    base = hypervolume(front, [1, 1], MIN2)
    assert hypervolume([*front, [0.1, 1.0], [2.0, 0.1], [0.5, 0.5], [0.6, 0.6]], [1, 1], MIN2) == base == 0.25


def test_ideal_cuts_at_one() -> None:
    assert hypervolume([[0.0, 0.0]], [1, 1], MIN2, ideal=[0.5, 0.5]) == 1.0


@pytest.mark.parametrize("objectives", [2, 3])
def test_contributions_are_what_is_lost_without_the_point(objectives: int) -> None:
    rng = np.random.default_rng(3)
    values = np.vstack([rng.random((15, objectives)), [[1.5] * objectives]])
    directions, reference = ("minimize",) * objectives, [1.0] * objectives
    total = hypervolume(values, reference, directions)
    expected = [total - hypervolume(np.delete(values, i, 0), reference, directions) for i in range(16)]
    assert hypervolume_contributions(values, reference, directions) == pytest.approx(expected, abs=1e-12)
    assert hypervolume_contributions([values[0]] * 2, reference, directions).tolist() == [0, 0]


def test_the_knee_is_the_bend() -> None:
    values = [[0.10, 1.0], [0.50, 2.0], [0.85, 3.0], [0.88, 30.0], [0.90, 100.0], [0.2, 50.0]]
    assert knee(values, ("maximize", "minimize"), ("linear", "log")) == 2
    assert knee([[1.0, 1.0]], MIN2) == 0
    both, cost = ("maximize", "minimize"), ("linear", "log")
    assert knee([[0.756, 0.0189], [1.0, 0.01891]], both, cost) == 1, "a quarter more is right at the same cost"
    assert knee([[0.98, 0.010], [0.99, 0.015]], both, cost) == 0, "half as much again for one point more"
    assert knee([[2.0, 2.0], [1.0, 2.0], [1.0, 2.0]], MIN2) == 1


@pytest.mark.parametrize(
    ("call", "law"),
    [
        (lambda: non_dominated([[math.nan, 1]], MIN2), "NaN"),
        (lambda: hypervolume([[1, math.nan]], [2, 2], MIN2), "NaN"),
        (lambda: hypervolume([[1, 1]], [2, math.nan], MIN2), "NaN"),
        (lambda: hypervolume([[1, -math.inf]], [2, 2], MIN2), "finite"),
        (lambda: hypervolume([[1, 0]], [2, 2], MIN2, ("linear", "log")), "above 0"),
        (lambda: hypervolume([[1, 1]], [2, 2], MIN2, ideal=[3, 1]), "ideal"),
        (lambda: hypervolume([[1, 1]], [2, 2], MIN2, ("linear",)), "scales"),
        (lambda: non_dominated([[1, 2, 3]], MIN2), "shape"),
        (lambda: non_dominated([[1, 2]], ("min", "max")), "direction"),
        (lambda: knee([], MIN2), "at least one"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, law: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=law):
        call()


def test_fronts_agree_with_optunas_best_trials() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    values = np.random.default_rng(5).random((60, 2))
    for v in values:
        study.add_trial(optuna.create_trial(values=list(v)))
    best = {t.number for t in study.best_trials}
    assert set(np.flatnonzero(non_dominated(values, ("maximize", "minimize")))) == best
