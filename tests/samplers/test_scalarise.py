"""Weights cover the simplex; losses are comparable; every point of a front is the best for some weights."""

from __future__ import annotations

import numpy as np
import pytest

from autokd.samplers.scalarise import RHO, chebyshev, normalise, violations, weights


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_weights_lie_on_the_simplex(objectives: int) -> None:
    table = np.array([weights(n, objectives) for n in range(50)])
    assert table.shape == (50, objectives)
    assert (table >= 0).all() and np.allclose(table.sum(axis=1), 1)


def test_consecutive_weights_of_two_objectives_are_evenly_spread() -> None:
    first = np.sort([weights(n, 2)[0] for n in range(20)])
    gaps = np.diff(first, prepend=0.0, append=1.0)
    assert gaps.max() < 0.12


@pytest.mark.parametrize("objectives", [2, 3])
def test_weights_favour_no_objective(objectives: int) -> None:
    mean = np.mean([weights(n, objectives) for n in range(500)], axis=0)
    assert np.allclose(mean, 1 / objectives, atol=0.02)


def test_an_offset_shifts_the_sequence() -> None:
    assert not np.allclose(weights(0, 2, [0.1]), weights(0, 2, [0.4]))


def test_normalise_turns_directions_and_takes_wide_costs_in_their_logarithm() -> None:
    values = np.array([[0.9, 100.0], [0.5, 10.0], [0.1, 1.0]])
    assert np.allclose(normalise(values, [True, False]), [[0, 1], [0.5, 0.5], [1, 0]])
    narrow = np.array([[0.9, 3.0], [0.5, 2.0], [0.1, 1.0]])
    assert np.allclose(normalise(narrow, [True, False])[:, 1], [1, 0.5, 0])


def test_normalise_survives_infinity_and_constants() -> None:
    losses = normalise(np.array([[1.0, np.inf], [1.0, 2.0], [1.0, 1.0]]), [True, False])
    assert np.allclose(losses, [[0, 1], [0, 1], [0, 0]])


def test_chebyshev_golden() -> None:
    assert chebyshev(np.array([[0.2, 0.6]]), np.array([0.5, 0.5]))[0] == pytest.approx(0.3 + RHO * 0.4)


def test_a_concave_front_is_reached_everywhere() -> None:
    """A weighted sum finds only the two ends of such a front."""
    angle = np.linspace(0, np.pi / 2, 11)
    losses = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = {int(np.argmin(chebyshev(losses, weights(n, 2)))) for n in range(200)}
    assert len(found) >= 9


def test_violations_are_relative_to_the_largest_of_each_constraint() -> None:
    found = violations([{"bytes": 1e6, "ms": -1.0}, {"bytes": 5e5, "ms": 2.0}, {"bytes": -3.0}, {}])
    assert np.allclose(found, [1.0, 1.5, 0, 0])
