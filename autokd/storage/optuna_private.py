"""What autokd needs of Optuna that has no public name: every such name stands here, and a test fails when one is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

QUEUED = "fixed_params"
"""System attribute of a trial that ``enqueue_trial`` made: the parameters it was queued with. The public ``params`` have them
only once each was asked for."""
CONSTRAINT = "constraints:"
"""Prefix of the system attributes that ``Trial.set_constraint`` writes. Only a trial that was asked for has that method; one
that is added finished must bring its constraints along."""


def live_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """The trial that another process asked for, to be told by this one; publicly only ``study.ask`` makes a trial."""
    return optuna.Trial(study, frozen._trial_id)


def asked_params(frozen: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial, those too that it was queued with and that were not asked for yet."""
    return {**frozen.system_attrs.get(QUEUED, {}), **frozen.params}


def constraint_attrs(constraints: Mapping[str, float]) -> dict[str, float]:
    """System attributes of a trial that is added finished: its constraints' amounts, above 0 where one is violated."""
    return {f"{CONSTRAINT}{name}": amount for name, amount in constraints.items()}


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value lies in a distribution: within its bounds and on its grid. Publicly only ``suggest`` knows."""
    return distribution._contains(distribution.to_internal_repr(value))


def first_generation(sampler: BaseSampler) -> dict[str, Any]:
    """System attributes that make a trial a member of a genetic sampler's first generation; empty for other samplers.

    Such samplers read the generation of every trial from an attribute of their own, whose key has no public name.
    """
    key = getattr(sampler, "_get_generation_key", None)
    return {key(): 0} if callable(key) else {}
