"""Checks the numbers that a person may give to a distillation method."""

from __future__ import annotations

import math
from collections.abc import Callable

from autokd.errors import ConfigError


def number(name: str, value: object, law: str, holds: Callable[[float], bool]) -> float:
    """``value`` as a float for which ``holds`` is true; ``law`` says in words what must hold.

    Raises:
        ConfigError: It is not a finite number, or ``holds`` is false.
    """
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not holds(float(value)):  # type: ignore[arg-type]
        raise ConfigError(f"{name} must be a number with {law}", repr(value))
    return float(value)  # type: ignore[arg-type]


def fraction(name: str, value: object) -> float:
    """``value`` as a float in [0, 1]."""
    return number(name, value, f"0 <= {name} <= 1", lambda v: 0 <= v <= 1)


def smoothing(value: object) -> float:
    """``label_smoothing``, a float in [0, 1)."""
    return number("label_smoothing", value, "0 <= label_smoothing < 1", lambda v: 0 <= v < 1)
