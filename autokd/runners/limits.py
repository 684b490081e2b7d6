"""What one trial may use on this host."""

from __future__ import annotations

import psutil

from autokd.plan import Plan
from autokd.runners.evaluator import Limits


def limits_of(plan: Plan, concurrency: int) -> Limits:
    """The share of one of ``concurrency`` trials, unless the study file says otherwise."""
    resources, budget = plan.config.resources, plan.config.budget
    share = 0.9 * psutil.virtual_memory().total / concurrency
    memory = resources.memory_gb * 1e9 if resources.memory_gb else share
    return Limits(budget.trial_s, memory, resources.cpus_per_trial)
