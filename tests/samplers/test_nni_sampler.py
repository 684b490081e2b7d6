"""NNI's tuners as Optuna samplers: they adapt, resume from the ledger alone, and stay out of everybody's way."""

from __future__ import annotations

import builtins
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.errors import ConfigError
from autokd.samplers.nni import POPULATION, NNISampler, evolution

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
ADAPTIVE = ["tpe", "evolution"]


def study_of(
    rows: list[tuple[dict[str, Any], list[float] | None]],
    space: dict[str, BaseDistribution] | None = None,
    directions: tuple[str, ...] = ("maximize", "minimize"),
    constraints: float | None = None,
) -> optuna.Study:
    """A study with finished trials; ``None`` for values makes a pruned one."""
    study = optuna.create_study(directions=list(directions))  # type: ignore[arg-type]
    for params, values in rows:
        study.add_trial(
            create_trial(
                params=params,
                distributions={k: (space or SPACE)[k] for k in params},
                values=values,
                state=TrialState.COMPLETE if values is not None else TrialState.PRUNED,
                system_attrs={} if constraints is None or values is not None else {"constraints:size": constraints},
            )
        )
    return study


def proposals(tuner: str, study: optuna.Study, count: int = 40, space: Any = SPACE) -> list[dict[str, Any]]:
    study.sampler = NNISampler(tuner, space, seed=0)
    out = []
    for _ in range(count):
        trial = study.ask(dict(space))
        out.append(dict(trial.params))
        study.tell(trial, state=TrialState.FAIL)  # failed trials are no history: every proposal sees the same ledger
    return out


def grid(seed: int = 0, n: int = 60) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{"x": float(a), "y": float(b)} for a, b in rng.random((n, 2))]


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_proposals_move_towards_what_was_told_to_be_good(tuner: str) -> None:
    good_high = study_of([(p, [p["x"]]) for p in grid()], directions=("maximize",))
    good_low = study_of([(p, [p["x"]]) for p in grid()], directions=("minimize",))
    high = np.mean([p["x"] for p in proposals(tuner, good_high)])
    low = np.mean([p["x"] for p in proposals(tuner, good_low)])
    assert high > 0.65 and low < 0.35


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_weights_sweep_the_front(tuner: str) -> None:
    """accuracy = x, latency = x: every x is on the front, so proposals must spread over it."""
    study = study_of([(p, [p["x"], p["x"] + 0.1 * p["y"] + 0.1]) for p in grid()])
    xs = np.array([p["x"] for p in proposals(tuner, study)])
    assert (xs < 0.3).sum() >= 5 and (xs > 0.7).sum() >= 5
    ys = np.array([p["y"] for p in proposals(tuner, study)])
    assert ys.mean() < 0.5  # y only costs


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_infeasible_regions_are_left(tuner: str) -> None:
    rows: list[tuple[dict[str, Any], list[float] | None]] = [
        (p, None if p["x"] > 0.4 else [p["x"], 1.0 + p["y"]]) for p in grid()
    ]
    xs = [p["x"] for p in proposals(tuner, study_of(rows, constraints=3.0))]
    assert np.mean(np.array(xs) <= 0.45) > 0.6


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_with_nothing_feasible_smaller_violations_attract(tuner: str) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for p in grid():
        trial = create_trial(
            params=p, distributions=SPACE, state=TrialState.PRUNED, system_attrs={"constraints:size": 1 + p["x"]}
        )
        study.add_trial(trial)
    assert np.mean([p["x"] for p in proposals(tuner, study)]) < 0.35


@pytest.mark.parametrize("tuner", [*ADAPTIVE, "random"])
def test_a_study_in_a_database_resumes_exactly(tuner: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    def go(name: str, trials: int) -> list[dict[str, Any]]:
        study = optuna.create_study(
            study_name=name,
            storage=url,
            directions=["maximize", "minimize"],
            load_if_exists=True,
            sampler=NNISampler(tuner, SPACE, seed=4),
        )
        for _ in range(trials):
            trial = study.ask(SPACE)
            study.tell(trial, [trial.params["x"], 1 + trial.params["x"] * trial.params["y"]])
        return [t.params for t in study.trials]

    go("broken", 22)
    assert go("broken", 3) == go("whole", 25)


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_told_results_change_the_next_proposal_after_a_resume(tuner: str) -> None:
    rows = [(p, [p["x"], 1 + p["y"]]) for p in grid()]
    more = [({"x": 0.5, "y": 0.0}, [9.0, 0.01])]
    assert proposals(tuner, study_of(rows[:-1] + more), 1) != proposals(tuner, study_of(rows), 1)


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_inactive_parameters_neither_hinder_nor_mislead(tuner: str) -> None:
    """``z`` is active in the worse half only."""
    space: dict[str, BaseDistribution] = {"kind": CategoricalDistribution(["a", "b"])}
    space |= {name: FloatDistribution(0, 1) for name in ("u", "v", "x", "z")}
    rows: list[tuple[dict[str, Any], list[float] | None]] = []
    for p in grid():
        common = {"x": p["x"], "u": p["y"], "v": p["y"]}
        rows.append(({"kind": "a", **common}, [1 + p["x"]]))
        rows.append(({"kind": "b", **common, "z": p["y"]}, [p["x"] - p["y"]]))
    asked = proposals(tuner, study_of(rows, space, directions=("maximize",)), space=space)
    assert np.mean([p["x"] for p in asked]) > 0.65
    assert np.mean([p["kind"] == "a" for p in asked]) > 0.5


@pytest.mark.parametrize("tuner", [*ADAPTIVE, "random"])
def test_a_small_space_is_used_up_before_anything_repeats(tuner: str) -> None:
    space = {"a": IntDistribution(1, 3), "b": CategoricalDistribution([None, True, "x"])}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=NNISampler(tuner, space, seed=0))
    seen = []
    for _ in range(12):  # only 9 candidates exist: the last ones must repeat, and must not raise
        trial = study.ask(space)
        seen.append((trial.params["a"], trial.params["b"]))
        study.tell(trial, [trial.params["a"], 1.0])
    assert len(set(seen[:8])) == 8


def test_evolution_never_runs_out_with_many_trials_in_flight() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=evolution(0, SPACE))
    trials = [study.ask(SPACE) for _ in range(2 * POPULATION)]
    assert len({t.params["x"] for t in trials}) == len(trials)


@pytest.mark.parametrize("tuner", ADAPTIVE)
def test_a_pruned_copy_of_a_good_candidate_does_not_spoil_it(tuner: str) -> None:
    rows: list[tuple[dict[str, Any], list[float] | None]] = [(p, [p["x"]]) for p in grid()]
    copies: list[tuple[dict[str, Any], list[float] | None]] = [(p, None) for p, _ in rows]
    plain = proposals(tuner, study_of(rows, directions=("maximize",)), 30)
    copied = proposals(tuner, study_of(rows + copies, directions=("maximize",)), 30)
    assert abs(np.mean([p["x"] for p in plain]) - np.mean([p["x"] for p in copied])) < 0.15


def test_python_s_global_random_state_is_left_alone() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    proposals("evolution", study_of([(p, [p["x"], 1.0]) for p in grid()]), 3)
    assert random.random() == expected


def test_it_says_once_how_it_scalarises_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    caplog.set_level(logging.INFO)
    proposals("tpe", study_of([(p, [p["x"], 1.0]) for p in grid()]), 3)
    said = [r.getMessage() for r in caplog.records if r.name.startswith(("autokd", "nni"))]
    assert len(said) == 1 and "Chebyshev" in said[0]
    assert capsys.readouterr().out == ""


def test_an_unknown_tuner_is_refused() -> None:
    with pytest.raises(ConfigError, match="'evolution'"):
        NNISampler("evolutoin")


def test_without_nni_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_nni(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "nni":
            raise ImportError("No module named 'nni'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_nni)
    with pytest.raises(ConfigError, match="optuna:tpe") as caught:
        NNISampler("tpe")
    assert "\n" not in str(caught.value)
