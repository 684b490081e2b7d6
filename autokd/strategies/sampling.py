"""The sampler of a study, made by its name; for once another one, where it is stuck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution

from autokd import registry
from autokd.config.plan import Plan
from autokd.errors import ConfigError, UserError


def make_sampler(
    plan: Plan, done: int, space: Mapping[str, BaseDistribution] | None = None
) -> optuna.samplers.BaseSampler:
    """The study's sampler; one that keeps its random state in memory is seeded anew after a resume."""
    seed, space = plan.config.search_seed, space or plan.space.distributions()
    sampler = _made(plan.config.sampler, seed, space)
    if done and not getattr(sampler, "stateless", False):
        sampler = _made(plan.config.sampler, (seed * 1_000_003 + done) % (2**31 - 1), space)
    return sampler


@contextmanager
def random_proposals(study: optuna.Study) -> Iterator[None]:
    """Another sampler inside, that proposes at random and anew for every trial; the study's own again afterwards."""
    proposer = study.sampler
    study.sampler = optuna.samplers.RandomSampler(seed=len(study.get_trials(deepcopy=False)))
    try:
        yield
    finally:
        study.sampler = proposer


def _made(name: str, seed: int, space: Mapping[str, BaseDistribution]) -> optuna.samplers.BaseSampler:
    law = f"sampler {name!r} must be a factory (seed, space) -> optuna.samplers.BaseSampler"
    try:
        sampler = registry.load("samplers", name)(seed, space)
    except UserError:
        raise
    except Exception as error:  # a person's own factory may raise anything
        raise ConfigError(law, f"{type(error).__name__}: {error}") from error
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise ConfigError(law, f"one that returns {type(sampler).__name__}")
    return sampler
