"""Where ladders begin: shapes that a family knows to be good, then what the study's sampler proposes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna

from autokd import registry
from autokd.config.plan import Plan
from autokd.config.space import Parameter
from autokd.strategies.ladder.nodes import Forest, rate_of
from autokd.trial import ParamValue, Stage

SEARCHED = (Stage.BUILD, Stage.DISTILL)
"""What a root is searched by. Cutting is the ladder's own business, and each rung ships the bits that are fastest."""


def family_roots(plan: Plan) -> list[dict[str, ParamValue]]:
    """The canonical shapes of the space's family as candidates of the space, alike ones once.

    A family without ``roots`` of its own (a person's factory) begins with the middle and the upper end of its space.
    """
    known = getattr(registry.load("families", plan.space.family), "roots", None)
    wanted: list[Mapping[str, ParamValue] | float] = list(known) if known else [0.5, 0.75]
    found: list[dict[str, ParamValue]] = []
    for shape in wanted:
        params = snap(plan, shape)
        if params not in found:
            found.append(params)
    return found


def snap(plan: Plan, wanted: Mapping[str, ParamValue] | float) -> dict[str, ParamValue]:
    """The candidate of the space that is nearest to a shape; what the shape does not say follows the study's defaults.

    Args:
        plan: The plan.
        wanted: Values by name, or one place in [0, 1] between the ends of every parameter of the shape.
    """
    place = wanted if isinstance(wanted, float) else 0.5
    stated: dict[str, Any] = {**plan.config.training.model_dump(exclude_none=True), **plan.config.distillation.options}
    stated |= {"method": plan.config.distillation.method, "bits": 32}
    stated |= {} if isinstance(wanted, float) else wanted
    params: dict[str, ParamValue] = dict(plan.space.fixed)
    for p in plan.space.parameters:
        if not p.active(params):
            continue
        if p.name.startswith("prune_"):
            params[p.name] = _nearest(p, 0.0)
        elif p.name in stated:
            params[p.name] = _nearest(p, stated[p.name])
        else:
            params[p.name] = _at(p, place if p.stage == Stage.BUILD else 0.5)
    return params


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
                params[p.name] = _nearest(p, 32 if p.name == "bits" else 0.0)
    return params


def _numbers(p: Parameter) -> bool:
    return all(isinstance(c, int | float) and not isinstance(c, bool) for c in p.choices)


def _nearest(p: Parameter, wanted: Any) -> ParamValue:
    """The value of a parameter nearest to ``wanted``; the first choice when nothing compares."""
    number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    if p.kind == "choice":
        if wanted in p.choices:
            return next(c for c in p.choices if c == wanted)
        return min(p.choices, key=lambda c: abs(float(c) - float(wanted))) if number and _numbers(p) else p.choices[0]
    if not number:
        return _at(p, 0.5)
    value = min(max(float(wanted), p.low), p.high)
    step = p.step or (1 if p.kind == "int" else None)
    if step:
        value = p.low + round((value - p.low) / step) * step
    return round(value) if p.kind == "int" else value


def _at(p: Parameter, place: float) -> ParamValue:
    """The value at a place in [0, 1] between the ends."""
    if p.kind == "choice":
        ordered = sorted(p.choices, key=float) if _numbers(p) else list(p.choices)
        # of words the first is taken: a space's author writes the usual one first
        return ordered[round(place * (len(ordered) - 1))] if _numbers(p) else ordered[0]
    if p.log:
        return _nearest(p, math.exp(math.log(p.low) + place * (math.log(p.high) - math.log(p.low))))
    return _nearest(p, p.low + place * (p.high - p.low))
