"""What a person may write as parameters of a family: defaults filled in, names and values checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autokd import registry
from autokd.errors import ConfigError, nearest
from autokd.protocols import InputSpec
from autokd.trial import ParamValue


@dataclass(frozen=True)
class Whole:
    """A whole number in [low, high]; 16.0 counts as 16, since some samplers only know floats."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, value: object) -> int | None:
        number = Real(self.low, self.high).read(value)
        return int(number) if number is not None and number.is_integer() else None


@dataclass(frozen=True)
class Real:
    """A finite number in [low, high]."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, value: object) -> float | None:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            return None
        number = float(value)
        return number if math.isfinite(number) and self.low <= number <= self.high else None


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    values: tuple[ParamValue, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values)

    def read(self, value: object) -> ParamValue | None:
        # True == 1 in Python, but a person who writes one does not mean the other
        return next((v for v in self.values if v == value and isinstance(v, bool) == isinstance(value, bool)), None)


Rule = Whole | Real | OneOf
FLAG = OneOf((False, True))


class Settings:
    """Checked parameters of one family, typed on reading.

    Args:
        family: Name of the family, for messages.
        defaults: Every parameter of the family with its default.
        rules: The law of every parameter.
        given: What the candidate says; wins over the defaults.

    Raises:
        ConfigError: A name the family does not know (the nearest is offered), or a value against the law.
    """

    def __init__(
        self,
        family: str,
        defaults: Mapping[str, ParamValue],
        rules: Mapping[str, Rule],
        given: Mapping[str, ParamValue],
    ) -> None:
        self._values: dict[str, ParamValue] = {}
        for name in given:
            if name not in rules:
                raise ConfigError(
                    f"every parameter of {family!r} must be known to it", repr(name), nearest(name, rules)
                )
        for name, rule in rules.items():
            value = given.get(name, defaults[name])
            read = rule.read(value)
            if read is None:
                raise ConfigError(
                    f"{name} of {family!r} must be {rule}", repr(value), f"The default is {defaults[name]!r}."
                )
            self._values[name] = read

    def whole(self, name: str) -> int:
        return int(self._values[name])

    def real(self, name: str) -> float:
        return float(self._values[name])

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def word(self, name: str) -> str:
        return str(self._values[name])


def check_task(family: str, kinds: frozenset[str], spec: InputSpec, classes: int) -> None:
    """Refuse data that the family cannot read.

    Raises:
        ConfigError: The wrong kind of data, a shape that is not its kind's, or fewer than two classes.
    """
    if spec.kind not in kinds:
        raise ConfigError(
            f"data for family {family!r} must be {' or '.join(sorted(kinds))}",
            f"{spec.kind} data",
            "Choose another family: `autokd list families`.",
        )
    axes = registry.load("modalities", spec.kind)().axes
    if len(spec.shape) != len(axes):
        raise ConfigError(f"{spec.kind} data must have a shape of {len(axes)} axes, {', '.join(axes)}", spec.shape)
    if classes < 2:
        raise ConfigError("a classifier needs at least 2 classes", classes)
