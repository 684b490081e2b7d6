"""Shapes of a space to begin with: those that its family knows to be good, as candidates of the space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autokd import registry
from autokd.config.space import Parameter
from autokd.trial import ParamValue, Stage

if TYPE_CHECKING:
    from autokd.config.plan import Plan


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
            params[p.name] = nearest_value(p, 0.0)
        elif p.name in stated:
            params[p.name] = nearest_value(p, stated[p.name])
        else:
            params[p.name] = _at(p, place if p.stage == Stage.BUILD else 0.5)
    return params


def _numbers(p: Parameter) -> bool:
    return all(isinstance(c, int | float) and not isinstance(c, bool) for c in p.choices)


def nearest_value(p: Parameter, wanted: Any) -> ParamValue:
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
        return nearest_value(p, math.exp(math.log(p.low) + place * (math.log(p.high) - math.log(p.low))))
    return nearest_value(p, p.low + place * (p.high - p.low))
