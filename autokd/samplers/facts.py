"""What is known of candidates for free: exact values, features and costs, each function called once a candidate."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autokd.samplers.candidates import Candidates, key
from autokd.samplers.conditions import Params
from autokd.samplers.nni_space import Axis

REMEMBERED = 200_000
"""Candidates whose facts are kept, the latest: drawn pools never end."""

_log = logging.getLogger(__name__)


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
        self._rows: dict[bytes, np.ndarray | None] = {}
        self._axes: tuple[Axis, ...] = ()
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
        rows = self._drawn(pool) if isinstance(pool, Candidates) else [self._one(key(p), p) for p in pool]
        width = self._width if self._width is not None else 0
        nothing = np.full(width, math.nan)
        return np.array([nothing if r is None else r for r in rows]).reshape(len(rows), width)

    def _drawn(self, pool: Candidates) -> list[np.ndarray | None]:
        """A candidate that was drawn before is known by its coordinates, without a dictionary."""
        if pool.axes != self._axes:
            self._axes, self._rows = pool.axes, {}
        new = [i for i, k in enumerate(pool.keys) if k not in self._rows]
        for i, (k, params) in zip(new, pool.told(new), strict=True):
            self._rows[pool.keys[i]] = self._one(k, params)
        found = [self._rows[k] for k in pool.keys]
        _forget_old(self._rows)
        return found

    def _one(self, k: str, params: Params) -> np.ndarray | None:
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
        _forget_old(self._found)
        return row


def _forget_old(found: dict[Any, np.ndarray | None]) -> None:
    """Drops the older half of too many at once: a dictionary's first key is slow to find behind deleted ones."""
    if len(found) > REMEMBERED:
        for k in list(itertools.islice(found, REMEMBERED // 2)):
            del found[k]


@dataclass(frozen=True)
class Pool:
    """Candidates and what is known of them for free.

    Args:
        params: ``p`` whole parameter dictionaries.
        known: ``(p,)`` exact values, by the index of an objective or the name of a constraint.
        facts: ``(p, f)`` what a surrogate reads beside the parameters: the known values, then the features.
        cost: ``(p,)`` expected seconds; 1 when none are given.
    """

    params: Sequence[Params]
    known: dict[int | str, np.ndarray]
    facts: np.ndarray
    cost: np.ndarray

    @property
    def allowed(self) -> np.ndarray:
        """``(p,) bool``: which candidates keep the known constraints."""
        limits = [v <= 0 for name, v in self.known.items() if isinstance(name, str)]
        return np.all([np.ones(len(self.cost), dtype=bool), *limits], axis=0)


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
            return Pool(params, known, facts, cost)
        good = np.all([np.isfinite(v) for v in known.values()], axis=0) if known else np.ones(len(params), dtype=bool)
        good &= np.isfinite(cost)
        kept = (
            params.take(good) if isinstance(params, Candidates) else [p for p, g in zip(params, good, strict=True) if g]
        )
        return Pool(kept, {k: v[good] for k, v in known.items()}, facts[good], cost[good])
