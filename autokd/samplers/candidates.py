"""The pool that the next candidate is chosen from: whole parameter dictionaries, and the free facts about them."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autokd.samplers.conditions import Completion, Params, coordinate, draw
from autokd.samplers.nni_space import Axis

STEP = 0.15
"""Standard deviation of a mutated number, as a share of its range."""
FURTHER = 0.35
"""After each mutated parameter, the chance that one more is mutated."""
CROSSED = 0.3
"""Share of the children that have two parents."""
REMEMBERED = 200_000
"""Candidates whose facts are kept, the latest: drawn pools never end."""

_log = logging.getLogger(__name__)


def key(params: Mapping[str, Any]) -> str:
    """What two equal candidates have in common; it tells ``True`` from ``1``."""
    return repr(sorted(params.items(), key=_name))


def _name(item: tuple[str, Any]) -> str:
    return item[0]


def grid(axes: Sequence[Axis], most: int) -> list[Params] | None:
    """Every candidate of a space without conditions, or ``None`` when there are more than ``most``."""
    sizes = [_size(axis) for axis in axes]
    if math.prod(sizes) > most:
        return None
    values = [[axis.decode(_coordinate(axis, i)) for i in range(int(n))] for axis, n in zip(axes, sizes, strict=True)]
    return [dict(zip([a.name for a in axes], row, strict=True)) for row in itertools.product(*values)]


def _size(axis: Axis) -> float:
    """Number of values, infinite for a continuous one."""
    d = axis.distribution
    if axis.size is not None:
        return axis.size
    if d.single():
        return 1
    step = getattr(d, "step", None)
    return math.inf if step is None else math.floor((d.high - d.low) / step + 1e-9) + 1  # type: ignore[attr-defined]


def _coordinate(axis: Axis, i: int) -> float:
    if getattr(axis.distribution, "log", False):
        return math.log(axis.distribution.low + i)  # type: ignore[attr-defined]
    return float(i)


def children(
    parents: Sequence[Params], axes: Sequence[Axis], complete: Completion, rng: random.Random
) -> Iterator[Params]:
    """Endless mutations and crossings of whole candidates; what a change makes active is drawn."""
    movable = {a.name: a for a in axes if not a.distribution.single()}
    while True:
        child = dict(rng.choice(parents))
        if len(parents) > 1 and rng.random() < CROSSED:
            other = rng.choice(parents)
            child = {n: v for n, v in (child | other).items() if n in child or rng.random() < 0.5}
            child |= {n: other[n] for n in other if rng.random() < 0.5}
        names = [n for n in child if n in movable]
        rng.shuffle(names)
        for name in names:
            child[name] = _moved(movable[name], child[name], rng)
            if rng.random() > FURTHER:
                break
        yield complete(child, rng)


def _moved(axis: Axis, value: Any, rng: random.Random) -> Any:
    """Another choice, or a number near by; one of five numbers is drawn anew."""
    here = coordinate(axis, value)
    if axis.size is not None or math.isnan(here) or rng.random() < 0.2:
        return draw(axis, rng)
    for _ in range(8):
        there = rng.gauss(here, STEP * (axis.high - axis.low))
        moved = axis.decode(min(max(there, axis.low), axis.high))
        if moved != value:
            return moved
    return draw(axis, rng)


def distinct(source: Iterable[Params], count: int, taken: set[str]) -> list[Params]:
    """Up to ``count`` candidates whose keys are not in ``taken``, which they join; four times as many are looked at."""
    found: list[Params] = []
    for params in itertools.islice(source, 4 * count):
        k = key(params)
        if k not in taken:
            taken.add(k)
            found.append(params)
            if len(found) == count:
                break
    return found


class Memory:
    """A function of whole candidates that is called once for each of the latest ``REMEMBERED``.

    Args:
        function: From parameters to a number or a one-dimensional array.
        name: For messages.
        width: Length of the array; ``None`` takes it from the first call.
    """

    def __init__(self, function: Callable[[Params], Any], name: str, width: int | None = None) -> None:
        self._function = function
        self._name = name
        self._width = width
        self._found: dict[str, np.ndarray | None] = {}
        self._warned = False

    @property
    def rough(self) -> Callable[[Sequence[Params]], np.ndarray] | None:
        """``(n, width)`` approximations, if the function offers any."""
        function = self._function
        if not isinstance(function, HasRough):
            return None
        return lambda pool: np.asarray(function.rough(pool), dtype=float).reshape(len(pool), -1)

    def __call__(self, pool: Sequence[Params]) -> np.ndarray:
        """``(n, width) float``; NaN where the function failed, and from then on the candidate is left out.

        Raises:
            ValueError: An array of another length than before.
        """
        rows = [self._one(params) for params in pool]
        width = self._width if self._width is not None else 0
        return np.array([np.full(width, math.nan) if r is None else r for r in rows]).reshape(len(rows), width)

    def _one(self, params: Params) -> np.ndarray | None:
        k = key(params)
        if k in self._found:
            return self._found[k]
        row: np.ndarray | None
        try:
            row = np.asarray(self._function(dict(params)), dtype=float).reshape(-1)
        except Exception as error:  # a candidate that cannot be built is no candidate; but say so
            row = None
            if not self._warned:
                self._warned = True
                _log.warning(
                    "%s failed for %s, which is left out: %s: %s", self._name, params, type(error).__name__, error
                )
        if row is not None:
            if self._width is None:
                self._width = len(row)
            if len(row) != self._width:
                raise ValueError(
                    f"{self._name} must give {self._width} numbers for each candidate, but gave {len(row)}"
                )
        self._found[k] = row
        if len(self._found) > REMEMBERED:
            del self._found[next(iter(self._found))]
        return row


@dataclass(frozen=True)
class Pool:
    """Candidates and what is known of them for free.

    Args:
        params: ``p`` whole parameter dictionaries.
        known: ``(p,)`` exact values, by the index of an objective or the name of a constraint.
        facts: ``(p, f)`` what a surrogate reads beside the parameters: the known values, then the features.
        cost: ``(p,)`` expected seconds; 1 when none are given.
    """

    params: list[Params]
    known: dict[int | str, np.ndarray]
    facts: np.ndarray
    cost: np.ndarray

    @cached_property
    def keys(self) -> list[str]:
        """What :func:`key` gives for each."""
        return [key(p) for p in self.params]


@runtime_checkable
class HasRough(Protocol):
    """A free function that takes milliseconds: what it is worth for whole pools is approximated."""

    def __call__(self, params: Params) -> Any:
        """The exact facts of one candidate."""
        ...

    def rough(self, pool: Sequence[Params]) -> np.ndarray:
        """Approximate facts ``(n,)`` or ``(n, width)`` of many; the same whatever was asked before."""
        ...


class Facts:
    """The free functions of a candidate, each called once a candidate."""

    def __init__(
        self,
        known: Mapping[int | str, Callable[[Params], float]],
        features: Callable[[Params], Any] | None,
        cost: Callable[[Params], float] | None,
    ) -> None:
        self._known = {k: Memory(f, f"known[{k!r}]", 1) for k, f in known.items()}
        self._features = None if features is None else Memory(features, "features")
        self._cost = None if cost is None else Memory(cost, "cost", 1)

    @property
    def approximates(self) -> bool:
        """Whether a rough pool differs from an exact one."""
        memories = [*self._known.values(), self._features, self._cost]
        return any(m is not None and m.rough is not None for m in memories)

    def pool(self, params: Sequence[Params], whole: bool = True, rough: bool = False) -> Pool:
        """A pool of the candidates whose known values are known; with ``whole=False`` the others stay, with NaN.

        With ``rough=True`` a function that offers it (:class:`HasRough`) is approximated.
        """

        def ask(memory: Memory) -> np.ndarray:
            return memory.rough(params) if rough and memory.rough else memory(params)

        known = {k: ask(memory)[:, 0] for k, memory in self._known.items()}
        features = ask(self._features) if self._features else np.empty((len(params), 0))
        facts = np.column_stack([*known.values(), features]) if known or self._features else features
        cost = ask(self._cost)[:, 0] if self._cost else np.ones(len(params))
        if not whole:
            return Pool(list(params), known, facts, cost)
        good = np.all([np.isfinite(v) for v in known.values()], axis=0) if known else np.ones(len(params), dtype=bool)
        good &= np.isfinite(cost)
        kept = [p for p, g in zip(params, good.tolist(), strict=True) if g]
        return Pool(kept, {k: v[good] for k, v in known.items()}, facts[good], cost[good])
