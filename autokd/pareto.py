"""Dominance, fronts, hypervolume and knee of sets of measured values (numpy only).

Everywhere ``values`` is ``(n, m)`` float, one row a point, and ``directions`` gives ``"maximize"`` or ``"minimize"``
for each of the ``m`` columns. NaN is refused: a point that was not fully measured has no place on a front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Values = Any
"""Anything ``np.asarray`` turns into the stated shape."""


def dominates(a: Values, b: Values, directions: Sequence[str]) -> bool:
    """Whether point ``a`` ``(m,)`` is nowhere worse than ``b`` ``(m,)`` and somewhere better.

    Raises:
        ValueError: NaN, or shapes and directions that do not match.
    """
    loss_a, loss_b = _losses([a, b], directions)
    return bool((loss_a <= loss_b).all() and (loss_a < loss_b).any())


def non_dominated(values: Values, directions: Sequence[str]) -> np.ndarray:
    """Which points no other point dominates: ``(n,) bool``. Equal points do not dominate each other: all copies stay.

    Raises:
        ValueError: NaN, or shapes and directions that do not match.
    """
    losses = _losses(values, directions)
    unique, inverse = np.unique(losses, axis=0, return_inverse=True)  # lexicographically sorted
    rest = np.arange(len(unique))
    front = np.zeros(len(unique), dtype=bool)
    while len(rest):
        # In this order no later point dominates an earlier one, so the first of what is left belongs to the front.
        first = rest[0]
        front[first] = True
        rest = rest[(unique[rest] < unique[first]).any(axis=1)]
    return front[inverse.reshape(-1)]


def hypervolume(
    values: Values,
    reference: Values,
    directions: Sequence[str],
    scales: Sequence[str] | None = None,
    ideal: Values | None = None,
) -> float:
    """The volume that ``values`` dominate and ``reference`` ``(m,)`` bounds, exact.

    Each objective is measured by its gain over the reference ``r``: on a ``"linear"`` scale ``value - r`` when
    maximised and ``r - value`` when minimised; on a ``"log"`` scale the natural logarithm of ``value / r`` or
    ``r / value``. With accuracy and latency the result is therefore an area in accuracy x ln(ms), and halving a latency
    is worth the same at any size. With ``ideal`` ``(m,)`` each gain is divided by the ideal point's gain and cut at 1,
    so the result lies in [0, 1].

    A point that is not better than the reference in every objective contributes 0; so does a copy or a dominated point.

    E. Zitzler & L. Thiele, "Multiobjective evolutionary algorithms", IEEE Trans. Evol. Comp. 3(4), 1999,
    https://doi.org/10.1109/4235.797969. Two objectives: one sweep, O(n log n); a third slices into n of these.

    Raises:
        ValueError: NaN or infinite values, a value of at most 0 on a log scale, an ideal no better than the reference,
            or shapes, directions and scales that do not match.
    """
    return _volume(_front_of_gains(_gains(values, reference, directions, scales, ideal)))


def hypervolume_contributions(
    values: Values,
    reference: Values,
    directions: Sequence[str],
    scales: Sequence[str] | None = None,
    ideal: Values | None = None,
) -> np.ndarray:
    """What the :func:`hypervolume` would lose without each point: ``(n,)``. Dominated points and copies: 0.

    Raises:
        ValueError: See :func:`hypervolume`.
    """
    gains = _gains(values, reference, directions, scales, ideal)
    inside = np.flatnonzero((gains > 0).all(axis=1))
    boxes = gains[inside]
    front = non_dominated(boxes, ["maximize"] * gains.shape[1])
    total = _volume(boxes[front])
    added = np.zeros(len(gains))
    for k in np.flatnonzero(front):  # what it dominates fills a part of the gap it would leave
        added[inside[k]] = max(0.0, total - _volume(np.delete(boxes, k, axis=0)))
    return added


def gains_over(
    values: Values, reference: Values, directions: Sequence[str], scales: Sequence[str] | None = None
) -> np.ndarray:
    """Each objective's gain over the reference point ``(n, m)``, larger is better: what :func:`hypervolume` multiplies.

    Raises:
        ValueError: See :func:`hypervolume`.
    """
    return _gains(values, reference, directions, scales, None)


def knee(values: Values, directions: Sequence[str], scales: Sequence[str] | None = None) -> int:
    """The row of the best compromise: the front's point farthest from the plane through the front's extremes.

    Each objective is scaled (``"linear"`` or ``"log"``) and mapped so that the front spans [0, 1]; there the distance
    is the sum of the coordinates. The first of equals wins. On a front of two points, which both are extremes, the one does that is
    better where they differ more: in the logarithm of a cost, or in the share of a linear objective's larger value.
    I. Das, "On characterizing the 'knee' of the Pareto curve", Structural Optimization 18, 1999,
    https://doi.org/10.1007/BF01195985.

    Raises:
        ValueError: No points, or see :func:`hypervolume`.
    """
    losses = _losses(values, directions)
    if not len(losses):
        raise ValueError("a knee needs at least one point, but got none")
    members = np.flatnonzero(non_dominated(values, directions))
    scaled = _scale(np.asarray(values, dtype=float)[members], directions, scales)
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    if len(members) == 2 and (high > low).any():
        linear = np.array([scale == "linear" for scale in scales or ["linear"] * len(low)])
        size = np.where(linear, np.maximum(np.abs(low), np.abs(high)), 1.0)
        widest = int(np.argmax((high - low) / np.where(size > 0, size, 1.0)))
        return int(members[np.argmax(scaled[:, widest])])
    return int(members[np.argmax(np.round(((scaled - low) / span).sum(axis=1), 12))])


def _signs(directions: Sequence[str]) -> np.ndarray:
    unknown = [d for d in directions if d not in ("maximize", "minimize")]
    if unknown:
        raise ValueError(f"a direction must be 'maximize' or 'minimize', but got {unknown[0]!r}")
    return np.array([-1.0 if d == "maximize" else 1.0 for d in directions])


def _losses(values: Values, directions: Sequence[str]) -> np.ndarray:
    """``(n, m)``, smaller is better in every column."""
    array = np.asarray(values, dtype=float)
    signs = _signs(directions)
    if array.size == 0:
        array = array.reshape(0, len(signs))
    if array.ndim != 2 or array.shape[1] != len(signs):
        raise ValueError(f"values must have shape (n, {len(signs)}), one column a direction, but got {array.shape}")
    if np.isnan(array).any():
        raise ValueError("values must not be NaN: leave out what was not measured")
    return array * signs


def _scale(values: np.ndarray, directions: Sequence[str], scales: Sequence[str] | None) -> np.ndarray:
    """``(n, m)``, larger is better, in the scale's unit."""
    names = ["linear"] * len(directions) if scales is None else list(scales)
    if len(names) != len(directions) or any(s not in ("linear", "log") for s in names):
        raise ValueError(f"scales must be {len(directions)} times 'linear' or 'log', but got {names}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    log = np.array([s == "log" for s in names])
    if (values[:, log] <= 0).any():
        raise ValueError(f"values on a log scale must be above 0, but got {values[:, log].min()}")
    scaled = values.copy()
    scaled[:, log] = np.log(values[:, log])
    return -scaled * _signs(directions)


def _gains(
    values: Values, reference: Values, directions: Sequence[str], scales: Sequence[str] | None, ideal: Values | None
) -> np.ndarray:
    points = _losses(values, directions) * _signs(directions)
    base = _scale(_losses([reference], directions) * _signs(directions), directions, scales)[0]
    gains = _scale(points, directions, scales) - base
    if ideal is None:
        return gains
    best = _scale(_losses([ideal], directions) * _signs(directions), directions, scales)[0] - base
    if (best <= 0).any():
        raise ValueError(f"the ideal point must be better than the reference everywhere, but got {list(ideal)}")
    return np.minimum(gains / best, 1.0)


def _front_of_gains(gains: np.ndarray) -> np.ndarray:
    inside = gains[(gains > 0).all(axis=1)]
    return inside[non_dominated(inside, ["maximize"] * gains.shape[1])]


def _volume(gains: np.ndarray) -> float:
    """Volume of the union of the boxes from the origin to each row of ``(n, m)`` positive gains."""
    if not len(gains):
        return 0.0
    if gains.shape[1] == 1:
        return float(gains.max())
    ordered = gains[np.argsort(-gains[:, -1], kind="stable")]
    if gains.shape[1] == 2:
        reach = np.maximum.accumulate(ordered[:, 0])
        return float(np.sum(np.diff(reach, prepend=0.0) * ordered[:, 1]))
    # Between two heights of the last objective the cross-section is that of all points at least as high.
    below = np.append(ordered[1:, -1], 0.0)
    thickness = ordered[:, -1] - below
    return float(sum(t * _volume(ordered[: k + 1, :-1]) for k, t in enumerate(thickness) if t > 0))


USELESS = 2.5
"""A student with so many times the errors of the best one is worth nothing, where the study does not say what is."""


FEWEST_ERRORS = 0.02
"""Fewer count as so many: of a best student without any, every other one would be useless."""


def least_useful(best: float, reference: float) -> float:
    """The quality, larger is better, below which a student is worth nothing: as far as the errors of a ratio tell.

    Chance, the usual reference point of a hypervolume, would pay for a fast student that nobody wants.
    """
    if not 0 <= best <= 1:
        return reference
    return max(reference, 1 - USELESS * max(1 - best, FEWEST_ERRORS))
