"""Expected hypervolume improvement against Monte Carlo and against the hypervolume itself."""

from __future__ import annotations

import numpy as np
import pytest

from autokd.pareto import hypervolume
from autokd.samplers.acquisition import boxes, expected_excess, expected_improvement


def gains(seed: int, k: int, m: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1.0, (k, m))


def grown(front: np.ndarray, point: np.ndarray) -> float:
    """By how much the hypervolume grows, by two hypervolumes."""
    m = front.shape[1]
    zero, up = [0.0] * m, ["maximize"] * m
    return hypervolume(np.vstack([front, point]), zero, up) - hypervolume(front, zero, up)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [0, 1, 9])
def test_exact_points_grow_the_hypervolume_exactly(m: int, k: int) -> None:
    front, points = gains(0, k, m), gains(1, 20, m)
    points[0, -1] = -0.5  # outside: adds nothing
    found = expected_improvement(points, np.zeros((20, m)), front)
    assert found == pytest.approx([grown(front, p) for p in points], abs=1e-12)


@pytest.mark.parametrize("deviations", [[0.2], [0.2, 0.0], [0.0, 0.3], [0.2, 0.3], [0.2, 0.0, 0.0], [0.1, 0.2, 0.3]])
def test_closed_form_agrees_with_monte_carlo(deviations: list[float]) -> None:
    m = len(deviations)
    front, points = gains(2, 7, m), gains(3, 4, m)
    found = expected_improvement(points, np.tile(deviations, (4, 1)), front)
    rng = np.random.default_rng(4)
    for mean, value in zip(points, found, strict=True):
        drawn = [grown(front, mean + rng.normal(size=m) * deviations) for _ in range(800)]
        assert value == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 800**0.5 + 1e-3)


@pytest.mark.parametrize("m", [2, 3])
def test_boxes_are_disjoint_and_fill_what_is_not_dominated(m: int) -> None:
    front = gains(5, 8, m)
    lower, upper = boxes(front)
    volume = np.prod(np.minimum(upper, 1.0) - np.minimum(lower, 1.0), axis=1).sum()
    assert volume == pytest.approx(1.0 - hypervolume(front, [0.0] * m, ["maximize"] * m))


def test_dominated_equal_and_outside_members_change_nothing() -> None:
    front, points = gains(6, 5, 2), gains(7, 10, 2)
    more = np.vstack([front, front[0], front * 0.5, [[-1.0, 3.0]]])
    deviations = np.full((10, 2), 0.1)
    assert expected_improvement(points, deviations, more) == pytest.approx(
        expected_improvement(points, deviations, front)
    )


def test_excess_limits() -> None:
    levels = np.array([0.0, 1.0, np.inf])
    assert expected_excess(np.array([0.5]), np.array([0.0]), levels).tolist() == [[0.5, 0.0, 0.0]]
    mixed = expected_excess(np.array([0.5, 0.5]), np.array([0.0, 1.0]), levels)
    assert mixed[0] == pytest.approx([0.5, 0.0, 0.0], abs=1e-9)
    assert mixed[1, 0] == pytest.approx(0.6978, abs=1e-4)


def test_a_large_front_of_many_objectives_is_thinned_and_stays_an_upper_bound() -> None:
    front, points = gains(8, 200, 4), gains(9, 10, 4)
    found = expected_improvement(points, np.zeros((10, 4)), front)
    assert (found >= [grown(front, p) - 1e-12 for p in points]).all()
