"""Free facts that cost milliseconds, for pools of thousands: asked for a few hundred candidates, interpolated between them."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.linalg import cho_solve

from autokd.samplers.candidates import distinct, drawing, key, rows_of
from autokd.samplers.conditions import Params, coordinates
from autokd.samplers.declared import Declared
from autokd.samplers.nni_space import Axis
from autokd.samplers.surrogate import Encoder, Kernel, Prior, factor_of

ASKED = 192
"""Candidates that a fit is made from."""
FEWEST = 24
"""Of them must be known, or there is nothing to interpolate."""
EXACT = Prior(noise=(-8.0, 1.0))
"""What is interpolated has no noise of its own."""

_log = logging.getLogger(__name__)


class Interpolated:
    """``facts(params)`` is exact and remembered; ``facts.rough(pool)`` is a Gaussian process' expectation.

    Two candidates that agree in the parameters of ``space`` have the same facts. The fit is made once, from candidates drawn
    by the seed, so what it says does not depend on what was asked before.

    Args:
        function: From parameters to ``width`` numbers that vary smoothly: logarithms of costs rather than costs.
        complete: Draws candidates.
        space: The parameters that matter.
        seed: Of the candidates that are drawn.
    """

    def __init__(
        self,
        function: Callable[[Params], Sequence[float] | np.ndarray],
        complete: Declared,
        space: Mapping[str, BaseDistribution],
        seed: int = 0,
    ) -> None:
        self._function, self._complete, self._seed = function, complete, seed
        self._axes = [Axis.of(name, _ordered(distribution)) for name, distribution in space.items()]
        self._known: dict[str, np.ndarray | None] = {}
        self._fit: _Fit | None = None
        self._tried = False

    @property
    def usable(self) -> bool:
        """Whether enough candidates are known; the first to ask pays for them."""
        return self._fitted() is not None

    def __call__(self, params: Params) -> np.ndarray:
        """Exact facts ``(width,)``; interpolated ones of a candidate for which the function raises or gives what is not finite.

        Raises:
            ValueError: The function does so for nearly all.
        """
        exact = self._exact(params)
        return exact if exact is not None else self.rough([params])[0]

    def rough(self, pool: Sequence[Params]) -> np.ndarray:
        """Interpolated facts ``(n, width)``.

        Raises:
            ValueError: The function knows nearly no candidate.
        """
        fit = self._fitted()
        if fit is None:
            raise ValueError(f"at least {FEWEST} of {ASKED} candidates must be known, but fewer are")
        return fit(rows_of(self._axes, pool))

    def _exact(self, params: Params) -> np.ndarray | None:
        own = {a.name: params[a.name] for a in self._axes if a.name in params}
        k = key(own)
        if k not in self._known:
            try:
                found = np.asarray(self._function(dict(params)), dtype=float)
            except Exception as error:  # a family's own code may refuse a shape in its own way
                _log.debug("no facts of %s: %s: %s", own, type(error).__name__, error)
                found = np.array([np.nan])
            self._known[k] = found if np.isfinite(found).all() else None
        return self._known[k]

    def _fitted(self) -> _Fit | None:
        if not self._tried:
            self._tried = True
            rng = np.random.default_rng(random.Random(f"{self._seed} interpolated").getrandbits(64))
            axes = self._complete.axes
            asked = distinct(axes, drawing(axes, self._complete, rng), ASKED, set())
            rows: list[Params] = []
            facts: list[np.ndarray] = []
            for place, params in enumerate(asked):
                if place == FEWEST and not facts:
                    break  # a family that cannot be asked at all
                exact = self._exact(params)
                if exact is not None:
                    rows.append(params)
                    facts.append(exact)
            if len(facts) >= min(FEWEST, len(asked)):
                self._fit = _Fit(self._axes, coordinates(self._axes, rows), np.array(facts))
        return self._fit


def _ordered(distribution: BaseDistribution) -> BaseDistribution:
    """Choices among numbers in their order; their logarithms where they are above 0, as whole numbers' are."""
    d = distribution
    if isinstance(d, CategoricalDistribution):
        numbers = [float(c) for c in d.choices if isinstance(c, int | float) and not isinstance(c, bool)]
        if len(numbers) < len(d.choices):
            return d
        low, high = min(numbers), max(numbers)
    elif isinstance(d, IntDistribution):
        low, high = float(d.low), float(d.high)
    else:
        return d
    return FloatDistribution(low, high, log=low > 0)


class _Fit:
    """One Gaussian process a fact; only its expectation is asked for.

    Args:
        axes: One a parameter.
        rows: ``(n, axes)`` coordinates.
        facts: ``(n, width)``.
    """

    def __init__(self, axes: Sequence[Axis], rows: np.ndarray, facts: np.ndarray) -> None:
        nothing = np.empty((len(rows), 0))
        self._encoder = Encoder(axes, rows, nothing, siblings=False)
        self._inputs = self._encoder(rows, nothing)
        self._middle = facts.mean(axis=0)
        self._spread = np.where(facts.std(axis=0) > 0, facts.std(axis=0), 1.0)
        self._kernels: list[tuple[Kernel, Any]] = []
        for y in ((facts - self._middle) / self._spread).T:
            kernel = Kernel.fit(self._inputs, y, EXACT, self._encoder.groups)
            self._kernels.append((kernel, cho_solve((factor_of(kernel, self._inputs), True), y).astype(np.float32)))
        self._measured = self._inputs.astype(np.float32)  # an approximation needs no more, and it is twice as fast

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """``(p, axes)`` coordinates to facts ``(p, width)``."""
        inputs = self._encoder(rows, np.empty((len(rows), 0))).astype(np.float32)
        columns = [kernel.between(inputs, self._measured) @ weights for kernel, weights in self._kernels]
        return np.column_stack(columns) * self._spread + self._middle
