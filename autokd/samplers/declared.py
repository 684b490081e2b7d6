"""Whole candidates of a declared space, its conditions respected: what a sampler need not learn from trials."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from autokd.config.space import Parameter, SearchSpace, holds
from autokd.samplers.conditions import Params, filled, wish_or_draw
from autokd.samplers.nni_space import Axis


class Declared:
    """A :class:`autokd.samplers.conditions.Completion` of a study's space; several times as fast as asking it as a trial would.

    Args:
        space: Its fixed values may be what conditions look at; candidates do not have them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._fixed = dict(space.fixed)
        self._parameters = [(p, Axis.of(p.name, p.distribution())) for p in space.parameters]
        self._active: dict[tuple[Any, ...], bool] = {}
        self.axes = [a for _, a in self._parameters]
        self.distributions: dict[str, BaseDistribution] = {a.name: a.distribution for _, a in self._parameters}

    def __call__(self, wishes: Mapping[str, Any], rng: random.Random) -> Params:
        known: Params = dict(self._fixed)
        params: Params = {}
        for parameter, axis in self._parameters:
            if not parameter.when or self._is_active(parameter, known):
                known[axis.name] = params[axis.name] = wish_or_draw(axis, wishes, rng)
        return params

    def rows(self, axes: Sequence[Axis], wishes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See :class:`autokd.samplers.conditions.Completion`."""
        places = {axis.name: j for j, axis in enumerate(axes)}
        rows = np.full(wishes.shape, math.nan)
        for parameter, own in self._parameters:
            j = places[own.name]
            rows[:, j] = filled(axes[j], wishes[:, j], self._active_in(parameter, axes, places, rows), rng)
        return rows

    def _active_in(
        self, parameter: Parameter, axes: Sequence[Axis], places: Mapping[str, int], rows: np.ndarray
    ) -> np.ndarray:
        """``(n,) bool``; each condition is asked once for each value of what it looks at."""
        active = np.ones(len(rows), dtype=bool)
        for name, wanted in parameter.when.items():
            if name in places:
                axis, (levels, back) = axes[places[name]], np.unique(rows[:, places[name]], return_inverse=True)
                met = [not math.isnan(x) and holds(axis.decode(x), wanted) for x in levels.tolist()]
                active &= np.array(met, dtype=bool)[back]
            elif name not in self._fixed or not holds(self._fixed[name], wanted):
                active[:] = False
        return active

    def _is_active(self, parameter: Parameter, known: Mapping[str, Any]) -> bool:
        seen = (parameter.name, *map(known.get, parameter.when))
        if seen not in self._active:
            self._active[seen] = parameter.active(known)
        return self._active[seen]
