"""Names that Optuna does not promise: each must still be there and mean what we take it for."""

from __future__ import annotations

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import NSGAIISampler, TPESampler
from optuna.trial import TrialState

from autokd.storage.optuna_private import asked_params, constraint_attrs, contains, first_generation, live_trial


def test_a_trial_of_another_process_can_be_told() -> None:
    study = optuna.create_study()
    study.ask()
    (frozen,) = study.get_trials()
    live_trial(study, frozen).set_user_attr("by", "another")
    assert study.tell(live_trial(study, frozen), 1.0).state == TrialState.COMPLETE
    assert study.trials[0].user_attrs == {"by": "another"}


def test_a_queued_trial_tells_what_it_was_queued_with() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 1, "y": 2})
    trial = study.ask()
    trial.suggest_int("x", 0, 3)
    (frozen,) = study.get_trials()
    assert frozen.params == {"x": 1}
    assert asked_params(frozen) == {"x": 1, "y": 2}


def test_an_added_trial_has_its_constraints() -> None:
    study = optuna.create_study()
    study.ask().set_constraint("size", 0.5)
    added = optuna.trial.create_trial(value=1.0, system_attrs=constraint_attrs({"size": 0.5}))
    study.add_trial(added)
    asked, added = study.get_trials()
    assert added.constraints == asked.constraints == {"size": 0.5}


def test_a_distribution_knows_its_values() -> None:
    grid = IntDistribution(0, 8, step=4)
    assert [x for x in range(-1, 10) if contains(grid, x)] == [0, 4, 8]


def test_an_added_trial_is_of_the_first_generation() -> None:
    sampler = NSGAIISampler(population_size=2, seed=0)
    study = optuna.create_study(sampler=sampler)
    attrs = first_generation(sampler)
    for value in (1.0, 2.0):
        study.add_trial(optuna.trial.create_trial(value=value, system_attrs=attrs))
    assert sampler.get_trial_generation(study, study.get_trials()[0]) == 0
    assert [t.value for t in sampler.get_population(study, 0)] == [1.0, 2.0]
    assert first_generation(TPESampler()) == {}
