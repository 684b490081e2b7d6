"""Where ladders begin beside the family's own shapes: what the study's sampler proposes."""

from __future__ import annotations

import optuna

from autokd.config.plan import Plan
from autokd.config.roots import nearest_value
from autokd.strategies.ladder.nodes import Forest, rate_of
from autokd.trial import ParamValue, Stage

SEARCHED = (Stage.BUILD, Stage.DISTILL)
"""What a root is searched by. Cutting is the ladder's own business, and each rung ships the bits that are fastest."""


def proposed_root(plan: Plan, forest: Forest) -> dict[str, ParamValue]:
    """What the study's sampler proposes next, having learnt what every root so far was worth.

    A root's worth is the hypervolume that it and all that descends from it gained, per CPU second. The sampler is made
    anew from the ledger each time, so that a resumed study goes on as an uninterrupted one would.
    """
    from autokd.strategies.sampling import make_sampler

    roots = forest.roots()
    space = {p.name: p.distribution() for p in plan.space.parameters if p.stage in SEARCHED}
    study = optuna.create_study(direction="maximize", sampler=make_sampler(plan, len(roots), space))
    for root in roots:
        family = list(forest.below(root))
        if any(n.state == "running" for n in family) and not any(n.gain for n in family):
            continue
        own = {k: v for k, v in root.params.items() if k in space}
        mine = {k: space[k] for k in own}
        study.add_trial(optuna.trial.create_trial(params=own, distributions=mine, value=rate_of(family)))
    trial = study.ask()
    params: dict[str, ParamValue] = dict(plan.space.fixed)
    for p in plan.space.parameters:
        if p.active(params):
            if p.stage in SEARCHED:
                params[p.name] = p.suggest(trial)
            else:
                params[p.name] = nearest_value(p, 32 if p.name == "bits" else 0.0)
    return params
