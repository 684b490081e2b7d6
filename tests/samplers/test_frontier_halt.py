"""What the frontier sampler does where its search has come to a halt: every so often it proposes what its model would not."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

from autokd.samplers import FrontierSampler
from autokd.samplers.frontier import LEAP
from autokd.samplers.observed import LAST, LITTLE, Observed

EDGES = [f"edge_{i}" for i in range(5)]


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


@pytest.mark.parametrize("bounded", [False, True])
def test_every_third_proposal_of_a_halted_search_is_a_child_of_the_front(
    monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """The accuracy never changes, so that nothing but the fastest is on the front and the model sees no way further."""
    leaps: dict[int, Any] = {}
    leap = FrontierSampler._leap

    def spied(self: Any, view: Any, *rest: Any) -> Any:
        leaps[view.started] = leap(self, view, *rest)
        return leaps[view.started]

    monkeypatch.setattr(FrontierSampler, "_leap", spied)

    def latency(params: dict[str, Any]) -> float:
        return 1.0 + sum(params[e] for e in EDGES)

    known: dict[int | str, Any] = {0: latency} | ({"most": lambda p: latency(p) - 3} if bounded else {})
    sampler = FrontierSampler(known=known, reference_point=[None, 0.0], seed=0)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return latency({e: trial.suggest_categorical(e, [0, 1, 2, 3]) for e in EDGES}), 0.5

    study.optimize(objective, n_trials=60)
    found = [tuple(t.params.values()) for t in study.trials]
    assert len(set(found)) == 60
    assert len(leaps) >= 5
    assert all(started % LEAP == 0 and started >= LAST for started in leaps)
    for started, child in leaps.items():
        if bounded and child is None:
            continue  # all such children have been tried
        assert study.trials[started].params == child
        assert not bounded or latency(child) <= 3
        changed = sum(bool(child[e]) for e in EDGES)  # against the fastest, which is all zeros
        assert 1 <= changed <= len(EDGES)
