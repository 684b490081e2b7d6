"""What a candidate of a pool is worth a trial: the improvement that is expected of it, per second."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from autokd.samplers.acquisition import expected_improvement
from autokd.samplers.beliefs import Beliefs, Design
from autokd.samplers.facts import Pool
from autokd.samplers.observed import View
from autokd.samplers.surrogate import clipped, winsorised

CAUTION = 20.0
"""Deviations are widened by this over the number of measurements: a kernel fitted to few of them is too sure."""
EFFORT = "log seconds"
"""What the model of a trial's cost is kept under, beside objectives and constraints."""
TOLD = 4
"""Trials whose seconds must be known before a candidate's are expected."""


def worth(beliefs: Beliefs, pool: Pool, design: Design, flying: Pool, view: View, keep: bool) -> np.ndarray:
    """Expected hypervolume improvement, times the chance to be feasible, per second: ``(p,)``.

    Args:
        beliefs: The models, by objective, constraint, and for what a trial takes.
        pool: ``p`` candidates with what is known of them.
        design: The pool as numbers.
        flying: What is known of the candidates in flight.
        view: What the proposal is made from.
        keep: The same pool comes again.
    """
    seen, m = view.seen, len(view.scales)
    base = view.base.copy()
    done, air = view.done, view.air
    means, deviations = np.empty((len(pool.params), m)), np.zeros((len(pool.params), m))
    believed = np.empty((len(view.running), m))
    for j, scale in enumerate(view.scales):
        if j in pool.known:
            means[:, j], believed[:, j] = scale(pool.known[j]), scale(flying.known[j])
            continue
        rows = np.isfinite(seen.gains[:, j])
        if not rows.any():
            means[:, j], deviations[:, j], believed[:, j], base[j] = 0.0, 1.0, 0.0, 0.0
            continue
        means[:, j], deviations[:, j], believed[:, j] = beliefs.expect(
            j, view.axes, done[rows], seen.gains[rows, j], air, design, keep=keep, tamed=winsorised
        )
    deviations *= 1.0 + CAUTION / max(len(seen.params), 1)
    base = np.where(np.isfinite(base), base, means.min(axis=0))
    front = np.concatenate([seen.gains[seen.feasible], believed[np.isfinite(believed).all(axis=1)]])
    # The unknown objectives go first, the known ones, which cost nothing to cut, last.
    order = sorted(range(m), key=lambda j: j in pool.known)
    score = expected_improvement((means - base)[:, order], deviations[:, order], (front - base)[:, order])
    score = np.where(pool.allowed, score, 0.0)
    for name, amounts in seen.violations.items():
        rows = np.isfinite(amounts)
        if name not in pool.known and (amounts[rows] > 0).any():
            mean, deviation, _ = beliefs.expect(
                name, view.axes, done[rows], amounts[rows], air, design, keep=keep, tamed=clipped
            )
            score = score * ndtr(-mean / deviation)
    rows = np.isfinite(seen.effort)
    if rows.sum() < TOLD:
        return score / np.maximum(pool.cost, 1e-12)
    told = seen.effort[rows]
    effort, _, _ = beliefs.expect(EFFORT, view.axes, done[rows], told, air, design, keep=keep, tamed=clipped)
    return score / np.exp(np.clip(effort, told.min() - 1.0, told.max() + 1.0))
