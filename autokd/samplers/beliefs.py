"""What is expected of every candidate of a pool, from what was measured and what is in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autokd.samplers.candidates import rows_of
from autokd.samplers.facts import Pool
from autokd.samplers.nni_space import Axis
from autokd.samplers.surrogate import Encoder, Kernel, Posterior, factor_of, refit_at

GOLDEN = (5**0.5 - 1) / 2
NEAR = 0.05
"""Share of the pool on either side of the aim."""


@dataclass(frozen=True)
class Design:
    """Candidates as numbers.

    Args:
        rows: ``(n, axes)`` coordinates, NaN where a parameter is not active.
        facts: ``(n, f)`` free facts.
    """

    rows: np.ndarray
    facts: np.ndarray

    def __getitem__(self, which: slice | np.ndarray) -> Design:
        return Design(self.rows[which], self.facts[which])

    def __len__(self) -> int:
        return len(self.rows)

    def beside(self, other: Design) -> Design:
        """These candidates, then the others."""
        return Design(np.concatenate([self.rows, other.rows]), np.concatenate([self.facts, other.facts]))


def design_of(pool: Pool, axes: Sequence[Axis]) -> Design:
    """A pool as numbers."""
    return Design(rows_of(axes, pool.params), pool.facts)


def spread(axes: Sequence[Axis], pool: Design, used: Design, known: Sequence[np.ndarray], count: int) -> np.ndarray:
    """How well each candidate fills the space beside ``used``: ``(p,)``, the squared distance to the nearest.

    Those come first whose known objectives lie where the golden ratio's sequence aims: it fills their range evenly.
    """
    encoder = Encoder(axes, pool.rows, pool.facts)
    inputs = encoder(pool.rows, pool.facts)
    closest = np.full(len(inputs), np.inf)
    for row in encoder(used.rows, used.facts):
        closest = np.minimum(closest, ((inputs - row) ** 2).sum(axis=1))
    score = np.where(np.isfinite(closest), closest, 0.0)
    aim = ((count + 0.5) * GOLDEN) % 1.0
    for values in known:
        share = np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)
        score = np.where(np.abs(share - aim) < NEAR, score, score - 1e6)
    return score


@dataclass
class _Fitted:
    """The kernel of the first ``at`` measurements, and a posterior over a fixed pool that grows with the later ones."""

    signature: bytes
    at: int
    encoder: Encoder
    kernel: Kernel
    pool: Design | None = None
    posterior: Posterior | None = None
    _factored: tuple[np.ndarray, np.ndarray] | None = None

    def factor_for(self, x: np.ndarray) -> np.ndarray:
        """The factor of the measured inputs ``(n, d)``; several pools of one proposal share it."""
        if self._factored is None or not np.array_equal(self._factored[0], x):
            self._factored = x, factor_of(self.kernel, x)
        return self._factored[1]


@dataclass
class Beliefs:
    """Gaussian processes by label; what it keeps between calls saves time and changes no result."""

    _kept: dict[int | str, _Fitted] = field(default_factory=dict)

    def expect(
        self,
        label: int | str,
        axes: Sequence[Axis],
        seen: Design,
        targets: np.ndarray,
        running: Design,
        pool: Design,
        *,
        keep: bool = False,
        tamed: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and standard deviation of a measurement of each candidate, and the mean of what is in flight.

        Args:
            label: Which quantity.
            axes: One a parameter.
            seen: ``n`` measured candidates, in the order in which they were measured; at least one.
            targets: ``(n,)`` what was measured.
            running: ``r`` candidates in flight: they lower the deviation around them, and leave the mean.
            pool: ``p`` candidates.
            keep: The same pool comes again: its posterior is worth keeping.
            tamed: Cuts outliers among targets.

        Returns:
            ``(p,)``, ``(p,)`` and ``(r,)``.
        """
        fitted = self._fitted(label, axes, seen, targets, tamed)
        y, middle, spread = _standardised(tamed(targets))
        x = fitted.encoder(seen.rows, seen.facts)
        posterior = self._grown(fitted, pool, x) if keep else self._whole(fitted, pool, x)
        mean = posterior.mean(y)
        believed = np.empty(0)
        if len(running):
            flying = fitted.encoder(running.rows, running.facts)
            believed = Posterior(fitted.kernel, flying, x, fitted.factor_for(x)).mean(y)
            for new in flying:
                posterior = posterior.add(new)
        return mean * spread + middle, np.sqrt(posterior.variance()) * spread, believed * spread + middle

    def _grown(self, fitted: _Fitted, pool: Design, x: np.ndarray) -> Posterior:
        """Always from the measurements of the fit, one by one: rounding does not depend on what is kept."""
        posterior = fitted.posterior
        # a trial that ended earlier may come to be seen later: then the order is another one
        if (
            fitted.pool is not pool
            or posterior is None
            or not np.array_equal(posterior.inputs, x[: len(posterior.inputs)])
        ):
            posterior = Posterior(fitted.kernel, fitted.encoder(pool.rows, pool.facts), x[: fitted.at])
        for new in x[len(posterior.inputs) :]:
            posterior = posterior.add(new)
        fitted.pool, fitted.posterior = pool, posterior
        return posterior

    def _whole(self, fitted: _Fitted, pool: Design, x: np.ndarray) -> Posterior:
        inputs = fitted.encoder(pool.rows, pool.facts)
        return Posterior(fitted.kernel, inputs, x, fitted.factor_for(x))

    def _fitted(
        self,
        label: int | str,
        axes: Sequence[Axis],
        seen: Design,
        targets: np.ndarray,
        tamed: Callable[[np.ndarray], np.ndarray],
    ) -> _Fitted:
        at = refit_at(len(seen))
        first, y = seen[:at], targets[:at]
        names = repr([(a.name, a.distribution) for a in axes]).encode()
        signature = names + first.rows.tobytes() + first.facts.tobytes() + y.tobytes()
        fitted = self._kept.get(label)
        if fitted is None or fitted.signature != signature:
            encoder = Encoder(axes, first.rows, first.facts)
            kernel = Kernel.fit(encoder(first.rows, first.facts), _standardised(tamed(y))[0], groups=encoder.groups)
            fitted = self._kept[label] = _Fitted(signature, at, encoder, kernel)
        return fitted


def _standardised(targets: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Targets with mean 0 and variance 1, and what to add and multiply to have them back."""
    middle, spread = float(targets.mean()), float(targets.std()) or 1.0
    return (targets - middle) / spread, middle, spread
