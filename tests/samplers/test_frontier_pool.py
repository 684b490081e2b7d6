"""The pool as rows of coordinates: whole candidates, bred, told apart, and translated, against their dictionaries."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.config.space import load_space
from autokd.samplers.candidates import Candidates, breeding, distinct, drawing, grid, key, keys_of, rows_of
from autokd.samplers.conditions import Asked, Completion, Learnt, coordinates, drawn, snapped
from autokd.samplers.declared import Declared
from autokd.samplers.facts import Facts
from autokd.samplers.nni_space import Axis

SPACE = load_space("mobilenet_28")
DISTRIBUTIONS: list[BaseDistribution] = [
    CategoricalDistribution([None, "a", 0.5]),
    CategoricalDistribution([True, 1, "b"]),
    IntDistribution(1, 9, step=2),
    IntDistribution(1, 20, log=True),
    FloatDistribution(0.0, 0.7, step=0.1),
    FloatDistribution(1e-3, 1.0, log=True),
    FloatDistribution(-2.0, 3.0),
]


def toy(trial: Any) -> None:
    if trial.suggest_categorical("family", ["plain", "mobile"]) == "plain" and trial.suggest_int("depth", 1, 9) > 4:
        trial.suggest_float("rate", 1e-3, 1.0, log=True)


def completion(kind: str) -> tuple[list[Axis], Completion]:
    if kind == "declared":
        declared = Declared(SPACE)
        return declared.axes, declared
    asked = Asked(toy)
    axes = [Axis.of(n, asked.distributions[n]) for n in ("family", "depth", "rate")]
    if kind == "asked":
        return axes, asked
    trials = [asked({}, random.Random(i)) for i in range(200)]
    return axes, Learnt(axes, coordinates(axes, trials), np.array([[a.name in t for a in axes] for t in trials]))


@pytest.fixture(params=["declared", "asked", "learnt"])
def whole(request: pytest.FixtureRequest) -> tuple[list[Axis], Completion]:
    return completion(request.param)


def pool_of(axes: list[Axis], complete: Completion, count: int = 200) -> Candidates:
    return distinct(axes, drawing(axes, complete, np.random.default_rng(0)), count, set())


def test_rows_have_the_parameters_that_dictionaries_have(whole: tuple[list[Axis], Completion]) -> None:
    axes, complete = whole
    rng = random.Random(0)
    for params in pool_of(axes, complete):
        assert set(complete(params, rng)) == set(params)


def test_wishes_are_kept_where_they_are_active(whole: tuple[list[Axis], Completion]) -> None:
    axes, complete = whole
    wishes = pool_of(axes, complete).rows
    again = complete.rows(axes, wishes, np.random.default_rng(1))
    assert again == pytest.approx(wishes, nan_ok=True)


def test_children_are_whole_and_near_their_parents(whole: tuple[list[Axis], Completion]) -> None:
    axes, complete = whole
    parent = pool_of(axes, complete, 1).rows
    rows = breeding(parent, axes, complete, np.random.default_rng(2))(300)
    changed = ~((rows == parent) | (np.isnan(rows) & np.isnan(parent)))
    assert changed.any(axis=1).mean() > 0.8  # of a number with two values the redrawn one may be the same
    assert changed.any(axis=0).sum() >= len(axes) - 1 - np.isnan(parent).sum()
    for params in Candidates(axes, rows[:50]):
        assert set(complete(params, random.Random(0))) == set(params)


def test_drawn_candidates_differ_until_the_space_is_used_up() -> None:
    axes = [Axis.of("a", IntDistribution(0, 3)), Axis.of("b", CategoricalDistribution(["x", "y"]))]
    none = Learnt(axes, np.empty((0, 2)), np.empty((0, 2), dtype=bool))
    taken = set(keys_of(coordinates(axes, [{"a": 0, "b": "x"}])))
    found = distinct(axes, drawing(axes, none, np.random.default_rng(0)), 50, taken)
    assert len(found) == len({key(p) for p in found}) == 7
    whole = grid(axes, 8)
    assert whole is not None
    assert whole.free(taken).sum() == 0


def test_keys_and_dictionaries_are_told_as_one_by_one(whole: tuple[list[Axis], Completion]) -> None:
    pool = pool_of(*whole, 40)
    for i, (k, params) in zip([3, 0, 17], pool.told([3, 0, 17]), strict=True):
        assert params == pool[i]
        assert k == key(pool[i])


def test_rows_are_translated_to_other_axes() -> None:
    axes, complete = completion("declared")
    pool = pool_of(axes, complete)
    other = [
        Axis.of("width_3", FloatDistribution(32, 128, log=True)),
        axes[0],
        Axis.of("unknown", IntDistribution(0, 1)),
    ]
    assert rows_of(other, pool) == pytest.approx(coordinates(other, list(pool)), nan_ok=True)
    assert np.isnan(rows_of(other, pool)[:, 2]).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_drawn_coordinates_are_those_of_values(distribution: BaseDistribution) -> None:
    axis = Axis.of("x", distribution)
    x = drawn(axis, 500, np.random.default_rng(0))
    assert axis.encode([axis.decode(v) for v in x]) == pytest.approx(x)
    assert snapped(axis, x) == pytest.approx(x)
    ends = {repr(axis.decode(v)) for v in x}
    if isinstance(distribution, CategoricalDistribution):  # to Optuna, True and 1 are one choice
        assert len(ends) == len(set(distribution.choices))
    elif not isinstance(distribution, FloatDistribution) or distribution.step:
        assert {repr(distribution.low), repr(distribution.high)} <= ends  # type: ignore[attr-defined]


def test_free_functions_are_called_once_for_rows_and_dictionaries() -> None:
    axes, complete = completion("learnt")
    calls: list[str] = []

    def known(params: dict[str, Any]) -> float:
        calls.append(key(params))
        return math.nan if params["family"] == "mobile" else float(len(params))

    facts = Facts({0: known}, None, None)
    pool = facts.pool(pool_of(axes, complete, 30))
    assert all(p["family"] == "plain" for p in pool.params)
    again = facts.pool(list(pool.params))
    assert again.known[0] == pytest.approx(pool.known[0])
    assert len(calls) == len(set(calls)) == 30
