"""What the frontier sampler does where its search has come to a halt: every so often it proposes what its model would not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest

from autokd.samplers import FrontierSampler
from autokd.samplers.frontier import LEAP
from autokd.samplers.observed import LAST, LITTLE, Observed

EDGES = [f"edge_{i}" for i in range(8)]


def observed(gains: Any, feasible: Any = None) -> Observed:
    gains = np.asarray(gains, float)
    ok = np.ones(len(gains), bool) if feasible is None else np.asarray(feasible)
    return Observed([{} for _ in gains], gains, {}, ok, np.full(len(gains), np.nan))


@pytest.mark.parametrize("late", [0.0, 0.5 * LITTLE, 2 * LITTLE])
def test_a_search_has_halted_where_the_last_measurements_brought_next_to_nothing(late: float) -> None:
    steady = [[1.0, 1.0]] + [[0.5, 0.5]] * (LAST - 1)
    assert observed([*steady, [0.5, 0.5], [1.0, 1.0 + late]]).stalled(np.zeros(2)) == (late < LITTLE)


def test_the_window_grows_with_the_search() -> None:
    early = [[0.1, 0.1]] * 60 + [[1.0, 1.0]]  # it lies within a sixth of 132 as long as 22 follow it, not within 15
    assert not observed(early + [[0.2, 0.2]] * 10).stalled(np.zeros(2))
    assert not observed([[0.1, 0.1]] * 110 + [[1.0, 1.0]] + [[0.2, 0.2]] * 20).stalled(np.zeros(2))
    assert observed([[0.1, 0.1]] * 60 + [[1.0, 1.0]] + [[0.2, 0.2]] * 71).stalled(np.zeros(2))


def test_a_halt_needs_measurements_a_reference_and_something_feasible() -> None:
    assert not observed([[1.0, 1.0]] * LAST).stalled(np.zeros(2))
    assert not observed([[1.0, 1.0]] * 50).stalled(np.array([0.0, -np.inf]))
    assert not observed([[1.0, 1.0]] * 50, [False] * 50).stalled(np.zeros(2))


def test_what_was_refused_is_no_measurement() -> None:
    steady = [[0.1 * i, 0.1 * i] for i in range(1, 13)]
    refused = [[np.nan, np.nan]] * 40
    assert not observed([*steady, *refused], [True] * 12 + [False] * 40).stalled(np.zeros(2))
    assert observed([[1.0, 1.0]] * 20 + refused, [True] * 20 + [False] * 40).stalled(np.zeros(2))


class Width:
    """The sum of the edges, for pools approximated from below."""

    def __init__(self, most: float | None = None) -> None:
        self.most = most

    def __call__(self, params: dict[str, Any]) -> float:
        total = sum(params[e] for e in EDGES)
        return total - self.most if self.most is not None else 1.0 + total

    def rough(self, pool: Sequence[dict[str, Any]]) -> np.ndarray:
        return np.array([self(params) - 2.0 for params in pool])


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("most", [None, 6])
def test_every_third_proposal_of_a_halted_search_is_a_child_of_the_front(
    monkeypatch: pytest.MonkeyPatch, most: int | None, rough: bool
) -> None:
    """The accuracy never changes, so that nothing but the fastest is on the front and the model sees no way further."""
    leaps: dict[int, tuple[Any, list[Any]]] = {}
    leap = FrontierSampler._leap

    def spied(self: Any, view: Any, *rest: Any) -> Any:
        leaps[view.started] = leap(self, view, *rest), view.seen.best()
        return leaps[view.started][0]

    monkeypatch.setattr(FrontierSampler, "_leap", spied)
    functions: dict[int | str, Any] = {0: Width()} | ({"most": Width(most)} if most is not None else {})
    if not rough:
        functions = {name: function.__call__ for name, function in functions.items()}
    sampler = FrontierSampler(known=functions, reference_point=[None, 0.0], seed=0, pool=100)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return Width()({e: trial.suggest_categorical(e, [0, 1, 2, 3]) for e in EDGES}), 0.5

    study.optimize(objective, n_trials=70)
    assert len({tuple(t.params.values()) for t in study.trials}) == 70
    assert len(leaps) >= 5
    assert all(started % LEAP == 0 and started >= LAST for started in leaps)
    changes = []
    for started, (child, front) in leaps.items():
        assert child is not None
        assert study.trials[started].params == child
        assert most is None or Width(most)(child) <= 0, "the exact limit, not the approximated one"
        changes.append(min(sum(child[e] != parent[e] for e in EDGES) for parent in front))
    assert min(changes) >= 1
    assert np.mean(changes) < 3, "three quarters of the edges of a candidate drawn at random would differ: six"
