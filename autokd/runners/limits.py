"""What one trial may use on this host."""

from __future__ import annotations

from dataclasses import replace

import psutil

from autokd.config.plan import Plan
from autokd.runners.evaluator import Limits

SCREEN_S = 120.0
"""Longest time an untrained candidate may take to be built, exported and timed before a search."""


def screen_limits(plan: Plan) -> Limits:
    """What one untrained candidate may use."""
    limits = limits_of(plan, 1)
    return replace(limits, trial_s=min(limits.trial_s, SCREEN_S))


def limits_of(plan: Plan, concurrency: int) -> Limits:
    """The share of one of ``concurrency`` trials, unless the study file says otherwise."""
    resources, budget = plan.config.resources, plan.config.budget
    share = 0.9 * psutil.virtual_memory().total / concurrency
    memory = resources.memory_gb * 1e9 if resources.memory_gb else share
    return Limits(budget.trial_s, memory, resources.cpus_per_trial)
