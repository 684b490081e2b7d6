"""Several objectives as one loss: the augmented Chebyshev function with weights that sweep the front (numpy only).

J. Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive multiobjective optimization
problems", IEEE Trans. Evol. Comp. 10(1), 2006, https://doi.org/10.1109/TEVC.2005.851274.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

RHO = 0.05
"""Weight of the sum beside the maximum; it keeps weakly dominated points from tying with the front."""
LOG_RANGE = 10.0
"""A cost whose observed values are positive and span more than this factor is taken in its logarithm."""


def weights(number: int, objectives: int, offset: Sequence[float] | np.ndarray = ()) -> np.ndarray:
    """The weight vector of trial ``number``: ``(objectives,)``, at least 0, sum 1.

    Consecutive numbers cover the simplex evenly: an additive recurrence with the generalised golden ratio (M.
    Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), whose sorted coordinates cut [0, 1]
    into the weights.

    Args:
        number: Number of the trial.
        objectives: Number of objectives.
        offset: Start of the sequence, ``objectives - 1`` numbers in [0, 1]; by default 0.5 each.
    """
    dimensions = objectives - 1
    ratio = 2.0
    for _ in range(60):  # fixed point of ratio ** (dimensions + 1) == ratio + 1
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    start = np.asarray(offset if len(offset) else [0.5] * dimensions)
    cuts = np.sort((start + (number + 1) * ratio ** -np.arange(1.0, dimensions + 1)) % 1.0)
    return np.diff(cuts, prepend=0.0, append=1.0)


def normalise(values: np.ndarray, maximise: Sequence[bool]) -> np.ndarray:
    """``(n, m)`` values to losses in [0, 1]: 0 is the best and 1 the worst value observed of each objective.

    A minimised objective is taken in its logarithm when all its values are positive and span more than a factor of 10.
    Infinite values count as the worst (or best) finite one; an objective that never varied counts 0.
    """
    losses = np.zeros_like(values, dtype=float)
    for j, up in enumerate(maximise):
        column = np.asarray(values[:, j], dtype=float)
        finite = column[np.isfinite(column)]
        if not len(finite):
            continue
        column = np.clip(column, finite.min(), finite.max())
        if not up and finite.min() > 0 and finite.max() > LOG_RANGE * finite.min():
            column = np.log(column)
        column = -column if up else column
        span = column.max() - column.min()
        if span > 0:
            losses[:, j] = (column - column.min()) / span
    return losses


def chebyshev(losses: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``max_j w_j f_j + RHO * sum_j w_j f_j`` of each row of ``(n, m)`` losses: ``(n,)``, smaller is better."""
    weighted = losses * weight
    return weighted.max(axis=1) + RHO * weighted.sum(axis=1)


def violations(constraints: Sequence[Mapping[str, float]]) -> np.ndarray:
    """``(n,)``: the sum of each trial's violations, 0 when there are none.

    Every constraint counts relative to its largest violation, so bytes and milliseconds weigh the same.
    """
    total = np.zeros(len(constraints))
    for name in sorted({name for c in constraints for name in c}):
        amount = np.maximum([c.get(name, 0.0) for c in constraints], 0.0)
        amount = np.minimum(amount, np.finfo(float).max)
        if amount.max() > 0:
            total += amount / amount.max()
    return total
