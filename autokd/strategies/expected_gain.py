"""Is it worth going on? What the next minutes of a search are expected to add to the hypervolume (numpy only).

If trials came in no particular order, what the last stretch of them added would say what the next stretch will add. One
stretch is one draw of luck; but any order of exchangeable trials is as likely as the one that happened, so the same trials are
taken away in hundreds of random orders: the mean loss is the expected gain, and the losses' range the gain's. This is the
estimate of what has not been seen yet from what was seen only once (I. J. Good, "The population frequencies of species and the
estimation of population parameters", Biometrika 40, 1953, https://doi.org/10.1093/biomet/40.3-4.237), applied to hypervolume:
for a stretch of one trial it is the sum of all exclusive contributions over the number of trials.

A sampler that learns, or a ladder that descends, is not exchangeable with its own beginnings: what is expected follows from
orders of the newest half alone, while the older half stays. The interval looks at orders of all trials as well, because half of
them say little about luck. Stretches add ever less, as records do (their gains fall about like 1/n), so a stretch ahead is as
long as one behind when both are the same *ratio* of trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autokd.config.objectives import Objective
from autokd.config.until import WINDOW_S, Until
from autokd.formatting import span_words
from autokd.pareto import gains_over

FEWEST = 10
"""Measured students before a number is given."""
LEAST_TO_STOP = 20
"""Measured students before an expected gain may end a search: with fewer it is too rough."""
STOOD = 2.0
"""A front that stood still for the newest half of the students, so many windows long, is expected to stand still."""
LEAST_OUTSIDE = 60
"""The same where none of them is better than the reference point, so that there is nothing to expect a gain of."""
RECENT = 20
"""Students whose pace is expected to go on."""
SHARES = (1.0, 0.5)
"""The newest shares of the students, taken in turn to be like the next ones: the last says what is expected, all the interval."""
DRAWS = 400
"""Random orders for each share; a quarter of it where volumes have three dimensions, which cost more."""
LEVEL = 0.8
"""Of the interval."""
TAIL = 0.03
"""Of the orders at either end of it. They are one search's own, so they scatter less than searches do: between the quantiles .1
and .9 lay 69 % of 1,100 gains, between .03 and .97 about 80 % (``benchmarks/stop_advice.py``)."""
DEPTH = 24
"""A student that so many others match or beat everywhere never counts: they are not all taken away together."""
CHUNK = 512


@dataclass(frozen=True)
class ExpectedGain:
    """What the next ``window_s`` seconds of search are expected to add to the hypervolume.

    Args:
        window_s: Seconds of search ahead.
        measured: Students measured so far.
        volume: The hypervolume now; ``None`` without a reference point.
        students: How many more will be measured in the window, at the pace of the newest ones.
        gain: Expected gain, as a share of ``volume``; ``None`` when it cannot be told.
        low: Lower end of the interval that holds the gain in ``level`` of the cases.
        high: Its upper end.
        cautious: The larger of what the newest half and all students let expect; what ends a search.
        level: Of the interval.
        missing: Why there is no number; empty when there is one.
    """

    window_s: float
    measured: int
    volume: float | None = None
    students: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    cautious: float | None = None
    level: float = LEVEL
    missing: str = ""

    @property
    def short(self) -> str:
        """``+0.4 % (0.1-0.9 %)``; empty when there is no number."""
        if self.gain is None or self.low is None or self.high is None:
            return ""
        return f"+{percent(self.gain)} % ({percent(self.low)}-{percent(self.high)} %)"

    def __str__(self) -> str:
        ahead = f"next {span_words(self.window_s)}"
        if self.gain is None or self.low is None or self.high is None:
            return f"{ahead}: {self.missing}"
        return f"{ahead}: about +{percent(self.gain)} % hypervolume ({percent(self.low)}-{percent(self.high)} %)"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class GainWatch:
    """The finished trials of one search, as far as they matter for what is to come. Not thread-safe.

    Kept up to date, a trial costs microseconds and an advice milliseconds, however long the search.

    Args:
        objectives: Two or three.
        reference: The hypervolume's reference point in their order; ``None``: nothing can be told.
        shares: The newest shares of the students that are taken to be like the next ones, each in (0, 1].
    """

    def __init__(
        self, objectives: Sequence[Objective], reference: Sequence[float] | None, shares: Sequence[float] = SHARES
    ) -> None:
        self.objectives, self.reference, self.shares = tuple(objectives), reference, tuple(shares)
        self.measured = 0
        self._times: list[float] = []  # of the newest students only
        self._points = np.empty((0, len(self.objectives)))  # gains over the reference, of those that may ever matter
        self._order = np.empty(0, dtype=int)  # the how-manieth measured student each of them is
        self._beaten = np.empty(0, dtype=int)  # how many students match or beat each of them everywhere
        self._known: dict[float, ExpectedGain] = {}

    def extend(self, search_s: Sequence[float] | np.ndarray, values: np.ndarray) -> None:
        """Students that were measured, in the order in which they ended.

        Args:
            search_s: ``(n,)`` seconds of search until each ended, ascending.
            values: ``(n, m)`` by objective; a row with NaN (outside a constraint) counts as tried and adds nothing.
        """
        values = np.asarray(values, dtype=float).reshape(-1, len(self.objectives))
        place = self.measured + np.arange(len(values))
        self.measured += len(values)
        self._times = [*self._times, *map(float, search_s)][-RECENT - 1 :]
        self._known.clear()
        if self.reference is None or len(self.reference) != len(self.objectives):
            return
        scales = [o.scale for o in self.objectives]
        good = np.isfinite(values).all(axis=1)
        for k, scale in enumerate(scales):
            good &= (values[:, k] > 0) | (scale != "log")
        gains = gains_over(values[good], self.reference, [o.direction for o in self.objectives], scales)
        inside = (gains > 0).all(axis=1)
        points, place = gains[inside], place[good][inside]
        for start in range(0, len(points), CHUNK):
            self._add(points[start : start + CHUNK], place[start : start + CHUNK])

    def observe(self, search_s: float, values: Sequence[float] | None) -> None:
        """One student that was measured; ``None`` for one outside a constraint."""
        row = [math.nan] * len(self.objectives) if values is None else list(values)
        self.extend([search_s], np.array([row]))

    def _add(self, points: np.ndarray, order: np.ndarray) -> None:
        known = len(self._points)
        every, orders = np.vstack([self._points, points]), np.concatenate([self._order, order])
        no_worse = (every[:, None] >= points[None]).all(axis=2)
        same = (every[:, None] == points[None]).all(axis=2)
        beats = no_worse & (~same | (orders[:, None] < order[None]))  # of copies the first counts
        beaten = np.concatenate([self._beaten, beats.sum(axis=0)])
        old_beaten = (points[:, None] >= self._points[None]).all(axis=2) & ~same[:known].T
        beaten[:known] += old_beaten.sum(axis=0)
        # A student is only dropped for students that stay: those who beat the ones who beat it beat it as well.
        keep = beaten < DEPTH
        self._points, self._order, self._beaten = every[keep], orders[keep], beaten[keep]

    @property
    def volume(self) -> float | None:
        """The hypervolume now; ``None`` without a reference point."""
        if self.reference is None:
            return None
        return float(volumes(self._points, np.ones((1, len(self._points)), dtype=bool))[0])

    def expected(self, window_s: float = WINDOW_S) -> ExpectedGain:
        """What the next ``window_s`` seconds of search are expected to add; the same until a student is observed."""
        if window_s not in self._known:
            self._known[window_s] = self._expected(window_s)
        return self._known[window_s]

    def _expected(self, window_s: float) -> ExpectedGain:
        volume = self.volume
        plain = ExpectedGain(window_s, self.measured, volume)
        if volume is None:
            return _without(plain, "known once the teacher was measured")
        if self.measured < FEWEST:
            return _without(plain, f"known after {FEWEST} measured students ({self.measured} so far)")
        if volume == 0:
            return _without(plain, "unknown: no student is better than the reference point in every objective yet")
        took = self._times[-1] - self._times[0]
        if took <= 0:
            return _without(plain, "unknown: the students so far took no time")
        students = window_s * (len(self._times) - 1) / took
        rng = np.random.default_rng(self.measured)  # the same trials give the same advice
        gains = [self._gains(students, share, rng) / volume for share in self.shares]
        gain = float(gains[-1].mean())
        low, high = np.quantile(np.concatenate(gains), [TAIL, 1 - TAIL])
        low, high = min(float(low), gain), max(float(high), gain)
        cautious = max(float(g.mean()) for g in gains)
        if gain == 0 and self.measured >= 2 * STOOD * students:
            cautious = 0.0  # whatever came early: for so long nothing came
        return ExpectedGain(window_s, self.measured, volume, students, gain, low, high, cautious)

    def _gains(self, students: float, share: float, rng: np.random.Generator) -> np.ndarray:
        """Likely gains of so many more students: draws from their distribution, in hypervolume."""
        n = self.measured
        recent = max(2, math.ceil(share * n))
        away = int(np.clip(round(n * students / (n + students)), 1, recent // 2))
        draws = DRAWS if len(self.objectives) == 2 else DRAWS // 4
        lost = self._losses(recent, away, draws, rng)
        # stretches of one ratio of trials add alike: how many stretches lie ahead
        ahead = math.log1p(students / n) / math.log(n / (n - away))
        whole = int(ahead)
        gains = rng.choice(lost, (draws, whole)).sum(axis=1)
        return np.asarray(gains + np.where(rng.random(draws) < ahead - whole, rng.choice(lost, draws), 0.0))

    def _losses(self, recent: int, away: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """The hypervolume that is lost without ``away`` random ones of the ``recent`` newest students: ``(draws,)``."""
        newest = np.flatnonzero(self._order >= self.measured - recent)
        others = recent - len(newest)  # they count for nothing, but are taken away as often
        taken = rng.hypergeometric(len(newest), others, away, draws) if len(newest) else np.zeros(draws, dtype=int)
        rank = rng.random((draws, len(newest))).argsort(axis=1).argsort(axis=1)
        there = np.ones((draws, len(self._points)), dtype=bool)
        there[:, newest] = rank >= taken[:, None]
        return (self.volume or 0.0) - volumes(self._points, there)


def volumes(points: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The hypervolume over the origin of many selections of the same points at once: ``(b,)``.

    Args:
        points: ``(p, m)`` with two or three positive columns, larger is better.
        there: ``(b, p) bool``: who is there.
    """
    if not len(points):
        return np.zeros(len(there))
    last = np.argsort(-points[:, -1], kind="stable")
    points, there = points[last], there[:, last]
    heights = points[:, -1]
    if points.shape[1] == 2:
        reach = np.maximum.accumulate(np.where(there, points[:, 0], 0.0), axis=1)
        return np.asarray(np.diff(reach, axis=1, prepend=0.0) @ heights)
    # Between two heights of the last objective the cross-section is that of all points at least as high.
    thickness = heights - np.append(heights[1:], 0.0)
    parts = [t * volumes(points[: k + 1, :-1], there[:, : k + 1]) for k, t in enumerate(thickness) if t > 0]
    return np.asarray(np.sum(parts, axis=0))


def not_worth_it(until: Until, watch: GainWatch) -> str | None:
    """Why a search ends now by ``budget.until``, or ``None`` while it goes on.

    It is asked after every student, and one low estimate among many is luck: the more cautious of two must be below the limit.
    """
    if watch.measured < LEAST_TO_STOP:
        return None
    told = watch.expected(until.window_s)
    if told.cautious is not None and told.cautious < until.gain:
        return f'the budget "{until}" is reached; {told}'
    if told.volume == 0 and watch.measured >= LEAST_OUTSIDE:
        worse = f"none of {watch.measured} students is better than the reference point in every objective"
        return f'the budget "{until}" is reached; {worse}'
    return None


def percent(share: float) -> str:
    """A share in percent, two digits: ``0.43``, ``2.1``, ``12``; what rounds to 0 is 0."""
    value = 100 * share
    if value < 0.005:
        return "0"
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def _without(plain: ExpectedGain, missing: str) -> ExpectedGain:
    return ExpectedGain(plain.window_s, plain.measured, plain.volume, missing=missing)
