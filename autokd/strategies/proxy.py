"""A free quantity that ranks candidates before training, and whether it earns its keep (numpy only).

The logarithm of MACs x parameters costs nothing and often goes along with accuracy. But both also go along with latency, and
latency is known without training as well: what a proxy says about the *front* is what it says about accuracy among candidates
that are equally fast. So the gate looks at the partial rank correlation given the known cost where there is one, and shows the
plain one beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

NAME = "log(MACs x parameters)"
THRESHOLD = 0.3
"""The interval's lower end must lie above it: about what accuracy at a ninth of the training reaches, which was too early to
be of use."""
FEWEST = 12
"""Measured students before a proxy may be called informative."""
LEVEL = 0.9
"""Of the interval."""


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation (Spearman) with its interval.

    Args:
        value: In [-1, 1].
        low: Lower end of the interval.
        high: Upper end.
        n: Number of students.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> RankCorrelation | None:
    """The rank correlation of two columns ``(n,)``; ``None`` for fewer than 5 rows, or where one is constant.

    The interval is Fisher's with the standard error sqrt((1 + r^2 / 2) / (n - 3)) of D. G. Bonett & T. A. Wright, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65, 2000,
    https://doi.org/10.1007/BF02294183.
    """
    x, y = ranks(a), ranks(b)
    return _interval(_pearson(x, y), len(x), 3)


def partial_spearman(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, given: Sequence[float] | np.ndarray
) -> RankCorrelation | None:
    """The rank correlation of ``a`` and ``b`` ``(n,)`` among rows that are alike in ``given``.

    It is the correlation of the residuals of both columns' ranks on the ranks of the third, which costs one degree of freedom
    more. ``None`` as for :func:`spearman`, or where the third column says all of one of the others.
    """
    x, y, z = ranks(a), ranks(b), ranks(given)
    if len(z) and np.ptp(z) == 0:
        return spearman(a, b)
    xy, xz, yz = _pearson(x, y), _pearson(x, z), _pearson(y, z)
    if xy is None or xz is None or yz is None:
        return None
    rest = (1 - xz**2) * (1 - yz**2)
    if rest < 1e-9:
        return None
    return _interval(max(-1.0, min(1.0, (xy - xz * yz) / math.sqrt(rest))), len(x), 4)


def ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks from 0 ``(n,)``; equal values share their mean rank."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[inverse.reshape(-1)])


def log_macs_params(macs: float | None, params: float | None) -> float | None:
    """The proxy of a student; ``None`` where one of the two is not known or not above 0."""
    if macs is None or params is None or not (macs > 0 and params > 0):
        return None
    return math.log(macs) + math.log(params)


class ProxyGate:
    """Lets a proxy through while it ranks what is trained, and shuts itself when it does not.

    ::

        gate = ProxyGate()
        gate.observe(accuracy, proxy, latency)      # each measured student
        if gate.informative:                        # the frontier sampler may read it
            ...

    Args:
        threshold: That the interval's lower end must exceed.
        fewest: Students before it may open.
        name: Of the proxy, for people.
        cost: Name of the known cost, for people.
    """

    def __init__(
        self, threshold: float = THRESHOLD, fewest: int = FEWEST, name: str = NAME, cost: str = "cost"
    ) -> None:
        self.threshold, self.fewest, self.name, self.cost = threshold, fewest, name, cost
        self._rows: list[tuple[float, float, float | None]] = []
        self._told: tuple[int, RankCorrelation | None, RankCorrelation | None] = (0, None, None)

    def observe(self, value: float | None, proxy: float | None, cost: float | None = None) -> None:
        """One trained student; left out where value or proxy are missing or not finite.

        Args:
            value: What it is worth, larger is better.
            proxy: What was said of it before training.
            cost: What is known without training, e.g. latency.
        """
        if value is None or proxy is None or not (math.isfinite(value) and math.isfinite(proxy)):
            return
        known = cost is not None and math.isfinite(cost)
        self._rows.append((float(value), float(proxy), float(cost) if known and cost is not None else None))

    @property
    def n(self) -> int:
        """Students observed."""
        return len(self._rows)

    @property
    def correlation(self) -> RankCorrelation | None:
        """Of the proxy with the value."""
        return self._correlations()[0]

    @property
    def beyond_cost(self) -> RankCorrelation | None:
        """The same among students of equal cost; ``None`` where costs are not known of all, or say all of it."""
        return self._correlations()[1]

    def _correlations(self) -> tuple[RankCorrelation | None, RankCorrelation | None]:
        if self._told[0] != self.n:
            values, proxies = [r[0] for r in self._rows], [r[1] for r in self._rows]
            costs = [r[2] for r in self._rows if r[2] is not None]
            partial = partial_spearman(values, proxies, costs) if len(costs) == self.n else None
            self._told = (self.n, spearman(values, proxies), partial)
        return self._told[1:]

    @property
    def costs_known(self) -> bool:
        """Whether every student came with its cost: then the proxy is judged beyond it."""
        return bool(self._rows) and all(cost is not None for *_, cost in self._rows)

    @property
    def informative(self) -> bool:
        """Whether it may be used: enough students, and the lower end of what it is judged by above the threshold."""
        judged = self.beyond_cost if self.costs_known else self.correlation
        return judged is not None and self.n >= self.fewest and judged.low > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "students": self.n,
            "rank_correlation": asdict(self.correlation) if self.correlation else None,
            "beyond_cost": asdict(self.beyond_cost) if self.beyond_cost else None,
            "threshold": self.threshold,
            "level": LEVEL,
            "informative": self.informative,
        }

    def __str__(self) -> str:
        if self.n < self.fewest:
            return f"{self.name}: known after {self.fewest} measured students ({self.n} so far)"
        if self.correlation is None:
            return f"{self.name}: the same for all students, or all are equally good; off"
        text = f"{self.name}: rank correlation {self.correlation} over {self.n} students"
        if self.beyond_cost is not None:
            text += f", {self.beyond_cost} among those of equal {self.cost}"
        return f"{text}; {'informative' if self.informative else 'off: it tells too little'}"


def _pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) != len(y):
        raise ValueError(f"columns must be equally long, but got {len(x)} and {len(y)}")
    if len(x) < 5 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _interval(r: float | None, n: int, lost: int) -> RankCorrelation | None:
    if r is None or n <= lost:
        return None
    bounded = max(-0.999999, min(0.999999, r))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((1 + bounded**2 / 2) / (n - lost))
    centre = math.atanh(bounded)
    return RankCorrelation(r, math.tanh(centre - reach), math.tanh(centre + reach), n)
