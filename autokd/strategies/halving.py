"""Non-dominated successive halving: whose training goes on, when candidates are compared given what they cost (numpy only).

Successive halving (K. Jamieson & A. Talwalkar, AISTATS 2016, https://arxiv.org/abs/1502.07943) compares candidates after equal
training and goes on with the best 1 / ``reduction_factor``; ASHA (L. Li et al., "A system for massively parallel hyperparameter
tuning", MLSys 2020, https://arxiv.org/abs/1810.05934) decides at once, among those that have come so far. With several
objectives "the best" are the first layers of non-dominated sorting (K. Deb et al., "A fast and elitist multiobjective genetic
algorithm: NSGA-II", IEEE Trans. Evol. Comp. 6(2), 2002, https://doi.org/10.1109/4235.996017), as in R. Schmucker et al.,
"Multi-objective asynchronous successive halving", 2021, https://arxiv.org/abs/2106.12639. Here only one objective is learned: what
a student costs is exact before its training, so what is compared is its quality so far and its true costs, and a fast weak student
is never compared with a slow strong one as if it wanted to be that.

Candidates are compared at *checkpoint shares* of their training. (Those papers call them rungs; here a rung is a ladder's step.)

Two things are added. Whoever nobody beats at a share goes on, however many these are. And finished trainings show how much was
still gained after it: whose optimistic end would be on the front goes on as well.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from autokd.pareto import non_dominated
from autokd.strategies.proxy import spearman

FIRST = 1 / 3
"""The first checkpoint share, while nothing better is known."""
CANDIDATES = (0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6)
"""Shares among which the first is learned."""
INFORMATIVE = 0.7
"""Least rank correlation of the qualities at a share with the final ones."""
FEWEST_TO_LEARN = 12
"""Finished trainings before a rank correlation is believed."""
FEWEST_TO_STOP = 4
"""Candidates at a share before one is stopped there: among fewer it is no comparison."""
FEWEST_TO_FIT = 8
"""Finished trainings before the gain after a share is a line in the quality there, not a constant."""
OPTIMISM = 0.9
"""Quantile of the gains that a candidate is allowed to hope for."""
LAST = 0.9
"""No share is later: nothing would be left to save."""
SAME = 1e-6

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Curve:
    """What is known of one candidate.

    Args:
        points: Share of the training in (0, 1] and quality there, larger is better; shares ascend.
        costs: What it costs, exact, smaller is better; the same things in the same order for all candidates.
        final: Its quality at the end, on the scale of the points; ``None`` while it is not trained to the end.
    """

    points: tuple[tuple[float, float], ...]
    costs: tuple[float, ...]
    final: float | None = None

    def at(self, share: float) -> float | None:
        """The quality at the first point that is not before ``share``; ``None`` where training has not come so far."""
        return next((quality for reached, quality in self.points if reached >= share - SAME), None)


class Halving(Generic[Key]):
    """The checkpoint shares of a search, and who goes on from them. It only knows what it was told, in any order.

    Args:
        first: The first checkpoint share, in (0, 1); ``None``: learned from finished trainings.
        reduction_factor: Of those at a share one in so many goes on, at least; above 1. Also the ratio of two shares.

    Raises:
        ValueError: A share or a factor outside.
    """

    def __init__(self, first: float | None = None, reduction_factor: float = 3.0) -> None:
        if first is not None and not 0 < first < 1:
            raise ValueError(f"the first checkpoint share must be in (0, 1), but got {first}")
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor must be above 1, but got {reduction_factor}")
        self.first, self.factor = first, reduction_factor
        self.curves: dict[Key, Curve] = {}

    def tell(self, key: Key, curve: Curve) -> None:
        """A candidate's curve, so far as it is known; replaces what was told of it before."""
        self.curves[key] = curve

    def shares(self) -> tuple[float, ...]:
        """Shares of the training at which a candidate that begins now is compared, ascending."""
        share, found = self.first_share(), []
        while share <= LAST:
            found.append(share)
            share *= self.factor
        return tuple(found)

    def first_share(self) -> float:
        """As stated; or the earliest share whose qualities rank the finished trainings well enough, a third by default.

        An earlier one needs proof (the lower end of the correlation's interval), and so does the verdict that a third is too
        early (the upper end): a dozen trainings say little. Finished trainings are those that were not stopped, so they
        are more alike than all candidates and rank worse: what is learned errs towards the later share.
        """
        if self.first is not None:
            return self.first
        for share in CANDIDATES:
            x, y = self._finished(share)
            found = spearman(x, y) if len(x) >= FEWEST_TO_LEARN else None
            if found is None:
                continue
            shown = found.low if share < FIRST else found.high if share == FIRST else found.value
            if shown >= INFORMATIVE:
                return share
        return FIRST

    def goes_on(self, key: Key, share: float) -> bool:
        """Whether a candidate at a checkpoint share is to be trained on.

        Raises:
            ValueError: It has not come so far.
        """
        here = self._at(share)
        if key not in here:
            raise ValueError(f"a candidate must have come to {share:.3g} of its training, but {key} has not")
        if len(here) < FEWEST_TO_STOP:
            return True
        hopes = self._hopes(share)
        return self._ranked_high(key, here) or (hopes is not None and hopes.may_join_the_front(key))

    def to_continue(self, stopped: Mapping[Key, float]) -> Key | None:
        """The stopped candidate whose optimistic end would be on the front by now, the best at its share; ``None``: none.

        As more trainings finish, it shows better how much is gained after a share. A place among the best of many more
        (ASHA's promotion) is not enough: where even the optimistic end would be beaten, the rest is not spent.

        Args:
            stopped: The share of every candidate that was stopped there and whose training can be continued.
        """
        for share in sorted(set(stopped.values()), reverse=True):  # the later share first: less is left to spend
            here, hopes = self._at(share), self._hopes(share)
            if hopes is None:
                continue
            keys = list(here)
            for row in ranking(np.array([*here.values()])):
                if stopped.get(keys[row]) == share and hopes.may_join_the_front(keys[row]):
                    return keys[row]
        return None

    # ------------------------------------------------------------------------------------------ how it is decided

    def _at(self, share: float) -> dict[Key, tuple[float, ...]]:
        """Losses ``(1 + costs,)`` at a share of all that have come to it."""
        found = {key: (curve.at(share), curve.costs) for key, curve in self.curves.items()}
        return {key: (-quality, *costs) for key, (quality, costs) in found.items() if quality is not None}

    def _places(self, count: int) -> int:
        return math.ceil(count / self.factor)

    def _ranked_high(self, key: Key, here: Mapping[Key, tuple[float, ...]]) -> bool:
        """Nobody beats it, or it is among the best there."""
        losses = np.array([*here.values()])
        own = [*here].index(key)
        if non_dominated(losses, ["minimize"] * losses.shape[1])[own]:
            return True
        return own in ranking(losses)[: self._places(len(losses))]

    def _hopes(self, share: float) -> _Hopes[Key] | None:
        x, y = self._finished(share)
        return _Hopes(self.curves, share, x, y) if len(x) else None

    def _finished(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Qualities ``(n,)`` at a share and at the end, of the trainings that ended."""
        pairs = [(c.at(share), c.final) for c in self.curves.values() if c.final is not None]
        known = np.array([p for p in pairs if p[0] is not None], dtype=float).reshape(-1, 2)
        return known[:, 0], known[:, 1]


@dataclass(frozen=True)
class _Hopes(Generic[Key]):
    """What candidates at a share may hope for, by the qualities ``x`` there and ``y`` at the end of finished trainings."""

    curves: Mapping[Key, Curve]
    share: float
    x: np.ndarray
    y: np.ndarray

    def may_join_the_front(self, key: Key) -> bool:
        """Whether no finished candidate beats it even if it gains as much as the luckiest."""
        curve, quality = self.curves[key], self.curves[key].at(self.share)
        assert quality is not None
        hoped = quality + optimistic_gain(self.x, self.y, quality)
        for other in self.curves.values():
            if other.final is None or other.final < hoped:
                continue
            costs = list(zip(other.costs, curve.costs, strict=True))
            if all(a <= b for a, b in costs) and (other.final > hoped or any(a < b for a, b in costs)):
                return False
        return True


def ranking(losses: np.ndarray) -> np.ndarray:
    """Rows of ``(n, m)`` losses from the best to the worst: by layers of non-dominated sorting, in each the loneliest first.

    Loneliness is NSGA-II's crowding distance, the ends of a layer before all others.
    """
    rest, order = np.arange(len(losses)), []
    while len(rest):
        first = non_dominated(losses[rest], ["minimize"] * losses.shape[1])
        layer = rest[first]
        order.append(layer[np.argsort(-crowding(losses[layer]), kind="stable")])
        rest = rest[~first]
    return np.concatenate(order) if order else np.empty(0, dtype=int)


def crowding(losses: np.ndarray) -> np.ndarray:
    """Crowding distance ``(n,)`` in one layer ``(n, m)``: the gaps between both neighbours, each as a share of the layer's span."""
    found = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        gaps = np.full(len(column), math.inf)
        if span > 0:
            gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / span
        elif len(column) > 2:
            gaps[1:-1] = 0.0
        found[order] += gaps
    return found


def optimistic_gain(at_share: np.ndarray, at_end: np.ndarray, quality: float) -> float:
    """What a candidate of this quality at a share may hope to gain until the end: the .9 quantile of what others gained.

    Weak students gain more than strong ones, so from 8 finished trainings on the gain is a line in the quality there and
    the quantile one of the residuals.
    """
    gains = at_end - at_share
    slope = 0.0
    if len(gains) >= FEWEST_TO_FIT and np.ptp(at_share) > 0:
        slope = float(np.cov(at_share, gains, bias=True)[0, 1] / np.var(at_share))
    return float(np.quantile(gains - slope * (at_share - quality), OPTIMISM))
