"""Coordinates: what goes through them comes back, and every value of a distribution has its fair share."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.samplers.nni_space import MISSING, Axis, axes_of, search_space

CASES: list[tuple[BaseDistribution, list[Any]]] = [
    (FloatDistribution(-1.0, 1.0), [-1.0, 0.25, 1.0]),
    (FloatDistribution(1e-7, 1.0, log=True), [1e-7, 1e-3, 1.0]),
    (FloatDistribution(0.0, 0.7, step=0.1), [0.0, 0.1, 0.7]),
    (FloatDistribution(-10.2, 10.2, step=0.1), [-10.2, 10.2]),
    (IntDistribution(0, 10), [0, 3, 10]),
    (IntDistribution(3, 9, step=2), [3, 5, 9]),
    (IntDistribution(1, 1000, log=True), [1, 10, 1000]),
    (CategoricalDistribution([None, True, "a", 3, 0.5]), [None, True, "a", 3, 0.5]),
]


@pytest.mark.parametrize(("distribution", "values"), CASES, ids=[str(d) for d, _ in CASES])
def test_values_survive_the_round_trip_with_their_type(distribution: BaseDistribution, values: list[Any]) -> None:
    axis = Axis.of("p", distribution)
    back = [axis.decode(x) for x in axis.encode(values)]
    assert back == pytest.approx(values) if isinstance(values[0], float) else back == values
    assert [type(b) for b in back] == [type(v) for v in values]


@pytest.mark.parametrize("distribution", [d for d, _ in CASES], ids=[str(d) for d, _ in CASES])
def test_every_coordinate_decodes_to_a_value_inside(distribution: BaseDistribution) -> None:
    axis = Axis.of("p", distribution)
    rng = np.random.default_rng(0)
    for x in [axis.low, axis.high, *(axis.draw(rng) for _ in range(200))]:
        value = axis.decode(x)
        assert distribution._contains(distribution.to_internal_repr(value))


def test_the_ends_of_a_range_are_as_likely_as_its_middle() -> None:
    axis = Axis.of("p", IntDistribution(1, 3))
    rng = np.random.default_rng(0)
    seen = Counter(axis.decode(axis.draw(rng)) for _ in range(3000))
    assert min(seen.values()) > 900


def test_missing_and_outside_become_nan() -> None:
    numbers = Axis.of("p", IntDistribution(0, 10)).encode([MISSING, 11, 4])
    assert np.isnan(numbers[:2]).all() and numbers[2] == 4
    words = Axis.of("p", CategoricalDistribution(["a", None])).encode([MISSING, "z", None])
    assert np.isnan(words[:2]).all() and words[2] == 1


def test_single_valued_parameters_are_left_out_and_the_rest_is_in_nnis_format() -> None:
    axes = axes_of({"c": CategoricalDistribution(["a"]), "w": IntDistribution(4, 64, log=True), "k": CASES[-1][0]})
    assert [a.name for a in axes] == ["w", "k"]
    space = search_space(axes)
    assert space["k"] == {"_type": "choice", "_value": [0, 1, 2, 3, 4]}
    assert space["w"]["_type"] == "uniform" and space["w"]["_value"] == [math.log(3.5), math.log(64.5)]
