"""Optuna distributions as coordinates that an NNI tuner can move, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

MISSING = object()
"""Stands for a parameter that a trial does not have."""


@dataclass(frozen=True)
class Axis:
    """One parameter as NNI sees it: a choice of ``size`` numbered options, or a number in [``low``, ``high``].

    NNI is only given ``choice`` and ``uniform``. A logarithmic parameter is moved in its logarithm, an integer or a
    stepped one as the number of its step with half a step of room at both ends. NNI's own ``q*`` types round to
    multiples counted from zero and halve the chance of both ends, and its ``randint`` has no order for TPE; a choice
    is passed by index, so ``None``, booleans and mixed types survive.
    """

    name: str
    distribution: BaseDistribution
    low: float
    high: float
    size: int | None = None

    @classmethod
    def of(cls, name: str, distribution: BaseDistribution) -> Axis:
        """The axis of a distribution.

        Raises:
            TypeError: A kind of distribution that Optuna does not have today.
        """
        d = distribution
        if isinstance(d, CategoricalDistribution):
            return cls(name, d, 0.0, len(d.choices) - 1.0, len(d.choices))
        if isinstance(d, FloatDistribution | IntDistribution):
            if d.log and isinstance(d, IntDistribution):
                return cls(name, d, math.log(d.low - 0.5), math.log(d.high + 0.5))
            if d.log:
                return cls(name, d, math.log(d.low), math.log(d.high))
            if d.step is not None:
                return cls(name, d, -0.5, round((d.high - d.low) / d.step) + 0.5)
            return cls(name, d, d.low, d.high)
        raise TypeError(f"a distribution must be categorical, float or int, but got {d!r}")

    def nni(self) -> dict[str, Any]:
        """The parameter in NNI's search-space format."""
        if self.size is not None:
            return {"_type": "choice", "_value": list(range(self.size))}
        return {"_type": "uniform", "_value": [self.low, self.high]}

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Parameter values to coordinates ``(n,)``; NaN for ``MISSING`` and for what the distribution does not hold."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            index = {choice: float(i) for i, choice in reversed(list(enumerate(d.choices)))}  # 1 == True: first wins
            return np.array([index.get(v, math.nan) for v in values])
        assert isinstance(d, FloatDistribution | IntDistribution)
        x = np.array([math.nan if v is MISSING else v for v in values], dtype=float)
        x[~((d.low <= x) & (x <= d.high))] = math.nan  # a range that was changed since
        if d.log:
            return np.log(x)
        return x if d.step is None else np.round((x - d.low) / d.step)

    def decode(self, coordinate: float) -> Any:
        """A coordinate to the nearest value of the distribution, as a plain Python value."""
        d = self.distribution
        x = float(coordinate)
        if isinstance(d, CategoricalDistribution):
            return d.choices[min(max(round(x), 0), len(d.choices) - 1)]
        assert isinstance(d, FloatDistribution | IntDistribution)
        if d.log:
            x = math.exp(x)
        elif d.step is not None:
            x = d.low + min(max(round(x), 0), math.floor(self.high)) * d.step
        if isinstance(d, IntDistribution):
            return min(max(round(x), d.low), d.high)
        return float(min(max(x, d.low), d.high))

    def draw(self, rng: np.random.Generator) -> float:
        """A coordinate drawn uniformly."""
        if self.size is not None:
            return float(rng.integers(self.size))
        return float(rng.uniform(self.low, self.high))


def axes_of(space: Mapping[str, BaseDistribution]) -> tuple[Axis, ...]:
    """The axes of a search space, without the parameters that can take one value only."""
    return tuple(Axis.of(name, d) for name, d in space.items() if not d.single())


def search_space(axes: Sequence[Axis]) -> dict[str, dict[str, Any]]:
    """The whole space in NNI's format."""
    return {a.name: a.nni() for a in axes}
