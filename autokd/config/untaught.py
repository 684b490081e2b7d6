"""A study without a teacher: what could only be learnt from one is left out of its space."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from autokd import registry
from autokd.config.checks import DISTILL_KEYS
from autokd.config.objectives import Constraint, Objective
from autokd.config.study_file import NO_TEACHER, DistillationConfig, StudyConfig
from autokd.errors import ConfigError

LABELS = "none"
"""The method that learns from labels alone."""


def without_teacher(
    config: StudyConfig, source: Mapping[str, Any], asks: Mapping[str, bool]
) -> tuple[StudyConfig, dict[str, Any]]:
    """The configuration and the space's YAML with no method left that asks a teacher.

    Args:
        config: The study file.
        source: The space as plain values.
        asks: Of every method named in either, whether it asks a teacher.
    """
    own = config.distillation
    if asks.get(own.method):
        config = config.model_copy(update={"distillation": DistillationConfig(method=LABELS, scheme=own.scheme)})
    gone = {name for name, asked in asks.items() if asked}
    searched = {name: dict(p) for name, p in source["parameters"].items()}
    fixed = dict(source.get("fixed") or {})
    if "method" in searched:
        kept = [choice for choice in searched["method"]["choice"] if choice not in gone]
        if len(kept) > 1:
            searched["method"]["choice"] = kept
        else:
            del searched["method"]
            fixed["method"] = {"value": (kept or [LABELS])[0], "stage": "distill"}
    elif _value(fixed.get("method")) in gone:
        fixed["method"] = {"value": LABELS, "stage": "distill"}
    for name in [name for name, p in searched.items() if _only_with(p, gone)]:
        del searched[name]
    if asks.get(own.method):  # its arguments may stand in the space without a condition
        taken = {*DISTILL_KEYS, "method", "scheme", *_arguments(LABELS)}
        for block in (searched, fixed):
            for name in [n for n, p in block.items() if _stage(p) == "distill" and n not in taken]:
                del block[name]
    if "method" not in searched:  # what goes with the one that is left is always there
        for p in searched.values():
            if "method" in (p.get("when") or {}):
                p["when"] = {k: v for k, v in p["when"].items() if k != "method"}
    return config, {**source, "parameters": searched, **({"fixed": fixed} if fixed else {})}


def methods_of(config: StudyConfig, source: Mapping[str, Any]) -> dict[str, bool]:
    """Every method that a study names, and whether it asks a teacher; loads them, torch included.

    Raises:
        ConfigError: No such method.
    """
    from autokd.distillation.knowledge.classic import as_knowledge

    searched = (source["parameters"].get("method") or {}).get("choice", ())
    named = {config.distillation.method, *map(str, searched)}
    if fixed := _value((source.get("fixed") or {}).get("method")):
        named.add(str(fixed))
    found = {}
    for name in sorted(named):
        factory = registry.load("methods", name)
        options = config.distillation.options if name == config.distillation.method else {}
        try:
            found[name] = bool(as_knowledge(factory(**options), name).teacher)
        except TypeError:  # arguments are checked later, where the message says from where they come
            found[name] = bool(getattr(factory, "teacher", True))
    return found


def check_goals(config: StudyConfig, goals: Iterable[Objective | Constraint]) -> None:
    """Refuse goals that compare with a teacher where there is none.

    Raises:
        ConfigError: The first of them.
    """
    if config.teacher.given:
        return
    for goal in goals:
        if goal.metric == "agreement":
            law = "`agreement` is with a teacher: the study must have one before it begins"
            mend = "Name a teacher, or aim at accuracy." if config.teacher.kind == NO_TEACHER else "Name a teacher."
            raise ConfigError(law, f"teacher: {config.teacher.kind}", mend)


def _value(fixed: Any) -> Any:
    return fixed.get("value") if isinstance(fixed, Mapping) else fixed


def _only_with(parameter: Mapping[str, Any], gone: set[str]) -> bool:
    wanted = (parameter.get("when") or {}).get("method")
    if wanted is None:
        return False
    return all(name in gone for name in (wanted if isinstance(wanted, list | tuple) else [wanted]))


def _stage(given: Any) -> Any:
    return given.get("stage", "build") if isinstance(given, Mapping) else "build"


def _arguments(method: str) -> list[str]:
    """Names of the keyword arguments of a registered method."""
    return list(inspect.signature(registry.load("methods", method)).parameters)
