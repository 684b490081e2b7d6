"""Whole candidates of a declared space, its conditions respected: what a sampler need not learn from trials."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution

from autokd.samplers.conditions import Params, wish_or_draw
from autokd.samplers.nni_space import Axis
from autokd.space import Parameter, SearchSpace


class Declared:
    """A :class:`autokd.samplers.conditions.Completion` of a study's space; several times as fast as asking it as a trial would.

    Args:
        space: Its fixed values may be what conditions look at; candidates do not have them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._fixed = dict(space.fixed)
        self._parameters = [(p, Axis.of(p.name, p.distribution())) for p in space.parameters]
        self._active: dict[tuple[Any, ...], bool] = {}
        self.distributions: dict[str, BaseDistribution] = {a.name: a.distribution for _, a in self._parameters}

    def __call__(self, wishes: Mapping[str, Any], rng: random.Random) -> Params:
        known: Params = dict(self._fixed)
        params: Params = {}
        for parameter, axis in self._parameters:
            if not parameter.when or self._is_active(parameter, known):
                known[axis.name] = params[axis.name] = wish_or_draw(axis, wishes, rng)
        return params

    def _is_active(self, parameter: Parameter, known: Mapping[str, Any]) -> bool:
        seen = (parameter.name, *map(known.get, parameter.when))
        if seen not in self._active:
            self._active[seen] = parameter.active(known)
        return self._active[seen]
