"""The frontier sampler in other people's studies: contracts, exactness, conditions, batches, resume, constraints."""

from __future__ import annotations

import datetime
import math
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from optuna.trial import TrialState, create_trial

from autokd.config.space import load_space
from autokd.pareto import hypervolume
from autokd.samplers import FrontierSampler
from autokd.samplers.candidates import key
from autokd.samplers.declared import Declared
from autokd.samplers.frontier import REFINED, duration
from autokd.testing.samplers import check_sampler

DIRECTIONS = ["minimize", "maximize"]
Params = dict[str, Any]


class _Frontier:
    @pytest.fixture(params=[10, 2], ids=["startup", "modelled"])
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        return lambda: FrontierSampler(seed=0, startup=request.param, pool=40)


class TestOptunasBasicContract(_Frontier, BasicSamplerTestCase):
    pass


class TestOptunasRelativeContract(_Frontier, RelativeSamplerTestCase):
    pass


class TestOptunasMultiObjectiveContract(_Frontier, MultiObjectiveSamplerTestCase):
    pass


def test_it_keeps_autokds_contract_and_needs_no_memory() -> None:
    check_sampler(lambda seed, space: FrontierSampler(space=space, seed=seed, pool=60), stateless=True)


# ------------------------------------------------------------------------------------------------ toy problems


def latency(params: Params) -> float:
    return 0.1 * params["width"] * params.get("depth", 2)


def suggest(trial: Any) -> Params:
    params: Params = {"family": trial.suggest_categorical("family", ["plain", "mobile"])}
    if params["family"] == "plain":
        params["depth"] = trial.suggest_int("depth", 1, 9)
    else:
        params["squeeze"] = trial.suggest_float("squeeze", 1e-3, 1.0, log=True)
    params["width"] = trial.suggest_int("width", 4, 64)
    return params


def accuracy(params: Params) -> float:
    penalty = 0.0 if "depth" in params else 0.05 * abs(math.log(params["squeeze"]) + 3)
    return 1 - 1 / (1 + latency(params) / 3) - penalty


def objective(trial: Any) -> tuple[float, float]:
    params = suggest(trial)
    return latency(params), accuracy(params)


def studied(sampler: BaseSampler, trials: int, function: Any = objective, **options: Any) -> optuna.Study:
    study = optuna.create_study(directions=options.pop("directions", DIRECTIONS), sampler=sampler, **options)
    study.optimize(function, n_trials=trials)
    return study


def params_of(study: optuna.Study) -> list[Params]:
    return [t.params for t in study.trials]


def volume(study: optuna.Study) -> float:
    return hypervolume([t.values for t in study.trials if t.values], [60.0, 0.0], DIRECTIONS)


# ------------------------------------------------------------------------------------------------------- known


@pytest.mark.parametrize("space", [None, suggest], ids=["learnt", "asked"])
def test_known_gets_whole_dictionaries_once_each(space: Any) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()

    def known(params: Params) -> float:
        calls[tuple(sorted(params.items()))] += 1
        assert ("depth" in params) == (params["family"] == "plain")
        assert ("squeeze" in params) == (params["family"] == "mobile")
        return latency(params)

    study = studied(FrontierSampler({0: known}, space=space, seed=0, pool=60), 16)
    assert set(calls.values()) == {1}
    assert len(calls) > 200
    assert {tuple(sorted(p.items())) for p in params_of(study)[5:]} <= set(calls)


def test_known_that_fails_leaves_the_candidate_out(caplog: pytest.LogCaptureFixture) -> None:
    def known(params: Params) -> float:
        if params["width"] > 32:
            raise ValueError("too wide")
        return latency(params) if params["width"] > 8 else math.nan

    study = studied(FrontierSampler({0: known}, space=suggest, seed=0, pool=60), 14)
    assert all(8 < p["width"] <= 32 for p in params_of(study))
    assert caplog.text.count("too wide") == 1


def test_both_ends_of_a_known_objective_are_in_sight() -> None:
    """The best accuracy costs most; the trials that are spread at first need not come near it."""

    def objective(trial: Any) -> tuple[float, float]:
        x = trial.suggest_float("x", 0.0, 1.0)
        return x**6, x

    study = studied(FrontierSampler({0: lambda p: p["x"] ** 6}, seed=0, startup=4, pool=60), 12, objective)
    assert max(t.params["x"] for t in study.trials[:4]) < 0.6
    assert max(t.params["x"] for t in study.trials) > 0.95


class Slow:
    """The latency, whose exact value costs a call; for pools there is one that is off by up to a tenth."""

    def __init__(self) -> None:
        self.asked: list[Params] = []

    def __call__(self, params: Params) -> float:
        self.asked.append(params)
        return latency(params)

    def rough(self, pool: Sequence[Params]) -> np.ndarray:
        return np.array([latency(p) * (1 + 0.1 * math.sin(len(key(p)) % 7)) for p in pool])


def test_pools_are_ranked_roughly_and_the_best_few_exactly() -> None:
    slow = Slow()
    study = studied(FrontierSampler(known={0: slow}, seed=0, pool=100), 30)
    assert len(slow.asked) <= 30 + 20 * REFINED
    for trial in study.trials[12:]:  # whatever was proposed from the model was asked exactly
        assert trial.params in slow.asked
    plain = studied(FrontierSampler(known={0: latency}, seed=0, pool=100), 30)
    assert volume(study) > 0.97 * volume(plain)


class Roughly:
    """Three features, approximated for pools."""

    def __call__(self, params: Params) -> list[float]:
        return [1.0, 2.0, float(len(params))]

    def rough(self, pool: Sequence[Params]) -> np.ndarray:
        return np.array([self(p) for p in pool])


def test_several_are_proposed_before_any_is_finished() -> None:
    space = load_space("mobilenet_28")

    def told() -> FrontierSampler:
        sampler = FrontierSampler(seed=0, pool=60)
        sampler.informed(known={0: lambda p: float(p["resolution"])}, features=Roughly(), complete=Declared(space))
        return sampler

    study = optuna.create_study(directions=["minimize", "maximize"], sampler=told())
    trials = [study.ask() for _ in range(3)]
    first = [space.suggest(t) for t in trials]
    assert first[0] != first[1] != first[2]
    study.sampler = told()  # as after a crash: the others still run
    fourth = study.ask()
    assert space.suggest(fourth) not in first
    for trial in (*trials, fourth):
        study.tell(trial, (float(trial.params["resolution"]), 0.5))
    for _ in range(10):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, (float(trial.params["resolution"]), 0.5))


def test_ranges_may_depend_on_other_parameters(caplog: pytest.LogCaptureFixture) -> None:
    def suggest(trial: Any) -> tuple[int, int]:
        depth = trial.suggest_int("depth", 1, 4)
        return depth, trial.suggest_int("width", 8, 32 * depth)

    def wide(trial: Any) -> tuple[float, float]:
        depth, width = suggest(trial)
        return float(depth), width / 128

    sampler = FrontierSampler({0: lambda p: float(p["depth"] + 0 * p["width"])}, space=suggest, seed=0, pool=80)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.optimize(wide, n_trials=25)
    assert "left out" not in caplog.text, "every candidate is whole"
    assert all(8 <= t.params["width"] <= 32 * t.params["depth"] for t in study.trials)
    assert max(t.params["width"] for t in study.trials) > 96, "the far end of the widest range is found"


def test_features_may_be_exchanged() -> None:
    sampler = FrontierSampler(seed=0, pool=40, features=lambda params: [1.0])
    study = studied(sampler, 14)
    asked: list[Params] = []
    sampler.features = lambda params: asked.append(params) or [latency(params), 2.0]  # type: ignore[func-returns-value]
    study.optimize(objective, n_trials=2)
    assert len(asked) > 40


def test_it_beats_chance() -> None:
    def mean(make: Callable[[int], BaseSampler]) -> float:
        return float(np.mean([volume(studied(make(seed), 24)) for seed in range(3)]))

    chance = mean(lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert mean(lambda seed: FrontierSampler({0: latency}, seed=seed, pool=80)) > chance + 0.2
    assert mean(lambda seed: FrontierSampler(seed=seed, pool=80)) > chance + 0.2
    everything = {0: latency, 1: accuracy}
    assert mean(lambda seed: FrontierSampler(everything, space=suggest, seed=seed, pool=80)) > chance + 0.2


def test_features_must_keep_their_length() -> None:
    sampler = FrontierSampler(features=lambda p: np.zeros(p["width"]), space=suggest, seed=0, pool=20)
    with pytest.raises(ValueError, match="features must give"):
        studied(sampler, 3)


# ------------------------------------------------------------------------------------------------------- spaces


def test_a_small_space_is_looked_at_as_a_whole_and_never_repeats() -> None:
    seen: set[tuple[int, int]] = set()

    def known(params: Params) -> float:
        seen.add((params["a"], params["b"]))
        return float(params["a"])

    def function(trial: Any) -> tuple[float, float]:
        a, b = trial.suggest_int("a", 0, 5), trial.suggest_int("b", 0, 4)
        return float(a), float(a - (b - 2) ** 2)

    study = studied(FrontierSampler({0: known}, seed=0), 30, function)
    assert len(seen) == 30
    pairs = [tuple(p.values()) for p in params_of(study)]
    assert len(set(pairs[5:])) == 25
    study.optimize(function, n_trials=8)  # used up: it goes on, with what is best
    assert len(study.trials) == 38


def test_nested_conditions_are_learnt() -> None:
    wrong: list[Params] = []

    def suggest_tree(trial: Any) -> Params:
        params: Params = {"stages": trial.suggest_int("stages", 1, 3)}
        for i in range(1, params["stages"] + 1):
            params[f"kind_{i}"] = trial.suggest_categorical(f"kind_{i}", ["conv", "mbconv"])
            if params[f"kind_{i}"] == "mbconv":
                params[f"expand_{i}"] = trial.suggest_int(f"expand_{i}", 1, 6)
        return params

    def right(params: Params) -> bool:
        names = {"stages"}
        for i in range(1, params["stages"] + 1):
            names |= {f"kind_{i}"} | ({f"expand_{i}"} if params.get(f"kind_{i}") == "mbconv" else set())
        return names == set(params)

    def known(params: Params) -> float:
        if not right(params):
            wrong.append(params)
        return float(len(params))

    def function(trial: Any) -> tuple[float, float]:
        params = suggest_tree(trial)
        return float(len(params)), sum(v for v in params.values() if isinstance(v, int))

    study = studied(FrontierSampler({0: known}, seed=1, startup=24, pool=60), 12, function)
    study.optimize(function, n_trials=18)
    before = len(wrong)
    study.optimize(function, n_trials=6)
    assert len(wrong) == before, wrong[before:][:3]


def test_a_declared_space_of_distributions_is_enough() -> None:
    space: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0, 1),
        "n": IntDistribution(1, 100, log=True),
        "c": CategoricalDistribution([None, True, 1, "a"]),
        "one": CategoricalDistribution(["only"]),
    }
    study = optuna.create_study(directions=DIRECTIONS, sampler=FrontierSampler(space=space, seed=0, pool=40))
    for _ in range(14):
        trial = study.ask(space)
        study.tell(trial, [trial.params["x"], trial.params["n"]])
    assert all(set(p) == set(space) for p in params_of(study))


# ---------------------------------------------------------------------------------- batches, resume, reproducible


@pytest.mark.parametrize("told", [0, 3, 20])
def test_a_batch_has_different_points(told: int) -> None:
    study = studied(FrontierSampler({0: latency}, seed=0, pool=80), told)
    batch = [study.ask() for _ in range(6)]
    params = [suggest(t) for t in batch]
    assert all(a != b for i, a in enumerate(params) for b in params[:i])
    for trial, p in zip(batch, params, strict=True):
        study.tell(trial, [latency(p), accuracy(p)])
    study.optimize(objective, n_trials=1)


def test_a_batch_spreads_along_the_front() -> None:
    study = studied(FrontierSampler({0: latency}, seed=0, pool=200), 24)
    alone = latency(suggest(study.ask()))
    batch = [latency(suggest(study.ask())) for _ in range(4)]
    assert max(batch) - min(batch) > 1.0 or abs(batch[0] - alone) > 1.0


def test_a_resumed_study_goes_on_as_the_uninterrupted_one(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/ledger.db"

    def make() -> FrontierSampler:
        return FrontierSampler({0: latency}, features=lambda p: [p["width"]], seed=5, pool=40)

    studied(make(), 17, storage=storage, study_name="s")
    resumed = optuna.load_study(study_name="s", storage=storage, sampler=make())
    resumed.optimize(objective, n_trials=3)
    assert params_of(resumed) == params_of(studied(make(), 20))


def test_a_small_space_is_reproduced_too() -> None:
    def function(trial: Any) -> tuple[float, float]:
        values = [trial.suggest_categorical(f"edge_{i}", ["none", "skip", "conv"]) for i in range(5)]
        return float(values.count("conv")), values.count("conv") - 0.3 * values.count("none")

    whole = studied(FrontierSampler({}, seed=0), 24, function)
    storage = optuna.storages.InMemoryStorage()
    for trials in (9, 13, 2):
        study = optuna.create_study(
            directions=DIRECTIONS, sampler=FrontierSampler(seed=0), storage=storage, study_name="s", load_if_exists=True
        )
        study.optimize(function, n_trials=trials)
    assert params_of(study) == params_of(whole)


def test_it_can_be_pickled_and_run_in_threads() -> None:
    sampler = pickle.loads(pickle.dumps(FrontierSampler({0: latency}, seed=0, pool=40)))  # noqa: S301
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    study.optimize(objective, n_trials=16, n_jobs=2)
    assert all(t.state is TrialState.COMPLETE for t in study.trials)


# -------------------------------------------------------------------------------- constraints and odd outcomes


@pytest.mark.parametrize("known", [{}, {"slow": lambda p: latency(p) - 10}], ids=["modelled", "exact"])
def test_constraints_are_kept(known: Any) -> None:
    def function(trial: Any) -> tuple[float, float]:
        params = suggest(trial)
        trial.set_constraint("slow", latency(params) - 10)
        if latency(params) > 10:
            raise optuna.TrialPruned
        return latency(params), accuracy(params)

    study = studied(FrontierSampler({0: latency, **known}, seed=0, pool=80), 30, function)
    late = [latency(t.params) <= 10 for t in study.trials[14:]]
    assert np.mean(late) > (0.99 if known else 0.7)


def test_nothing_feasible_failures_nan_and_infinity_are_survived() -> None:
    def function(trial: Any) -> tuple[float, float]:
        params = suggest(trial)
        if trial.number < 12:
            trial.set_constraint("never", 1.0)
        if trial.number % 4 == 1:
            raise RuntimeError("out of memory")
        if trial.number % 4 == 2:
            return latency(params), math.nan
        return latency(params), (-math.inf if trial.number % 8 == 3 else accuracy(params))

    study = optuna.create_study(directions=DIRECTIONS, sampler=FrontierSampler({0: latency}, seed=0, pool=40))
    study.optimize(function, n_trials=28, catch=(RuntimeError,))
    assert len(study.trials) == 28


def test_directions_count() -> None:
    def function(trial: Any) -> tuple[float, float]:
        a, b = objective(trial)
        return -a, -b

    there = studied(FrontierSampler(seed=0, pool=40), 14)
    back = studied(FrontierSampler(seed=0, pool=40), 14, function, directions=["maximize", "minimize"])
    assert params_of(there) == params_of(back)


def test_one_objective_is_expected_improvement() -> None:
    def function(trial: Any) -> float:
        x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
        return (x - 1) ** 2 + (y + 2) ** 2

    study = studied(FrontierSampler(seed=0, pool=200), 30, function, directions=["minimize"])
    assert study.best_value < 0.3


def test_three_objectives() -> None:
    def function(trial: Any) -> tuple[float, float, float]:
        a, b = objective(trial)
        return a, b, float(trial.params["width"])

    study = studied(
        FrontierSampler({0: latency, 2: lambda p: p["width"]}, seed=0, pool=60), 16, function,
        directions=["minimize", "maximize", "minimize"],
    )  # fmt: skip
    assert len(study.best_trials) > 5


def test_cost_makes_dear_trials_rarer() -> None:
    def dear(params: Params) -> float:
        return 100.0 if "depth" in params else 1.0

    def share(**options: Any) -> float:
        study = studied(FrontierSampler({0: latency}, space=suggest, seed=0, pool=80, **options), 24)
        return float(np.mean(["depth" in p for p in params_of(study)[10:]]))

    free = share()
    assert share(cost=dear) < free
    assert share(spent=lambda trial: dear(trial.params)) < free
    assert share(spent=lambda trial: None) == free
    assert share(spent=lambda trial: 3.0) == pytest.approx(free, abs=0.2)


def test_a_trials_duration_is_a_cost() -> None:
    began = datetime.datetime(2026, 1, 1)
    trial = create_trial(value=1.0)
    trial.datetime_start, trial.datetime_complete = began, began + datetime.timedelta(seconds=90)
    assert duration(trial) == 90.0
    assert duration(create_trial(state=TrialState.RUNNING)) is None


@pytest.mark.parametrize(
    ("options", "law"),
    [
        ({"scales": ["log"]}, "scales must be 2 times"),
        ({"scales": ["log", "cubic"]}, "scales must be 2 times"),
        ({"reference_point": [1.0]}, "reference_point must have 2 entries"),
        ({"known": {2: latency}}, "known must name objectives 0 to 1"),
    ],
)
def test_wrong_options_are_refused(options: Any, law: str) -> None:
    with pytest.raises(ValueError, match=law):
        studied(FrontierSampler(**options, seed=0, space=suggest, startup=2), 3)


def test_a_log_scale_refuses_what_has_no_logarithm() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=FrontierSampler(scales=["log", "linear"], startup=1))
    params = {"x": 0.5}
    study.add_trial(create_trial(params=params, distributions={"x": FloatDistribution(0, 1)}, values=[0.0, 1.0]))
    with pytest.raises(ValueError, match="above 0"):
        study.ask({"x": FloatDistribution(0, 1)})


def test_reference_point_bounds_what_is_worth_a_trial() -> None:
    sampler = FrontierSampler({0: latency}, reference_point=[8.0, None], space=suggest, seed=0, pool=80)
    assert all(latency(p) < 8.0 for p in params_of(studied(sampler, 24))[10:])
