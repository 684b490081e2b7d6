"""Optuna's own samplers under the registry's signature."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

POPULATION = 20
"""Of NSGA-II: with Optuna's default of 50 a budget of a hundred trials would see two generations."""


def tpe(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """Optuna's multivariate tree-structured Parzen estimator; conditional parameters are modelled in groups."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", optuna.exceptions.ExperimentalWarning
        )  # "group" has been experimental since 2.8
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def nsga2(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """Optuna's NSGA-II, an evolutionary search for the whole front; a population of 20."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)


def random(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """Optuna's random search: every parameter drawn on its own."""
    return optuna.samplers.RandomSampler(seed=seed)
