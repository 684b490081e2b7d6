"""What a Bayesian sampler reads from a study: gains over a reference, violations, and which candidates are taken."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autokd.pareto import hypervolume, non_dominated
from autokd.samplers.beliefs import Design
from autokd.samplers.conditions import Params
from autokd.samplers.facts import Pool
from autokd.samplers.nni_space import Axis

Spent = Callable[[FrozenTrial], float | None]
"""From a finished trial to the seconds that it took."""
MARGIN = 0.1
"""An inferred reference point lies so far beyond the worst values it is taken from, as a share of their range."""
LAST = 15
"""Measurements, and a sixth of all where that is more, that are looked at to see whether a search has come to a halt."""
LITTLE = 0.005
"""It has where they enlarged the hypervolume by less than this, relative."""


@dataclass(frozen=True)
class Scale:
    """How the values of one objective become gains: larger is better, a unit is worth the same everywhere.

    Args:
        maximise: The study's direction.
        log: Whether the logarithm is meant: halving a latency is worth the same at any size.
    """

    maximise: bool
    log: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values to gains over 0 (over 1 on a log scale), same shape; NaN stays.

        Raises:
            ValueError: A value of at most 0 on a log scale.
        """
        values = np.asarray(values, dtype=float)
        if self.log:
            if (values <= 0).any():
                raise ValueError(f"values on a log scale must be above 0, but got {np.nanmin(values)}")
            values = np.log(values)
        return values if self.maximise else -values


def scales_of(
    directions: Sequence[StudyDirection],
    names: Sequence[str] | None,
    reference_point: Sequence[float | None] | None,
    known: Iterable[int | str],
) -> list[Scale]:
    """The scales of a study, when what was asked for fits it.

    Raises:
        ValueError: Another number of objectives, or no such scale.
    """
    m = len(directions)
    names = ["linear"] * m if names is None else list(names)
    if len(names) != m or any(n not in ("linear", "log") for n in names):
        raise ValueError(f"scales must be {m} times 'linear' or 'log', one an objective, but got {names}")
    if reference_point is not None and len(reference_point) != m:
        raise ValueError(f"reference_point must have {m} entries, one an objective, but got {reference_point}")
    wrong = [k for k in known if isinstance(k, int) and not 0 <= k < m]
    if wrong:
        raise ValueError(f"known must name objectives 0 to {m - 1} or constraints, but got {wrong[0]}")
    return [Scale(d == StudyDirection.MAXIMIZE, n == "log") for d, n in zip(directions, names, strict=True)]


@dataclass(frozen=True)
class Observed:
    """Finished trials, in the order in which they finished.

    Args:
        params: Their whole parameters.
        gains: ``(n, m)`` by :class:`Scale`; NaN where an objective was not measured or is infinite on the good side.
        violations: ``(n,)`` for each constraint, NaN where it was not set; above 0 is violated.
        feasible: ``(n,) bool``: measured, and no constraint violated.
        effort: ``(n,)`` natural logarithms of the seconds they took; NaN where that is not known.
    """

    params: list[Params]
    gains: np.ndarray
    violations: dict[str, np.ndarray]
    feasible: np.ndarray
    effort: np.ndarray

    @classmethod
    def read(cls, trials: Sequence[FrozenTrial], scales: Sequence[Scale], spent: Spent | None = None) -> Observed:
        """Completed trials and pruned ones; failed ones tell nothing but that they were tried.

        A pruned trial has no values, only what it violates. What it took says nothing of what a whole one takes.
        """
        done = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        done.sort(key=lambda t: (t.datetime_complete is None, t.datetime_complete, t.number))
        gains = np.full((len(done), len(scales)), math.nan)
        effort = np.full(len(done), math.nan)
        names = sorted({name for t in done for name in t.constraints})
        violations = {name: np.full(len(done), math.nan) for name in names}
        for i, trial in enumerate(done):
            if trial.state is TrialState.COMPLETE:
                gains[i] = trial.values
                seconds = None if spent is None else spent(trial)
                if seconds is not None and 0 < seconds < math.inf:
                    effort[i] = math.log(seconds)
            for name, amount in trial.constraints.items():
                violations[name][i] = amount
        for j, scale in enumerate(scales):
            gains[:, j] = _bounded(scale(gains[:, j]))
        feasible = np.isfinite(gains).all(axis=1)
        for amounts in violations.values():
            feasible &= ~(amounts > 0)
        return cls([dict(t.params) for t in done], gains, violations, feasible, effort)

    def reference(self, given: Sequence[float | None] | None, scales: Sequence[Scale], pool: Pool) -> np.ndarray:
        """The reference point in gains ``(m,)``: what is given, and for the rest what is inferred.

        Of a known objective it lies beyond the worst feasible value seen and the worst of the candidates of ``pool`` that keep
        the exact constraints, so that neither end of the front is out of sight before anything was tried there; of an
        unknown one beyond the worst value on the front (the nadir).
        """
        m = len(scales)
        base = np.full(m, -math.inf)
        rows = self.gains[self.feasible]
        if not len(rows):
            rows = self.gains[np.isfinite(self.gains).all(axis=1)]
        front = rows[non_dominated(rows, ["maximize"] * m)] if len(rows) else rows
        for j in range(m):
            value = None if given is None else given[j]
            if value is not None and not math.isnan(value):
                base[j] = scales[j](np.array([value]))[0]
                continue
            among = front[:, j] if m > 1 and j not in pool.known else rows[:, j]
            if j in pool.known:
                among = np.concatenate([among, scales[j](pool.known[j])[pool.allowed]])
            if len(among):
                reach = np.ptp(among) or np.ptp(rows[:, j] if len(rows) else among) or max(abs(among[0]), 1.0)
                base[j] = among.min() - MARGIN * reach
        return base

    def stalled(self, base: np.ndarray) -> bool:
        """Whether the last measurements have enlarged the hypervolume over ``base`` ``(m,)`` by next to nothing.

        What was refused, stopped or lost is no measurement.
        """
        measured = np.flatnonzero(np.isfinite(self.gains).all(axis=1))
        before = len(measured) - max(LAST, len(measured) // 6)
        if before < 1 or not np.isfinite(base).all():
            return False
        now = self._volume(measured, base)
        return now - self._volume(measured[:before], base) < LITTLE * now

    def _volume(self, rows: np.ndarray, base: np.ndarray) -> float:
        """Hypervolume of some measurements."""
        return hypervolume(self.gains[rows[self.feasible[rows]]], base, ["maximize"] * len(base))

    def best(self) -> list[Params]:
        """The feasible front; if nothing is feasible, all that was measured."""
        rows = np.flatnonzero(self.feasible)
        if not len(rows):
            return self.params
        front = non_dominated(self.gains[rows], ["maximize"] * self.gains.shape[1])
        return [self.params[i] for i in rows[front]]


@dataclass(frozen=True)
class View:
    """What one proposal is made from.

    Args:
        seen: The finished trials.
        scales: One an objective.
        axes: One a parameter.
        running: The candidates in flight.
        done: The finished trials as numbers.
        air: The candidates in flight as numbers.
        base: The reference point in gains ``(m,)``; not finite where it cannot be inferred yet.
        taken: The keys of all candidates tried so far.
        started: Number of trials finished or in flight.
        rng: The proposal's own.
    """

    seen: Observed
    scales: Sequence[Scale]
    axes: Sequence[Axis]
    running: Sequence[Params]
    done: Design
    air: Design
    base: np.ndarray
    taken: set[bytes]
    started: int
    rng: random.Random


def _bounded(column: np.ndarray) -> np.ndarray:
    """Infinitely bad becomes the worst finite value; infinitely good is no measurement."""
    finite = column[np.isfinite(column)]
    column = np.where(column == math.inf, math.nan, column)
    return np.where(column == -math.inf, finite.min() if len(finite) else math.nan, column)
