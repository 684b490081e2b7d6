"""A Gaussian process that learns what cannot be known beforehand from parameters and free facts (numpy and scipy only).

C. E. Rasmussen & C. K. I. Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, chapters 2, 4 and 5.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.linalg import lapack, solve_triangular
from scipy.optimize import minimize

from autokd.samplers.nni_space import Axis

JITTER = 1e-8
"""Added to the noise variance, so that equal candidates do not make the covariance singular."""
ITERATIONS = 40
"""Of L-BFGS; the prior keeps what it has not found by then sensible."""
REFIT = 1.1
"""The kernel is fitted anew after so many times as many measurements."""
WIDE = 10.0
"""A positive fact that spans more than this factor is taken in its logarithm."""
CUT = 4.0
"""Standard deviations at which a fact is cut."""
FENCE = 1.5
"""A target further below the lower quartile than so many interquartile ranges is raised to there: how bad an
outlier is says nothing about the front (J. Tukey, "Exploratory Data Analysis", 1977)."""

BLOCK = 32_768
"""Numbers of a covariance matrix that are computed at once: they fit the cache."""

_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Prior:
    """Normal priors of the logarithms of the hyperparameters: mean and standard deviation each."""

    signal: tuple[float, float] = (0.0, 1.5)
    noise: tuple[float, float] = (-4.0, 1.5)
    linear: tuple[float, float] = (-1.0, 1.5)
    length: tuple[float, float] = (0.5, 1.0)


@dataclass(frozen=True)
class Kernel:
    """Covariance ``signal * matern52(distance) + linear * x . x' / d``, the distance with a length a column.

    The linear part carries the trend beyond what was tried; the other one everything else.

    Args:
        signal, linear: Variances.
        noise: Variance of a measurement around its expectation.
        lengths: ``(d,)``.
    """

    signal: float
    linear: float
    noise: float
    lengths: np.ndarray

    @classmethod
    def of(cls, theta: np.ndarray) -> Kernel:
        """From the logarithms ``(3 + d,)``."""
        signal, noise, linear = np.exp(theta[:3])
        return cls(float(signal), float(linear), float(noise), np.exp(theta[3:]))

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Covariances ``(n, k)`` of the expectations at ``(n, d)`` and ``(k, d)``, in their precision."""
        lengths = self.lengths.astype(a.dtype)
        za, zb = a / lengths, b / lengths
        # not `_squared`: of b, which may be a pool, every block would take the norms anew
        na, nb = np.einsum("ij,ij->i", za, za)[:, None], np.einsum("ij,ij->i", zb, zb)
        covariance = za @ zb.T
        step = max(1, BLOCK // max(len(b), 1))
        for rows in (slice(start, start + step) for start in range(0, len(a), step)):
            block = covariance[rows]
            block *= -2.0
            block += na[rows]
            block += nb
            _correlate(np.maximum(block, 0.0, out=block))
            block *= self.signal
            block += (self.linear / a.shape[1] * a[rows]) @ b.T
        return covariance

    def at(self, a: np.ndarray) -> np.ndarray:
        """Variances ``(n,)`` of the expectations at ``(n, d)``."""
        return self.signal + self.linear / a.shape[1] * np.einsum("ij,ij->i", a, a)

    @classmethod
    def fit(
        cls, inputs: np.ndarray, targets: np.ndarray, prior: Prior | None = None, groups: np.ndarray | None = None
    ) -> Kernel:
        """The most probable kernel under the prior: marginal likelihood climbed by L-BFGS with analytic gradients.

        Args:
            inputs: ``(n, d)``.
            targets: ``(n,)``, standardised.
            prior: Of the hyperparameters.
            groups: ``(d,)`` numbers from 0: columns of one group share a length. Without, each has its own.
        """
        d = inputs.shape[1]
        groups = np.arange(d) if groups is None else groups
        prior = prior or Prior()
        means, deviations = np.array([prior.signal, prior.noise, prior.linear] + [prior.length] * (groups.max() + 1)).T
        best = minimize(
            _negative_log_posterior,
            means,
            args=(inputs, targets, means, deviations, groups),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-9.0, 7.0)] * len(means),
            options={"maxiter": ITERATIONS},
        )
        return cls.of(np.concatenate([best.x[:3], best.x[3:][groups]]))


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = -2.0 * (a @ b.T)
    total += np.einsum("ij,ij->i", a, a)[:, None]
    total += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(total, 0.0, out=total)


def _correlate(squared: np.ndarray) -> None:
    """Squared distances become the Matern 5/2 correlation, in their place."""
    r = np.sqrt(squared)
    r *= _ROOT5
    squared *= 5.0 / 3.0
    squared += r
    squared += 1.0
    np.negative(r, out=r)
    squared *= np.exp(r, out=r)


def _matern(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Matern 5/2 correlation at squared distances, and minus its derivative by them."""
    r = np.sqrt(squared)
    r *= _ROOT5
    decay = np.exp(-r)
    slope = (1.0 + r) * decay
    return slope + (5.0 / 3.0) * squared * decay, (5.0 / 6.0) * slope


def _negative_log_posterior(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, means: np.ndarray, deviations: np.ndarray, groups: np.ndarray
) -> tuple[float, np.ndarray]:
    n, d = x.shape
    kernel = Kernel.of(np.concatenate([theta[:3], theta[3:][groups]]))
    z = x / kernel.lengths
    squared = _squared(z, z)
    np.fill_diagonal(squared, 0.0)
    matern, slope = _matern(squared)
    dot = x @ x.T / d
    covariance = kernel.signal * matern + kernel.linear * dot
    covariance[np.diag_indices(n)] += kernel.noise + JITTER
    factor, failed = lapack.dpotrf(covariance, lower=1)
    if failed:
        return 1e12, np.zeros_like(theta)
    inverse, _ = lapack.dpotri(factor, lower=1)  # its lower half; the upper one is zero, as the factor's is
    inverse = inverse + inverse.T
    inverse[np.diag_indices(n)] *= 0.5
    alpha = inverse @ y
    value = 0.5 * y @ alpha + np.log(np.diag(factor)).sum()
    weight = 0.5 * (inverse - np.outer(alpha, alpha))  # the derivative by the covariance
    gradient = np.empty_like(theta)
    gradient[0] = kernel.signal * np.sum(weight * matern)
    gradient[1] = kernel.noise * np.trace(weight)
    gradient[2] = kernel.linear * np.sum(weight * dot)
    # A length l scales (z_i - z_j)^2 by -2 per d log l; summed over all pairs without forming them.
    pull = weight * slope * kernel.signal
    lengths = 4.0 * (pull.sum(axis=1) @ (z * z) - np.einsum("ij,ij->j", z, pull @ z))
    gradient[3:] = np.bincount(groups, lengths)
    step = (theta - means) / deviations
    return float(value + 0.5 * step @ step), gradient + step / deviations


class Posterior:
    """What a kernel and measurements say about a fixed pool; a measurement is added cheaply.

    Args:
        kernel: The covariance.
        pool: ``(p, d)`` inputs that are asked about.
        inputs: ``(n, d)`` inputs of the measurements so far.
        factor: What :func:`factor_of` gives for these inputs, if it is at hand.
    """

    def __init__(self, kernel: Kernel, pool: np.ndarray, inputs: np.ndarray, factor: np.ndarray | None = None) -> None:
        self.kernel = kernel
        self.pool = pool
        self.inputs = inputs
        self._factor = factor_of(kernel, inputs) if factor is None else factor
        solved = solve_triangular(self._factor, kernel.between(inputs, pool), lower=True)
        self._solved = [solved]  # blocks of rows, (n, p) together: what is added must not copy the rest
        self._variance = kernel.at(pool) - np.einsum("ij,ij->j", solved, solved)

    def add(self, x: np.ndarray) -> Posterior:
        """This posterior with one more measured input ``(d,)``, in O(n p)."""
        n = len(self.inputs)
        row = solve_triangular(self._factor, self.kernel.between(self.inputs, x[None])[:, 0], lower=True)
        rest = float(self.kernel.at(x[None])[0]) + self.kernel.noise + JITTER - row @ row
        pivot = math.sqrt(max(rest, JITTER))
        more = object.__new__(Posterior)
        more.kernel, more.pool, more.inputs = self.kernel, self.pool, np.vstack([self.inputs, x])
        more._factor = np.zeros((n + 1, n + 1))
        more._factor[:n, :n] = self._factor
        more._factor[n, :n], more._factor[n, n] = row, pivot
        new = (self.kernel.between(x[None], self.pool)[0] - self._times(row)) / pivot
        more._solved = [*self._solved, new[None]]
        more._variance = self._variance - new * new
        return more

    def _times(self, weights: np.ndarray) -> np.ndarray:
        ends = np.cumsum([len(block) for block in self._solved])
        parts = zip(np.split(weights, ends[:-1]), self._solved, strict=True)
        return np.sum([w @ block for w, block in parts], axis=0)

    def mean(self, targets: np.ndarray) -> np.ndarray:
        """Expectations ``(p,)`` given the measured targets ``(n,)``."""
        return self._times(solve_triangular(self._factor, targets, lower=True))

    def variance(self) -> np.ndarray:
        """Variances ``(p,)`` of a measurement at each input of the pool, its noise included."""
        return np.maximum(self._variance, 0.0) + self.kernel.noise


def factor_of(kernel: Kernel, inputs: np.ndarray) -> np.ndarray:
    """The Cholesky factor ``(n, n)`` of measurements' covariance, lower."""
    covariance = kernel.between(inputs, inputs)
    covariance[np.diag_indices(len(inputs))] += kernel.noise + JITTER
    return np.linalg.cholesky(covariance)


def winsorised(gains: np.ndarray) -> np.ndarray:
    """``(n,)`` gains with low outliers raised to the fence below the lower quartile."""
    low, high = np.quantile(gains, [0.25, 0.75])
    return np.maximum(gains, low - FENCE * (high - low))


def clipped(amounts: np.ndarray) -> np.ndarray:
    """``(n,)`` amounts cut at a fence on both sides."""
    return -winsorised(-winsorised(amounts))


class Encoder:
    """Parameters and facts as the columns of a Gaussian process.

    A choice becomes one column an option, a number its share of the range; a parameter that is not always active gets a
    column that says whether it is. A fact is taken in its logarithm when it is positive and spans more than a factor of
    ten, then standardised; what is not finite counts as the lowest. ``groups`` ``(d,)`` numbers what a column belongs to:
    the options of a choice are as far from each other as the data say, but all by one length.

    Choices among the same options whose names differ in digits only, such as the operations of a cell's edges, are
    siblings: what an option is worth in one it is roughly worth in the others. So an option has one length in all of them,
    and a column each counts how often an option occurs.

    Args:
        axes: One a parameter.
        rows: ``(n, axes)`` coordinates to learn the scales from.
        facts: ``(n, f)`` facts to learn the scales from.
        siblings: Whether siblings are told from other choices.
    """

    def __init__(self, axes: Sequence[Axis], rows: np.ndarray, facts: np.ndarray, siblings: bool = True) -> None:
        self.axes = [(j, axis) for j, axis in enumerate(axes) if not axis.distribution.single()]
        self._partly = np.isnan(rows).any(axis=0) if len(rows) else np.zeros(len(axes), dtype=bool)
        self._siblings = _siblings(self.axes) if siblings else []
        first = {j: group[0] for group in self._siblings for j in group}
        groups: list[object] = []
        for j, axis in self.axes:
            if j in first:
                groups += [(first[j], option) for option in range(axis.size or 0)]
            else:
                groups += [j] * (axis.size if axis.size is not None else 1 + int(self._partly[j]))
        for own in self._siblings:
            groups += [("count", own[0], option) for option in range(axes[own[0]].size or 0)]
        groups += [("fact", k) for k in range(facts.shape[1])]
        places = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        self.groups = np.array([places[group] for group in groups] or [0])
        self._log, self._low, self._middle, self._spread = [], [], [], []
        for column in facts.T:
            finite = column[np.isfinite(column)]
            log = bool(len(finite) and finite.min() > 0 and finite.max() > WIDE * finite.min())
            finite = np.log(finite) if log else finite
            self._log.append(log)
            self._low.append(finite.min() if len(finite) else 0.0)
            self._middle.append(finite.mean() if len(finite) else 0.0)
            self._spread.append((finite.std() if len(finite) else 0.0) or 1.0)

    def __call__(self, rows: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """``(n, axes)`` coordinates and ``(n, f)`` facts to inputs ``(n, d)``."""
        columns = []
        for j, axis in self.axes:
            x = rows[:, j]
            active = ~np.isnan(x)
            if axis.size is not None:
                columns.append((x[:, None] == np.arange(axis.size)).astype(float))
                continue
            share = np.where(active, (x - axis.low) / (axis.high - axis.low), 0.5)
            columns.append((2.0 * math.sqrt(3.0) * (share - 0.5))[:, None])
            if self._partly[j]:
                columns.append(active.astype(float)[:, None])
        for group in self._siblings:
            size = next(axis.size for j, axis in self.axes if j == group[0]) or 1
            counts = (rows[:, group, None] == np.arange(size)).sum(axis=1)
            columns.append(counts / math.sqrt(len(group) * (size - 1)) * size)  # of random draws the deviation is 1
        for k, column in enumerate(facts.T):
            if self._log[k]:
                column = np.log(np.where(column > 0, column, math.nan))
            column = np.where(np.isfinite(column), column, self._low[k])
            columns.append(np.clip((column - self._middle[k]) / self._spread[k], -CUT, CUT)[:, None])
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(rows), 1))


def _siblings(axes: Sequence[tuple[int, Axis]]) -> list[list[int]]:
    """Columns of choices that are alike, two or more together."""
    found: dict[object, list[int]] = {}
    for j, axis in axes:
        if isinstance(axis.distribution, CategoricalDistribution):
            found.setdefault((re.sub(r"\d+", "#", axis.name), repr(axis.distribution.choices)), []).append(j)
    return [columns for columns in found.values() if len(columns) > 1]


def refit_at(n: int) -> int:
    """The number of measurements, at most ``n``, whose kernel is used with ``n``: the fits get rarer."""
    at = 2
    while max(at + 1, int(at * REFIT)) <= n:
        at = max(at + 1, int(at * REFIT))
    return min(at, n)
