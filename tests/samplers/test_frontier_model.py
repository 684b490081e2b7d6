"""The surrogate against textbook formulas, and the pool's parts one by one."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.samplers.beliefs import Beliefs, Design
from autokd.samplers.candidates import grid, key
from autokd.samplers.conditions import Learnt, coordinate, coordinates, suggestion_order
from autokd.samplers.facts import Memory
from autokd.samplers.nni_space import Axis
from autokd.samplers.surrogate import (
    JITTER,
    Encoder,
    Kernel,
    Posterior,
    _negative_log_posterior,
    clipped,
    refit_at,
    winsorised,
)

KERNEL = Kernel(signal=0.8, linear=0.3, noise=0.05, lengths=np.array([0.5, 1.0, 2.0]))


def points(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


@pytest.mark.parametrize("groups", [[0, 1, 2], [0, 1, 1], [0, 0, 0]])
def test_gradient_is_that_of_the_value(groups: list[int]) -> None:
    x, rng, tied = points(0, 12), np.random.default_rng(1), np.array(groups)
    y, theta = rng.normal(size=12), rng.normal(size=4 + max(groups)) * 0.3
    means, deviations = np.full(len(theta), 0.2), np.full(len(theta), 1.5)
    _, gradient = _negative_log_posterior(theta, x, y, means, deviations, tied)
    for j in range(len(theta)):
        step = np.eye(len(theta))[j] * 1e-5
        up, down = (_negative_log_posterior(theta + s, x, y, means, deviations, tied)[0] for s in (step, -step))
        assert gradient[j] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-6)


def test_posterior_is_the_textbooks_and_grows_by_one() -> None:
    x, pool, y = points(2, 9), points(3, 5), np.random.default_rng(4).normal(size=9)
    covariance = KERNEL.between(x, x) + (KERNEL.noise + JITTER) * np.eye(9)
    cross = KERNEL.between(x, pool)
    mean = cross.T @ np.linalg.solve(covariance, y)
    variance = KERNEL.at(pool) - np.sum(cross * np.linalg.solve(covariance, cross), axis=0) + KERNEL.noise
    grown = Posterior(KERNEL, pool, x[:4])
    for row in x[4:]:
        grown = grown.add(row)
    for posterior in (Posterior(KERNEL, pool, x), grown):
        assert posterior.mean(y) == pytest.approx(mean)
        assert posterior.variance() == pytest.approx(variance)


def test_covariances_are_those_of_the_formula_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, pool = points(5, 7), points(6, 11)
    r = math.sqrt(5) * np.linalg.norm((x[:, None] - pool[None]) / KERNEL.lengths, axis=-1)
    matern = 0.8 * (1 + r + r * r / 3) * np.exp(-r) + 0.1 * x @ pool.T
    assert KERNEL.between(x, pool) == pytest.approx(matern)
    monkeypatch.setattr("autokd.samplers.surrogate.BLOCK", 25)
    assert KERNEL.between(x, pool) == pytest.approx(matern)
    single = KERNEL.between(x.astype(np.float32), pool.astype(np.float32))
    assert single.dtype == np.float32
    assert single == pytest.approx(matern, rel=1e-3, abs=1e-4)


def test_a_function_is_learnt() -> None:
    axes = [Axis.of("x", FloatDistribution(0, 1)), Axis.of("c", CategoricalDistribution(["a", "b"]))]
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random(60), rng.integers(2, size=60)])
    values = np.sin(6 * rows[:, 0]) + rows[:, 1]
    none = np.empty((60, 0))
    seen, pool = Design(rows[:40], none[:40]), Design(rows[40:], none[40:])
    mean, deviation, believed = Beliefs().expect("f", axes, seen, values[:40], pool[np.arange(2)], pool)
    assert np.abs(mean - values[40:]).max() < 0.1
    assert (deviation < 0.3).all()
    assert believed == pytest.approx(mean[:2])
    alone = Beliefs().expect("f", axes, seen, values[:40], pool[:0], pool)
    assert (deviation[:2] < alone[1][:2]).all()
    assert mean == pytest.approx(alone[0])


def test_outliers_are_cut_at_the_fence() -> None:
    gains = np.array([0.0, 1.0, 2.0, 3.0, -100.0])
    assert winsorised(gains).tolist() == [0.0, 1.0, 2.0, 3.0, -3.0]
    assert clipped(np.array([0.0, 1.0, 2.0, 100.0])).max() < 100.0


def test_siblings_share_an_option_s_length_and_are_counted() -> None:
    kinds = CategoricalDistribution(["plain", "skip", "pool"])
    axes = [Axis.of(n, kinds) for n in ("edge_0", "edge_1", "edge_2", "other")]
    axes.append(Axis.of("edge_3", CategoricalDistribution(["plain", "skip"])))
    rows = np.array([[0.0, 0.0, 2.0, 1.0, 0.0], [1.0, math.nan, 1.0, 0.0, 1.0]])
    encoder = Encoder(axes, rows, np.empty((2, 0)))
    inputs = encoder(rows, np.empty((2, 0)))
    assert inputs.shape == (2, 4 * 3 + 2 + 3)
    assert encoder.groups.tolist() == [0, 1, 2] * 3 + [3] * 3 + [4] * 2 + [5, 6, 7]
    assert inputs[:, -3:] == pytest.approx(np.array([[2, 0, 1], [0, 2, 0]]) / math.sqrt(3 * 2 / 9))
    assert Encoder(axes, rows, np.empty((2, 0)), siblings=False).groups.max() == len(axes) - 1


def test_encoder_keeps_what_is_missing_apart_and_takes_wide_facts_in_their_logarithm() -> None:
    axes = [Axis.of("n", IntDistribution(0, 10)), Axis.of("one", CategoricalDistribution([1]))]
    rows, facts = np.array([[0.0, 0.0], [math.nan, 0.0], [10.0, 0.0]]), np.array([[1.0], [100.0], [math.nan]])
    inputs = Encoder(axes, rows, facts)(rows, facts)
    assert inputs.shape == (3, 3)
    assert inputs[:, 1].tolist() == [1.0, 0.0, 1.0]
    assert inputs[:, 2] == pytest.approx([-1.0, 1.0, -1.0])


@pytest.mark.parametrize("n", [1, 2, 3, 50, 299])
def test_fits_get_rarer(n: int) -> None:
    assert 0 < refit_at(n) <= n
    assert refit_at(refit_at(n)) == refit_at(n)
    assert n - refit_at(n) <= max(1, 0.1 * n)


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (CategoricalDistribution([None, True, 1, "a"]), [None, True, "a", "other"]),
        (IntDistribution(1, 9, step=2), [1, 5, 9, 11]),
        (IntDistribution(1, 100, log=True), [1, 7, 100, 0]),
        (FloatDistribution(0.0, 0.7, step=0.1), [0.0, 0.3, 0.7, 0.9]),
        (FloatDistribution(1e-3, 1.0, log=True), [1e-3, 0.5, 2.0]),
    ],
)
def test_one_coordinate_is_as_in_a_column(distribution: BaseDistribution, values: list[Any]) -> None:
    axis = Axis.of("x", distribution)
    assert [coordinate(axis, v) for v in values] == pytest.approx(axis.encode(values), nan_ok=True)


def test_grid_has_every_candidate_once() -> None:
    axes = [
        Axis.of("c", CategoricalDistribution(["a", "b"])),
        Axis.of("n", IntDistribution(2, 6, step=2)),
        Axis.of("l", IntDistribution(1, 4, log=True)),
        Axis.of("f", FloatDistribution(0.0, 0.3, step=0.1)),
    ]
    found = grid(axes, 96)
    assert found is not None
    assert len({key(p) for p in found}) == 96
    assert grid(axes, 95) is None
    assert grid([Axis.of("x", FloatDistribution(0, 1))], 10**9) is None


def test_conditions_on_a_threshold_and_on_a_choice() -> None:
    trials = [
        {"depth": d, "kind": k, **({"third": 1} if d >= 3 else {}), **({"expand": 2} if k == "b" and d >= 3 else {})}
        for d in range(1, 6)
        for k in ("a", "b", "c")
    ]
    names = suggestion_order([list(t) for t in trials])
    space: dict[str, BaseDistribution] = {
        "depth": IntDistribution(1, 5),
        "kind": CategoricalDistribution(["a", "b", "c"]),
        "third": IntDistribution(0, 3),
        "expand": IntDistribution(1, 6),
    }
    axes = [Axis.of(n, space[n]) for n in names]
    conditions = Learnt(axes, coordinates(axes, trials), np.array([[n in t for n in names] for t in trials]))
    rng = random.Random(0)
    for _ in range(50):
        made = conditions({"third": 3}, rng)
        assert ("third" in made) == (made["depth"] >= 3)
        assert ("expand" in made) == (made["depth"] >= 3 and made["kind"] == "b")
        assert made.get("third", 3) == 3


def test_memory_calls_once_and_tells_true_from_one() -> None:
    calls: list[Any] = []

    def function(params: dict[str, Any]) -> float:
        calls.append(params["x"])
        return float(params["x"])

    memory = Memory(function, "f", 1)
    pool = [{"x": 1}, {"x": True}, {"x": 1}]
    assert memory(pool).tolist() == [[1.0], [1.0], [1.0]]
    assert memory(pool).shape == (3, 1)
    assert calls == [1, True]
