"""What the driver tells a frontier sampler: exact costs from sketches, free features, the measure, and the gated proxy."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.evaluation.parts import Parts
from autokd.evaluation.prepare import load_data
from autokd.evaluation.screening import free_facts, preflight
from autokd.evaluation.screening.free_facts import FACTS, interpolated_facts
from autokd.evaluation.screening.sketching import sketch_costs
from autokd.evaluation.stages.prune import Cutting
from autokd.samplers import FrontierSampler
from autokd.samplers.declared import Declared
from autokd.storage.attributes import RECORD_KEY, REFERENCE_KEY
from autokd.strategies.driver import Driver
from autokd.strategies.guidance import Guidance
from autokd.strategies.sampling import make_sampler
from autokd.study.study import Study
from autokd.trial import CONTINUES, RETIMED, Measurement, Outcome, Stage, StageRecord, TrialRecord, Violation

GOALS = {
    "space": "digits",
    "sampler": "frontier",
    "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread", "minimize macs"],
    "constraints": ["params <= 3000", "size_bytes <= 60 kB"],
}
REFERENCE = [0.1, 1.0, 1e6]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study whose data are there, but no teacher."""
    folder = tmp_path_factory.mktemp("guidance")
    plan = planned()
    preflight.set_up_untaught(plan, load_data(plan, folder, lambda text, share: None), folder, folder)
    return folder


def planned(**changes: Any) -> Plan:
    return make_plan(from_dict(tiny(**GOALS | changes)))


def drawn(plan: Plan, count: int, seed: int = 3) -> list[dict[str, Any]]:
    complete, rng = Declared(plan.space), random.Random(seed)
    return [complete({}, rng) for _ in range(count)]


def measured(macs: float, accuracy: float, latency: float, params: Any = None) -> TrialRecord:
    values = {"accuracy": accuracy, "latency_ms@cpu_1_thread": latency, "macs": macs, "params": macs / 4}
    found = [Measurement(n.split("@")[0], v, "", n.split("@")[1] if "@" in n else None) for n, v in values.items()]
    return TrialRecord(Outcome.MEASURED, params or {}, tuple(found))


def test_facts_are_those_of_the_screened_candidate(home: Path) -> None:
    parts = Parts.open(home)
    facts = interpolated_facts(parts)
    space = parts.plan.space
    for params in drawn(parts.plan, 4):
        whole = {**space.fixed, **params}
        shape, pruning = space.of_stage(Stage.BUILD, whole), space.of_stage(Stage.PRUNE, whole)
        ratios = Cutting.of(pruning).ratios
        costs = sketch_costs(parts.bench, space.family, parts.blueprint(shape), ratios, 32, [])
        assert np.exp(facts(params)[:3]) == pytest.approx([costs[name].value for name in FACTS[:3]])


def test_interpolated_facts_rank_a_pool_and_are_the_same_whatever_was_asked(home: Path) -> None:
    parts = Parts.open(home)
    facts, other = interpolated_facts(parts), interpolated_facts(parts)
    pool = drawn(parts.plan, 60)
    exact = np.array([facts(p) for p in pool])
    rough = facts.rough(pool)
    assert (np.sqrt(np.mean((rough - exact) ** 2, axis=0)) < 0.25 * exact.std(axis=0)).all()
    assert rough == pytest.approx(other.rough(pool), abs=1e-12)


def test_training_parameters_cost_no_second_sketch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, calls = Parts.open(home), []
    monkeypatch.setattr(free_facts, "log_facts", lambda parts, params: calls.append(params) or np.zeros(5))
    facts = interpolated_facts(parts)
    params = drawn(parts.plan, 1)[0]
    first = [facts({**params, "lr": rate, "bits": bits}).tolist() for rate in (0.1, 0.2) for bits in (8, 32)]
    assert len(calls) == 1 and len(first) == 4


def test_a_frontier_sampler_is_told_what_needs_no_training(home: Path) -> None:
    plan = planned()
    sampler = make_sampler(plan, 0)
    assert isinstance(sampler, FrontierSampler)
    Guidance(plan, home, REFERENCE).inform(sampler)
    # int8 files are in the space, so the size of a file is not told by a sketch
    assert set(sampler.known) == {2, "params <= 3000"}
    assert sampler.scales == plan.scales and sampler.reference_point == REFERENCE
    params = drawn(plan, 1)[0]
    assert sampler.features is not None
    facts = np.exp(sampler.features(params))
    assert sampler.known[2](params) == pytest.approx(facts[FACTS.index("macs")])
    violation = sampler.known["params <= 3000"](params)
    assert (violation > 0) == (facts[FACTS.index("params")] > 3000)


def test_the_size_is_known_where_nothing_is_quantized(home: Path) -> None:
    space = json.loads(json.dumps(dict(planned().space_source)))
    del space["parameters"]["bits"]
    plan = planned(space=space)
    sampler = make_sampler(plan, 0)
    assert isinstance(sampler, FrontierSampler)
    Guidance(plan, home, REFERENCE).inform(sampler)
    assert any(str(k).startswith("size_bytes") for k in sampler.known)


def test_what_the_makers_of_a_sampler_said_stays(home: Path) -> None:
    own = FrontierSampler({2: lambda params: 7.0}, features=lambda params: [1.0], reference_point=[0, 0, 0], seed=1)
    Guidance(planned(), home, REFERENCE).inform(own)
    assert own.known[2]({}) == 7.0 and "params <= 3000" in own.known
    assert own.features is not None and own.features({}) == [1.0]
    assert own.reference_point == [0, 0, 0]
    guidance = Guidance(planned(), home, REFERENCE)
    guidance.observe(measured(5e3, 0.9, 0.01))
    guidance.inform(own)
    assert own.reference_point == [0, 0, 0]


def test_students_with_many_times_the_errors_of_the_best_one_count_for_nothing(home: Path) -> None:
    """Unless the study says what does: its hypervolume begins at chance, where a fast student that guesses is worth a lot."""
    references = {}
    for stated in ({}, {"accuracy": 0.1}):
        plan = planned(reference_point=stated)
        sampler = make_sampler(plan, 0)
        assert isinstance(sampler, FrontierSampler)
        guidance = Guidance(plan, home, REFERENCE)
        guidance.inform(sampler)
        assert sampler.reference_point == REFERENCE
        guidance.observe(measured(5e3, 0.9, 0.01))
        guidance.observe(measured(5e3, 0.8, 0.01))
        refused = Violation("params <= 3000", 9000.0, 6000.0)
        guidance.observe(replace(measured(5e3, 0.99, 0.01), violations=(refused,)))
        guidance.inform(sampler)
        assert sampler.reference_point is not None
        references[bool(stated)] = sampler.reference_point
    assert references[True] == REFERENCE
    assert references[False] == pytest.approx([0.75, *REFERENCE[1:]])


def test_what_trials_took_is_told(home: Path) -> None:
    plan = planned()
    sampler = make_sampler(plan, 0)
    assert isinstance(sampler, FrontierSampler)
    Guidance(plan, home, REFERENCE).inform(sampler)
    assert sampler.spent is not None
    record = replace(measured(5e3, 0.5, 0.01), stages=(StageRecord(Stage.DISTILL, "k", 9.0, cpu_s=7.5),))
    attrs = {RECORD_KEY: record.to_json()}
    trial = optuna.trial.create_trial(values=[0.5, 0.01, 5e3], user_attrs=attrs)
    assert sampler.spent(trial) == 7.5
    shorter = (
        replace(record, notes={RETIMED: {"study": "old", "trial": 3}}),
        replace(record, notes={CONTINUES: 3}),
        replace(record, stages=(StageRecord(Stage.DISTILL, "k", 9.0, cpu_s=7.5, cached=True),)),
        None,
    )
    for number, part in enumerate(shorter, start=1):
        own = {} if part is None else {RECORD_KEY: part.to_json()}
        trial = optuna.trial.create_trial(values=[0.5, 0.01, 5e3], user_attrs=own)
        trial.number = number
        assert sampler.spent(trial) is None, "it did not pay for all of its training"


def test_other_samplers_are_left_alone(home: Path) -> None:
    sampler = optuna.samplers.RandomSampler(seed=0)
    before = dict(vars(sampler))
    Guidance(planned(), home, REFERENCE).inform(sampler)
    assert vars(sampler) == before


def test_the_proxy_is_a_feature_only_while_it_is_informative(home: Path) -> None:
    plan = planned()
    sampler = make_sampler(plan, 0)
    assert isinstance(sampler, FrontierSampler)
    guidance = Guidance(plan, home, REFERENCE)
    guidance.inform(sampler)
    params = drawn(plan, 1)[0]
    rng = np.random.default_rng(0)

    def width() -> int:
        guidance.inform(sampler)
        assert sampler.features is not None
        assert sampler.features.rough([params]).shape == (1, len(sampler.features(params)))  # type: ignore[attr-defined]
        return len(sampler.features(params))

    assert width() == len(FACTS)
    for macs in np.exp(rng.uniform(8, 12, 30)):
        guidance.observe(measured(macs, math.log(macs) / 20, rng.uniform(0.01, 0.02)))
    assert guidance.gate.informative and width() == len(FACTS) + 1
    for macs in np.exp(rng.uniform(8, 12, 90)):
        guidance.observe(measured(macs, 1 - math.log(macs) / 20, rng.uniform(0.01, 0.02)))
    assert not guidance.gate.informative and width() == len(FACTS)


def test_a_family_that_cannot_be_sketched_is_modelled_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def refuse(parts: Parts, params: Any) -> np.ndarray:
        calls.append(1)
        raise ValueError("no")

    monkeypatch.setattr(free_facts, "log_facts", refuse)
    plan = planned()
    sampler = make_sampler(plan, 0)
    assert isinstance(sampler, FrontierSampler)
    Guidance(plan, home, REFERENCE).inform(sampler)
    assert sampler.known == {} and sampler.features is None
    assert sampler.reference_point == REFERENCE
    assert len(calls) < 50


def test_a_candidate_that_cannot_be_sketched_is_interpolated(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, real = Parts.open(home), free_facts.log_facts

    def picky(parts: Parts, params: Any) -> np.ndarray:
        if params["stem_width"] == 10:
            raise ValueError("no")
        return real(parts, params)

    monkeypatch.setattr(free_facts, "log_facts", picky)
    facts = interpolated_facts(parts)
    params = drawn(parts.plan, 1)[0] | {"stem_width": 10}
    assert np.isfinite(facts(params)).all()
    low, high = (real(parts, {**parts.plan.space.fixed, **params, "stem_width": w}) for w in (8, 12))
    assert low[1] - 0.2 < facts(params)[1] < high[1] + 0.2


def test_every_candidate_of_a_declared_space_is_one_that_the_space_suggests() -> None:
    plan = planned()
    for params in drawn(plan, 50):
        trial = optuna.trial.FixedTrial(params)
        assert {**plan.space.fixed, **params} == plan.space.suggest(trial)  # type: ignore[arg-type]


def test_a_resumed_study_is_informed_alike(home: Path) -> None:
    """Equal ledgers give equal proposals, though the first sampler asked for more facts before."""
    plan = planned()

    def go_on(study: optuna.Study, trials: int) -> None:
        guidance = Guidance(plan, home, REFERENCE)
        for _ in range(trials):
            guidance.inform(study.sampler)
            trial = study.ask()
            params = plan.space.suggest(trial)
            cost = float(params["width_1"]) * float(params["depth_1"])
            study.tell(trial, [cost / 100, 0.01 + cost / 1e4, 1e3 * cost])

    first = optuna.create_study(directions=plan.directions, sampler=make_sampler(plan, 0))
    go_on(first, 14)
    again = optuna.create_study(directions=plan.directions, sampler=make_sampler(plan, 12))
    again.add_trials(first.trials[:12])
    go_on(again, 2)
    assert [t.params for t in again.trials] == [t.params for t in first.trials]


def test_the_driver_informs_the_sampler_and_shows_the_gate_what_was_measured(home: Path, tmp_path: Path) -> None:
    plan = planned()
    study = Study.create(plan, f"sqlite:///{tmp_path}/autokd.db")
    study.ledger.set_attr(REFERENCE_KEY, REFERENCE)
    driver = Driver(study.ledger, plan, home)
    job = driver.next()
    sampler = study.ledger.study.sampler
    assert job is not None and isinstance(sampler, FrontierSampler)
    assert sampler.features is not None and sampler.reference_point == REFERENCE
    driver.complete(job, measured(5e3, 0.5, 0.01, dict(job.candidate.params)))
    assert driver.guidance.gate.n == 1
    taken = replace(measured(5e3, 0.9, 0.01), notes={RETIMED: {"study": "old", "trial": 3}})
    driver._count(99, taken)
    assert driver.guidance.gate.n == 1, "what was trained elsewhere"
    driver.guidance.inform(sampler)
    assert sampler.reference_point == pytest.approx([0.75, *REFERENCE[1:]])
    assert Driver(study.ledger, plan, home).guidance.gate.n == 1  # after a resume as well
