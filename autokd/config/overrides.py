"""``--set key=value``: one dotted key of a study file replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autokd import registry
from autokd.config import yaml_file
from autokd.config.study_file import BudgetConfig
from autokd.errors import ConfigError


def apply_override(values: dict[str, Any], text: str) -> None:
    """Apply one ``dotted.key=value`` in place; the value is YAML.

    Setting one kind of teacher replaces the other, and setting ``samples`` replaces ``epochs``. ``budget.trials=+10``
    raises a budget by 10.
    """
    key, equals, value_text = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError("--set must be key=value", repr(text), "E.g. --set budget.trials=50.")
    value = yaml_file.scalar(value_text)
    if names_teacher(text):
        before = values.get("teacher")
        if not isinstance(before, Mapping) or path[1] not in before:
            values["teacher"] = {}
    here = values
    for part in path[:-1]:
        below = here.get(part)
        if below is None:
            below = here[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key} must name a key of a mapping", f"{part} = {below!r}")
        here = below
    if path[-1] in ("samples", "epochs"):
        here.pop("samples", None)
        here.pop("epochs", None)
    if path[0] == "budget" and len(path) == 2 and value_text.strip().startswith("+") and isinstance(value, int | float):
        default = BudgetConfig.model_fields[path[1]].default if path[1] in BudgetConfig.model_fields else None
        limit = here.get(path[-1]) or default or 0
        if not isinstance(limit, int | float):
            raise ConfigError(f"--set {key}=+N must raise a number", repr(limit), f"Give it anew: --set {key}=...")
        value += limit
    here[path[-1]] = value


def names_teacher(text: str) -> bool:
    """Whether an override says which kind of teacher to use."""
    parent, _, kind = text.partition("=")[0].strip().partition(".")
    return parent == "teacher" and kind in registry.names("teachers")
