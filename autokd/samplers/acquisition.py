"""Expected hypervolume improvement in closed form, where some objectives are known exactly (numpy and scipy only).

Everything is in gains: what an objective is better than the reference point by, larger is better. Then the reference is
the origin, and a point whose gain is not positive everywhere adds nothing.

M. Emmerich, A. Deutz & J. Klinkenberg, "Hypervolume-based expected improvement: monotonicity properties and exact
computation", IEEE CEC 2011, https://doi.org/10.1109/CEC.2011.5949880; the sum over boxes as in S. Daulton, M. Balandat &
E. Bakshy, "Differentiable expected hypervolume improvement for parallel multi-objective Bayesian optimization", NeurIPS
2020, https://arxiv.org/abs/2006.05078.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.special import ndtr

from autokd.pareto import non_dominated

LARGEST_FRONT = {1: 1, 2: 10_000, 3: 48, 4: 16}
"""Members of the front that are kept, by the number of objectives: the number of boxes grows with power ``m - 1``."""
LARGEST_FRONT_BEYOND = 8
CHUNK = 2_000_000
"""Numbers in an intermediate array: 16 MB."""


def boxes(front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint boxes that fill what no member of a front dominates.

    The last objective is cut at the members' heights; within a slice, the members that reach above it are projected.

    Args:
        front: ``(k, m)`` gains. Rows without a positive gain in every objective do not matter.

    Returns:
        ``(boxes, m)`` lower and upper corners within the positive orthant; the upper ones may be infinite.
    """
    front = np.asarray(front, dtype=float)
    inside = front[(front > 0).all(axis=1)]
    return _boxes(_thinned(np.unique(inside, axis=0)))


def _boxes(front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    m = front.shape[1]
    if m == 1:
        best = front.max(initial=0.0)
        return np.array([[best]]), np.array([[math.inf]])
    heights = np.concatenate([[0.0], np.unique(front[:, -1]), [math.inf]])
    lower, upper = [], []
    for low, high in itertools.pairwise(heights):
        below_low, below_high = _boxes(_best(front[front[:, -1] >= high, :-1]))
        lower.append(np.column_stack([below_low, np.full(len(below_low), low)]))
        upper.append(np.column_stack([below_high, np.full(len(below_low), high)]))
    return np.concatenate(lower), np.concatenate(upper)


def _best(points: np.ndarray) -> np.ndarray:
    if points.shape[1] == 1:
        return points.max(axis=0, keepdims=True) if len(points) else points
    return np.unique(points[non_dominated(points, ["maximize"] * points.shape[1])], axis=0)


def _thinned(front: np.ndarray) -> np.ndarray:
    """The front, or, of a large one in three and more objectives, members that are far from each other."""
    front = _best(front)
    most = LARGEST_FRONT.get(front.shape[1], LARGEST_FRONT_BEYOND)
    if len(front) <= most:
        return front
    scaled = front / front.max(axis=0)
    kept = [int(np.argmax(scaled.prod(axis=1)))]
    distance = np.full(len(front), math.inf)
    while len(kept) < most:
        distance = np.minimum(distance, ((scaled - scaled[kept[-1]]) ** 2).sum(axis=1))
        kept.append(int(np.argmax(distance)))
    return front[sorted(kept)]


def expected_excess(mean: np.ndarray, deviation: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """``E[max(0, y - level)]`` of normal ``y``: ``(n, levels)``; of a deviation of 0 exactly ``max(0, mean - level)``.

    Args:
        mean: ``(n,)``.
        deviation: ``(n,)``, at least 0.
        levels: ``(levels,)``; at an infinite one the excess is 0.
    """
    finite = np.isfinite(levels)
    gap = mean[:, None] - np.where(finite, levels, 0.0)
    if deviation.any():
        spread = np.maximum(deviation, 1e-12)[:, None]
        z = gap / spread
        excess = gap * ndtr(z) + spread * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    else:
        excess = gap
    return np.where(finite, np.maximum(excess, 0.0), 0.0)


def expected_improvement(means: np.ndarray, deviations: np.ndarray, front: np.ndarray) -> np.ndarray:
    """By how much the hypervolume is expected to grow with each candidate: ``(n,)``, exact.

    A box contributes the product over the objectives of the expected length of its side that the candidate dominates;
    the objectives are independent and normal. With one objective this is the expected improvement of D. Jones et al.,
    1998, https://doi.org/10.1023/A:1008306431147. In four and more objectives a large front is thinned, so that the
    result is an upper bound.

    Args:
        means: ``(n, m)`` gains.
        deviations: ``(n, m)`` their standard deviations; 0 where the gain is known.
        front: ``(k, m)`` gains of the candidates measured so far.
    """
    lower, upper = boxes(front)
    n, m = means.shape
    out = np.empty(n)
    step = max(1, CHUNK // len(lower))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        total: np.ndarray | None = None
        for j in range(m):
            levels, where = np.unique(np.concatenate([lower[:, j], upper[:, j]]), return_inverse=True)
            excess = expected_excess(means[rows, j], deviations[rows, j], levels)
            low, high = where[: len(lower)], where[len(lower) :]
            side = excess[:, low] - excess[:, high]
            total = side if total is None else total * side
        assert total is not None
        out[rows] = total.sum(axis=1)
    return np.maximum(out, 0.0)
