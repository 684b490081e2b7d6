"""The contract of a sampler: ``check_sampler(factory)`` raises AssertionError with what is wrong, or returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from autokd.storage.optuna_private import contains

Factory = Callable[[int, Mapping[str, BaseDistribution]], BaseSampler]
Params = Mapping[str, Any]
Directions = Sequence[Literal["maximize", "minimize"]]

SPACE: dict[str, BaseDistribution] = {
    "family": CategoricalDistribution(["mobilenet", "resnet"]),
    "expansion": IntDistribution(1, 6),
    "width": IntDistribution(4, 64, log=True),
    "depth": IntDistribution(2, 8, step=2),
    "lr": FloatDistribution(1e-3, 1.0, log=True),
    "ratio": FloatDistribution(0.0, 0.7, step=0.1),
    "alpha": FloatDistribution(-1.0, 1.0),
    "bits": CategoricalDistribution([32, 8]),
    "teacher": CategoricalDistribution([None, True, "kd", 0.5]),
    "only": CategoricalDistribution(["one"]),
}
"""Every kind of parameter; ``expansion`` exists only in the family ``"mobilenet"``."""

TRIALS = 36


def suggest(trial: Trial) -> dict[str, Any]:
    """The parameters of ``SPACE`` that are active in this trial, asked one by one as a study does."""
    params: dict[str, Any] = {}
    for name, d in SPACE.items():
        if name == "expansion" and params["family"] != "mobilenet":
            continue
        if isinstance(d, CategoricalDistribution):
            params[name] = trial.suggest_categorical(name, d.choices)
        elif isinstance(d, IntDistribution):
            params[name] = trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, FloatDistribution):
            params[name] = trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    return params


def check_sampler(factory: Factory, *, adaptive: bool = True, stateless: bool = False) -> None:
    """Everything autokd expects of a sampler.

    Args:
        factory: ``(seed, space) -> BaseSampler``.
        adaptive: Told results must change what is proposed.
        stateless: A new sampler over the same ledger must go on exactly as the old one would have.

    Raises:
        AssertionError: What does not hold.
    """
    objectives: Directions = ("maximize", "minimize", "minimize")
    for directions in (objectives[:1], objectives[:2], objectives):
        first = run(factory, directions)
        check_inside(first)
        _require(
            _params(run(factory, directions)) == _params(first), f"equal seeds must propose the same: {directions}"
        )
        _require(_params(run(factory, directions, seed=1)) != _params(first), f"seeds must differ: {directions}")
        if adaptive:
            told = _params(run(factory, directions, upside_down=True))
            _require(told[0] == _params(first)[0], "the first proposal must not depend on results")
            _require(told != _params(first), f"told results must change what is proposed: {directions}")
    check_resumed(factory, stateless=stateless)
    check_parallel(factory)
    check_inside(run(factory, objectives[:2], nothing_feasible=True))


def check_inside(study: optuna.Study) -> None:
    """Every proposal lies in its distribution; only active parameters are recorded."""
    for trial in study.trials:
        for name, value in trial.params.items():
            d = SPACE[name]
            _require(contains(d, value), f"{name}={value!r} must lie in {d}")
        mobile = trial.params["family"] == "mobilenet"
        _require(("expansion" in trial.params) == mobile, "inactive parameters must be ignored")


def check_resumed(factory: Factory, *, stateless: bool) -> None:
    """A new sampler object goes on with an existing study; a stateless one as if there had been no break."""
    directions: Directions = ("maximize", "minimize")
    storage = optuna.storages.InMemoryStorage()
    run(factory, directions, storage=storage, name="resumed", trials=TRIALS - 4)
    study = optuna.load_study(study_name="resumed", storage=storage, sampler=factory(0, SPACE))
    _continue(study, 4)
    check_inside(study)
    _require(len(study.trials) == TRIALS, "a resumed study must go on")
    if stateless:
        whole = run(factory, directions)
        _require(_params(study) == _params(whole), "a resumed study must propose what the uninterrupted one would")


def check_parallel(factory: Factory) -> None:
    """Proposals made before any of them is told a result differ; failed trials do not stop the sampler."""
    study = run(factory, ("maximize", "minimize"))
    trials = [study.ask() for _ in range(6)]
    params = [suggest(t) for t in trials]
    _require(all(a != b for i, a in enumerate(params) for b in params[:i]), "parallel proposals must differ")
    for trial in trials:
        study.tell(trial, state=TrialState.FAIL)
    _continue(study, 2)
    check_inside(study)


def run(
    factory: Factory,
    directions: Directions,
    *,
    seed: int = 0,
    trials: int = TRIALS,
    upside_down: bool = False,
    nothing_feasible: bool = False,
    storage: optuna.storages.BaseStorage | str | None = None,
    name: str | None = None,
) -> optuna.Study:
    """A small study over ``SPACE``: some trials infeasible, one failed, the others measured by a formula."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            directions=list(directions), sampler=factory(seed, SPACE), storage=storage, study_name=name
        )
        _continue(study, trials, upside_down, nothing_feasible)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study


def _continue(study: optuna.Study, trials: int, upside_down: bool = False, nothing_feasible: bool = False) -> None:
    for _ in range(trials):
        trial = study.ask()
        params = suggest(trial)
        size = params["width"] * params["depth"] * (1 - params["ratio"]) * params["bits"]
        trial.set_constraint("size", 1.0 if nothing_feasible else size - 10_000)
        if trial.number == 5:
            study.tell(trial, state=TrialState.FAIL)
        elif nothing_feasible or size > 10_000:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            values = _measure(params, size)[: len(study.directions)]
            study.tell(trial, [-v for v in values] if upside_down else values)


def _measure(params: Params, size: float) -> list[float]:
    quality = 1 - 1 / (1 + size / 500) - 0.2 * abs(params["alpha"]) - (0.1 if params["teacher"] is None else 0.0)
    return [quality, 0.01 * size + params.get("expansion", 1), size]


def _params(study: optuna.Study) -> list[dict[str, Any]]:
    return [t.params for t in study.trials]


def _require(holds: bool, law: str) -> None:
    if not holds:
        raise AssertionError(law)
