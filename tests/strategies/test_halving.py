"""The rule of halving on simulated curves: the true front is kept, and training is saved."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import pytest

from autokd.pareto import hypervolume, non_dominated
from autokd.strategies.halving import (  # fmt: skip
    CANDIDATES,
    FEWEST_TO_LEARN,
    FIRST,
    Curve,
    Halving,
    crowding,
    optimistic_gain,
    ranking,
)
from autokd.strategies.proxy import spearman
from autokd.testing.simulation import SimulatedCurve, simulated_curves

DIRECTIONS, SCALES, REFERENCE = ("maximize", "minimize"), ("linear", "log"), (0.5, 1.5)


@dataclass
class Searched:
    """What became of simulated candidates, two trained at a time."""

    curves: list[SimulatedCurve]
    rule: Halving[int]
    spent: float = 0.0
    done: set[int] = field(default_factory=set)
    stopped: dict[int, float] = field(default_factory=dict)
    continued: int = 0
    running: list[tuple[float, int, float, float | None]] = field(default_factory=list)

    def run(self) -> Searched:
        """Train all candidates, as far as the rule wants."""
        self.waiting = list(range(len(self.curves)))[::-1]
        now = 0.0
        while True:
            while len(self.running) < 2 and self.waiting:
                again = self.rule.to_continue(self.stopped)
                if again is not None:
                    self.continued += 1
                    self.train(now, again, self.rule.curves[again].points[-1][0])
                    del self.stopped[again]
                else:
                    self.train(now, self.waiting.pop(), 0.0)
            if not self.running:
                return self
            now, i, reached, share = heapq.heappop(self.running)
            self.end(now, i, reached, share)

    def train(self, now: float, i: int, done: float) -> None:
        share = next((r for r in self.rule.shares() if r > done), None)
        reached = self.curves[i].rest_at(share, done)
        took = self.curves[i].cpu_s * (reached - done)
        self.spent += took
        heapq.heappush(self.running, (now + took, i, reached, share))

    def end(self, now: float, i: int, reached: float, share: float | None) -> None:
        curve = self.curves[i]
        costs = (curve.latency_ms,)
        if share is None:
            self.done.add(i)
            self.rule.tell(i, Curve(curve.points, costs, curve.final))
            return
        self.rule.tell(i, Curve(tuple(p for p in curve.points if p[0] <= reached), costs))
        if self.rule.goes_on(i, share):
            self.train(now, i, reached)
        else:
            self.stopped[i] = share

    @property
    def share_spent(self) -> float:
        return self.spent / sum(c.cpu_s for c in self.curves)

    @property
    def values(self) -> np.ndarray:
        return np.array([(c.final, c.latency_ms) for c in self.curves])

    @property
    def volume(self) -> float:
        """Of what was trained to the end, over that of all candidates trained to the end."""
        kept = hypervolume(self.values[sorted(self.done)], REFERENCE, DIRECTIONS, SCALES)
        return kept / hypervolume(self.values, REFERENCE, DIRECTIONS, SCALES)

    @property
    def front_kept(self) -> float:
        """Share of the true front that was trained to the end."""
        front = set(np.flatnonzero(non_dominated(self.values, DIRECTIONS)))
        return len(front & self.done) / len(front)


def test_simulated_curves_rank_as_real_ones_do() -> None:
    curves = simulated_curves(0, 3000, (0.11, 1 / 3, 0.6, 1.0))
    finals = [c.final for c in curves]
    found = [spearman([c.accuracies[k] for c in curves], finals) for k in range(3)]
    assert [r.value for r in found if r] == pytest.approx([0.31, 0.80, 0.92], abs=0.04)


def test_the_true_front_is_kept_and_training_saved() -> None:
    """Over 20 seeds: all but nothing of the hypervolume, nearly all of the front, for about two thirds of the training."""
    runs = [Searched(simulated_curves(seed, 60), Halving()).run() for seed in range(20)]
    assert np.mean([r.volume for r in runs]) > 0.998
    assert min(r.volume for r in runs) > 0.98
    assert np.mean([r.front_kept for r in runs]) > 0.93
    assert np.mean([r.share_spent for r in runs]) < 0.75
    assert all(r.done | set(r.stopped) == set(range(60)) for r in runs)


def test_more_is_saved_the_longer_a_search_is() -> None:
    short, long = (np.mean([Searched(simulated_curves(s, n), Halving(FIRST)).run().share_spent for s in range(6)])
                   for n in (24, 120))  # fmt: skip
    assert long < short - 0.05


def test_costs_are_what_keeps_the_front() -> None:
    """Compared by accuracy alone the fast weak end of the front dies; told the latency the same rule keeps it."""

    def fast_end(blind: bool) -> float:
        kept = []
        for seed in range(10):
            curves = simulated_curves(seed, 60)
            shown = [SimulatedCurve(1.0, c.shares, c.accuracies, c.cpu_s) for c in curves] if blind else curves
            done = Searched(shown, Halving(FIRST)).run().done
            front = np.flatnonzero(non_dominated([(c.final, c.latency_ms) for c in curves], DIRECTIONS))
            fast = [i for i in front if curves[i].latency_ms < 0.05]
            kept.append(np.mean([i in done for i in fast]))
        return float(np.mean(kept))

    assert fast_end(blind=False) > 0.9
    assert fast_end(blind=True) < 0.5


def told(rows: list[tuple[float, float, float | None]], rule: Halving[int]) -> Halving[int]:
    """A rule that knows quality at a third, cost, and final quality of each row."""
    for i, (quality, cost, final) in enumerate(rows):
        points = ((1 / 3, quality),) if final is None else ((1 / 3, quality), (1.0, final))
        rule.tell(i, Curve(points, (cost,), final))
    return rule


def test_a_fast_weak_candidate_goes_on_beside_slow_strong_ones() -> None:
    rows: list[tuple[float, float, float | None]] = [(0.9, 10.0, 0.95), (0.85, 9.0, 0.92), (0.6, 1.0, None), (0.6, 9.5, None),
                                                     (0.88, 9.8, 0.93), (0.7, 8.0, 0.8)]  # fmt: skip
    rule = told(rows, Halving(first=1 / 3))
    assert rule.goes_on(2, 1 / 3)
    assert not rule.goes_on(3, 1 / 3)


def test_every_cost_counts() -> None:
    """Slower than a better one, but smaller than all: it goes on, and is stopped where its size is not asked for."""
    for costs in (2, 1):
        rule: Halving[int] = Halving(first=1 / 3)
        for i in range(4):
            quality = 0.9 - 0.01 * i
            rule.tell(i, Curve(((1 / 3, quality), (1.0, quality)), (1.0 + i, 100.0 + i)[:costs], quality))
        rule.tell(4, Curve(((1 / 3, 0.5),), (5.0, 10.0)[:costs]))
        assert rule.goes_on(4, 1 / 3) == (costs == 2)


def test_nobody_is_stopped_among_few() -> None:
    rule = told([(0.9, 1.0, 0.95), (0.8, 2.0, 0.85), (0.1, 3.0, None)], Halving())
    assert rule.goes_on(2, 1 / 3)


def test_whoever_may_still_join_the_front_goes_on_or_is_continued() -> None:
    """Stopped while trainings gained little; once one gained much, the stopped one deserves more as well."""
    rows: list[tuple[float, float, float | None]] = [
        (0.80, 1.0, 0.82),
        (0.79, 2.0, 0.80),
        (0.78, 3.0, 0.79),
        (0.77, 4.0, 0.78),
    ]
    rule = told([*rows, (0.70, 5.0, None)], Halving(first=1 / 3))
    assert not rule.goes_on(4, 1 / 3)
    assert rule.to_continue({4: 1 / 3}) is None
    rule.tell(5, Curve(((1 / 3, 0.60), (1.0, 0.81)), (6.0,), 0.81))
    assert rule.goes_on(4, 1 / 3) and rule.to_continue({4: 1 / 3}) == 4


def test_a_part_of_those_at_a_share_goes_on_though_one_beats_all() -> None:
    rows: list[tuple[float, float, float | None]] = [(0.9, 1.0, 0.91)] + [
        (0.8 - 0.01 * k, 2.0 + k, None) for k in range(8)
    ]
    rule = told(rows, Halving(first=1 / 3, reduction_factor=3))
    assert [rule.goes_on(k, 1 / 3) for k in range(9)] == [True] * 3 + [False] * 6


@pytest.mark.parametrize(
    ("first", "factor", "shares"), [(1 / 3, 3, [1 / 3]), (0.2, 2, [0.2, 0.4, 0.8]), (0.5, 1.5, [0.5, 0.75])]
)
def test_shares_are_a_factor_apart_and_end_before_the_training(
    first: float, factor: float, shares: list[float]
) -> None:
    assert Halving(first, factor).shares() == pytest.approx(tuple(shares))


def test_first_share_is_learned_from_finished_trainings() -> None:
    """The earliest share that ranks well; a third while too few have finished, or where none does."""
    rng = np.random.default_rng(0)

    def after(count: int, informative_from: float) -> float:
        rule: Halving[int] = Halving()
        for i in range(count):
            end = rng.uniform(0.5, 0.9)
            points = [(s, end if s >= informative_from - 1e-9 else rng.uniform(0, 1)) for s in (*CANDIDATES, 1.0)]
            rule.tell(i, Curve(tuple(points), (1.0,), end))
        return rule.first_share()

    assert after(FEWEST_TO_LEARN - 1, 0.2) == FIRST
    assert after(40, 0.2) == 0.2
    assert after(40, 0.5) == 0.5
    assert after(40, 1.0) == FIRST


def test_ranking_goes_by_layers_and_the_ends_of_a_layer_first() -> None:
    losses = np.array([[3.0, 3.0], [0.0, 4.0], [4.0, 0.0], [1.0, 1.0], [1.1, 0.9], [2.0, 2.0]])
    order = ranking(losses).tolist()
    assert set(order[:2]) == {1, 2} and set(order[2:4]) == {3, 4} and order[4:] == [5, 0]
    assert crowding(np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])).tolist() == [np.inf, 0.0, np.inf]


def test_hopes_follow_the_line_of_what_others_gained() -> None:
    at_share = np.linspace(0.4, 0.8, 12)
    assert optimistic_gain(at_share, at_share + 0.5 * (1 - at_share), 0.5) == pytest.approx(0.25)
    assert optimistic_gain(np.array([0.5, 0.6]), np.array([0.6, 0.8]), 0.1) == pytest.approx(0.19)


@pytest.mark.parametrize(("first", "factor"), [(0.0, 3), (1.0, 3), (None, 1.0)])
def test_impossible_shares_are_refused(first: float | None, factor: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Halving(first, factor)


def test_a_candidate_that_has_not_come_to_the_share_cannot_be_judged_there() -> None:
    with pytest.raises(ValueError, match="must have come to"):
        told([(0.5, 1.0, None)], Halving()).goes_on(0, 0.5)
