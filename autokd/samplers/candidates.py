"""The pool that the next candidate is chosen from: drawn, bred and told apart as rows of coordinates, thousands at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from autokd.samplers.conditions import Completion, Params, coordinates, drawn, snapped
from autokd.samplers.nni_space import MISSING, Axis

STEP = 0.15
"""Standard deviation of a mutated number, as a share of its range."""
ANEW = 0.2
"""Share of the mutated numbers that are drawn from the whole range instead."""
FURTHER = 0.35
"""After each mutated parameter, the chance that one more is mutated."""
CROSSED = 0.3
"""Share of the children that have two parents."""
ROUNDS = 4
"""So many times as many candidates are looked at as are wanted, before a space counts as used up."""


def key(params: Mapping[str, Any]) -> str:
    """What two equal candidates have in common; it tells ``True`` from ``1``."""
    return repr(sorted(params.items(), key=_name))


def _name(item: tuple[str, Any]) -> str:
    return item[0]


def keys_of(rows: np.ndarray) -> list[bytes]:
    """What two equal rows of coordinates ``(n, axes)`` have in common."""
    rows = np.ascontiguousarray(rows) + 0.0  # -0.0 is 0.0
    rows[np.isnan(rows)] = math.nan  # of the many NaNs one
    return [row.tobytes() for row in rows]


class Candidates(Sequence[Params]):
    """Whole candidates that are kept as coordinates; a dictionary is made of one only when it is asked for.

    Args:
        axes: One a parameter.
        rows: ``(n, axes)`` coordinates, NaN where a parameter is not active.
    """

    def __init__(self, axes: Sequence[Axis], rows: np.ndarray) -> None:
        self.axes, self.rows = tuple(axes), rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Params: ...
    @overload
    def __getitem__(self, index: slice) -> Candidates: ...
    def __getitem__(self, index: int | slice) -> Params | Candidates:
        if isinstance(index, slice):
            return self.take(index)
        row = self.rows[index].tolist()
        return {a.name: a.decode(x) for a, x in zip(self.axes, row, strict=True) if not math.isnan(x)}

    def __iter__(self) -> Iterator[Params]:
        return (self[i] for i in range(len(self)))

    def told(self, which: Sequence[int]) -> Iterator[tuple[str, Params]]:
        """What :func:`key` gives for some of them, and their dictionaries: a value is decoded once for all."""
        columns = []
        for axis, x in zip(self.axes, self.rows[list(which)].T, strict=True):
            levels, back = np.unique(x, return_inverse=True)
            values = [None if math.isnan(v) else axis.decode(v) for v in levels.tolist()]
            cells = [None if math.isnan(v) else (axis.name, value) for v, value in zip(levels, values, strict=True)]
            texts = [repr(cell) for cell in cells]
            columns.append([(cells[i], texts[i]) for i in back.tolist()])
        order = sorted(range(len(self.axes)), key=lambda j: self.axes[j].name)
        for row in zip(*columns, strict=True):
            params = dict(cell for cell, _ in row if cell is not None)
            yield f"[{', '.join([row[j][1] for j in order if row[j][0] is not None])}]", params

    def take(self, which: slice | np.ndarray) -> Candidates:
        """Some of them."""
        return Candidates(self.axes, self.rows[which])

    def under(self, axes: Sequence[Axis]) -> np.ndarray:
        """Their coordinates ``(n, axes)`` on other axes, by name."""
        if tuple(axes) == self.axes:
            return self.rows
        places = {a.name: j for j, a in enumerate(self.axes)}
        columns = np.full((len(self), len(axes)), math.nan)
        for k, axis in enumerate(axes):
            if axis.name in places:
                own, x = self.axes[places[axis.name]], self.rows[:, places[axis.name]]
                columns[:, k] = x if own == axis else _translated(own, axis, x)
        return columns

    @cached_property
    def keys(self) -> list[bytes]:
        """What :func:`keys_of` gives for each."""
        return keys_of(self.rows)

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {k: i for i, k in enumerate(self.keys)}

    def free(self, taken: set[bytes]) -> np.ndarray:
        """``(n,) bool``: whether a candidate's key is not in ``taken``."""
        free = np.ones(len(self), dtype=bool)
        free[[self._places[k] for k in taken if k in self._places]] = False
        return free


def _translated(own: Axis, other: Axis, x: np.ndarray) -> np.ndarray:
    levels, back = np.unique(x, return_inverse=True)
    return other.encode([MISSING if math.isnan(v) else own.decode(v) for v in levels.tolist()])[back]


def rows_of(axes: Sequence[Axis], params: Sequence[Params]) -> np.ndarray:
    """``(n, axes)`` coordinates of candidates of either kind, NaN where a parameter is not active."""
    return params.under(axes) if isinstance(params, Candidates) else coordinates(axes, params)


def grid(axes: Sequence[Axis], most: int) -> Candidates | None:
    """Every candidate of a space without conditions, or ``None`` when there are more than ``most``."""
    if math.prod(map(_size, axes)) > most:
        return None
    columns = [np.unique(snapped(axis, _numbered(axis))) for axis in axes]
    return Candidates(axes, np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns)))


def _size(axis: Axis) -> float:
    """Number of values, infinite for a continuous one."""
    d = axis.distribution
    if axis.size is not None:
        return axis.size
    if d.single():
        return 1
    step = getattr(d, "step", None)
    return math.inf if step is None else math.floor((d.high - d.low) / step + 1e-9) + 1  # type: ignore[attr-defined]


def _numbered(axis: Axis) -> np.ndarray:
    count = np.arange(_size(axis))
    d = axis.distribution
    if getattr(d, "log", False):
        return np.log(d.low + count)  # type: ignore[attr-defined]
    return count if axis.size is not None or getattr(d, "step", None) is not None else axis.low + count


Source = Callable[[int], np.ndarray]
"""From a number of candidates wanted to as many rows of coordinates, drawn anew at each call."""


def drawing(axes: Sequence[Axis], complete: Completion, rng: np.random.Generator) -> Source:
    """Candidates drawn at random."""
    return lambda count: complete.rows(axes, np.full((count, len(axes)), math.nan), rng)


def breeding(parents: np.ndarray, axes: Sequence[Axis], complete: Completion, rng: np.random.Generator) -> Source:
    """Mutations and crossings of whole candidates ``(parents, axes)``; what a change makes active is drawn."""
    movable = np.array([not axis.distribution.single() for axis in axes])

    def children(count: int) -> np.ndarray:
        rows = parents[rng.integers(len(parents), size=count)]
        if len(parents) > 1:
            others = parents[rng.integers(len(parents), size=count)]
            crossed = (rng.random(count) < CROSSED)[:, None] & (rng.random(rows.shape) < 0.5) & ~np.isnan(others)
            rows = np.where(crossed, others, rows)
        # Of the active parameters, in an order of chance, the first is mutated, and each next one with a chance.
        order = np.where(movable & ~np.isnan(rows), rng.random(rows.shape), math.inf)
        mutated = rng.geometric(1.0 - FURTHER, size=count)
        chosen = (order.argsort(axis=1).argsort(axis=1) < mutated[:, None]) & np.isfinite(order)
        for j, axis in enumerate(axes):
            which = np.flatnonzero(chosen[:, j])
            if len(which):
                rows[which, j] = _moved(axis, rows[which, j], rng)
        return complete.rows(axes, rows, rng)

    return children


def _moved(axis: Axis, here: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another choice ``(n,)``, or a number near by; some numbers are drawn from the whole range."""
    if axis.size is not None:
        return snapped(axis, (here + rng.integers(1, axis.size, size=len(here))) % axis.size)
    there = snapped(axis, here + rng.normal(0.0, STEP * (axis.high - axis.low), size=len(here)))
    same = (there == here) | (rng.random(len(here)) < ANEW)
    return np.where(same, drawn(axis, len(here), rng), there)


def distinct(axes: Sequence[Axis], source: Source, count: int, taken: set[bytes]) -> Candidates:
    """Up to ``count`` candidates whose keys are not in ``taken``, which they join."""
    batches, wanted = [np.empty((0, len(axes)))], count
    for _ in range(ROUNDS):
        batch = source(count)
        kept: list[int] = []
        for i, k in enumerate(keys_of(batch)):
            if k not in taken and len(kept) < wanted:
                taken.add(k)
                kept.append(i)
        batches.append(batch[kept])
        wanted -= len(kept)
        if not wanted:
            break
    return Candidates(axes, np.concatenate(batches))
