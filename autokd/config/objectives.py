"""What is optimised, ``"minimize latency_ms@pi_5"``, and what must hold, ``"size_bytes <= 40000"`` (stdlib only)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autokd.errors import ConfigError, nearest


@dataclass(frozen=True)
class Metric:
    """One thing that can be measured of an exported file.

    Args:
        name: E.g. ``"latency_ms"``.
        unit: ``"ms"``, ``"bytes"``, ``"ratio"``, ``"nats"``; empty for a plain count or a metric of the user's.
        direction: ``"maximize"`` or ``"minimize"``; ``None`` for a metric of the user's, whose objective states it.
        needs_profile: It belongs to a hardware profile.
        needs_training: It cannot be known before training.
        log_scale: Twice as much matters equally at every size, so fronts are measured and drawn in its logarithm.
        relative_spread: Its measurements' spreads are shares of their values, not amounts in its unit.
        summary: One line for people.
    """

    name: str
    unit: str
    direction: str | None
    needs_profile: bool = False
    needs_training: bool = False
    log_scale: bool = False
    relative_spread: bool = False
    summary: str = ""


def _quality(name: str, unit: str, direction: str, summary: str) -> Metric:
    return Metric(name, unit, direction, needs_training=True, summary=summary)


def _cost(name: str, unit: str, summary: str, needs_profile: bool = False, relative_spread: bool = False) -> Metric:
    return Metric(name, unit, "minimize", needs_profile, False, True, relative_spread, summary)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        _quality("accuracy", "ratio", "maximize", "share of samples whose best-scored class is right"),
        _quality("balanced_accuracy", "ratio", "maximize", "recall averaged over classes"),
        _quality("recall_min", "ratio", "maximize", "recall of the worst class"),
        _quality("f1_macro", "ratio", "maximize", "F1 averaged over classes"),
        _quality("auroc", "ratio", "maximize", "area under the ROC curve; one class against the rest, averaged"),
        _quality("log_loss", "nats", "minimize", "cross-entropy of the predicted probabilities"),
        _quality("ece", "ratio", "minimize", "expected calibration error, 15 bins"),
        _quality(
            "agreement", "ratio", "maximize", "share of samples on which student and teacher choose the same class"
        ),
        _cost("latency_ms", "ms", "median time of one call on a profile", needs_profile=True, relative_spread=True),
        _cost("size_bytes", "bytes", "size of the exported file"),
        _cost("macs", "", "multiply-accumulate operations of one sample"),
        _cost("params", "", "number of parameters"),
        _cost("peak_memory_bytes", "bytes", "peak memory of the runtime on a profile", needs_profile=True),
    )
}
"""Every metric that autokd measures itself, by name."""

_DIRECTIONS = ("maximize", "minimize")
_USER_METRIC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_CONSTRAINT = re.compile(r"(?P<left>.+?)\s*(?P<op><=|>=|==|!=|=<|=>|<|>|=)\s*(?P<right>.+)", re.DOTALL)
_NUMBER = re.compile(r"(?P<number>[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*(?P<unit>[^\s\d]\S*)?")
_FACTORS: dict[str, dict[str, float]] = {
    "bytes": {"B": 1, "bytes": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "ms": {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1, "s": 1e3},
    "ratio": {"%": 1e-2},
    "": {"k": 1e3, "M": 1e6, "G": 1e9},
    "nats": {"nats": 1},
}


def metric_of(name: str) -> Metric:
    """The metric of a name; ``package.module:metric`` is a quality metric of the user's.

    Raises:
        ConfigError: Unknown metric; the nearest one is offered.
    """
    if name in METRICS:
        return METRICS[name]
    if _USER_METRIC.fullmatch(name):
        return Metric(name, "", None, needs_training=True, summary="a metric of the user's")
    raise ConfigError("a metric must be one of autokd's or 'package.module:metric'", repr(name), nearest(name, METRICS))


def title(metric: str) -> str:
    """A metric's name for people, without its unit; as it is where it is a person's own, or another version's."""
    if metric == "params":
        return "parameters"
    try:
        unit = metric_of(metric).unit
    except ConfigError:
        return metric
    return metric if ":" in metric else metric.removesuffix(f"_{unit}").replace("_", " ")


def relative_spread(metric: str) -> bool:
    """Whether a measurement's spread is a share of its value, as its metric says; of an unknown metric it is in its unit."""
    return metric in METRICS and METRICS[metric].relative_spread


def error_of(metric: str, value: float, spread: float | None) -> float | None:
    """A measurement's spread in the measurement's own unit."""
    return spread * value if spread is not None and relative_spread(metric) else spread


def spread_of(metric: str, value: float, error: float | None) -> float | None:
    """The spread to record for a half-width in the measurement's own unit; the other way round from :func:`error_of`."""
    return error / value if error is not None and value != 0 and relative_spread(metric) else error


@dataclass(frozen=True)
class Objective:
    """What is optimised.

    Args:
        direction: ``"maximize"`` or ``"minimize"``.
        metric: Name of the metric.
        profile: Hardware profile, or ``None``.
    """

    direction: str
    metric: str
    profile: str | None = None

    @classmethod
    def parse(cls, text: object) -> Objective:
        """``"maximize accuracy"`` or ``"minimize latency_ms@cpu_1_thread"``.

        Raises:
            ConfigError: Not of this form, an unknown metric, or the wrong direction for it.
        """
        law = "an objective must read 'maximize METRIC' or 'minimize METRIC@PROFILE'"
        words = text.split() if isinstance(text, str) else []
        if len(words) != 2:
            raise ConfigError(law, repr(text), 'Write e.g. "minimize latency_ms@cpu_1_thread".')
        direction, name = words
        if direction not in _DIRECTIONS:
            raise ConfigError(law, repr(text), nearest(direction, _DIRECTIONS))
        metric, profile = _split(name)
        natural = metric.direction
        if natural is not None and natural != direction:
            raise ConfigError(f"{metric.name} must be {natural}d", repr(text), f'Write "{natural} {name}".')
        return cls(direction, metric.name, profile)

    @property
    def name(self) -> str:
        """``latency_ms@cpu_1_thread``, or the plain metric."""
        return _name(self.metric, self.profile)

    @property
    def scale(self) -> str:
        """``"log"`` for costs, else ``"linear"``: the scale of the hypervolume."""
        return "log" if metric_of(self.metric).log_scale else "linear"

    def resolve(self, profiles: Sequence[str]) -> Objective:
        """The same with its profile filled in, when the study has exactly one.

        Raises:
            ConfigError: The profile is missing and there are several, or it is not one of the study's.
        """
        return replace(self, profile=_resolve(self.metric, self.profile, profiles))

    def __str__(self) -> str:
        return f"{self.direction} {self.name}"


@dataclass(frozen=True)
class Constraint:
    """What must hold for a candidate to be feasible.

    Args:
        metric: Name of the metric.
        op: ``"<="``, ``">="``, ``"<"`` or ``">"``.
        limit: In the metric's own unit.
        profile: Hardware profile, or ``None``.
    """

    metric: str
    op: str
    limit: float
    profile: str | None = None

    @classmethod
    def parse(cls, text: object) -> Constraint:
        """``"size_bytes <= 40000"``, ``"size_bytes <= 40 kB"``, ``"accuracy >= 90 %"``, ``"latency_ms@pi_5 < 20"``.

        Raises:
            ConfigError: Not of this form, an unknown metric or unit, or a limit that nothing can meet.
        """
        law = "a constraint must read 'METRIC <= LIMIT', with <=, >=, < or >"
        found = _CONSTRAINT.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(law, repr(text), 'Write e.g. "size_bytes <= 40000".')
        op = found["op"]
        if op not in ("<=", ">=", "<", ">"):
            mend = {"=<": "Write <=.", "=>": "Write >=."}.get(
                op, "An exact value cannot be searched for: write <= or >=."
            )
            raise ConfigError(law, repr(text), mend)
        metric, profile = _split(found["left"].strip())
        constraint = cls(metric.name, op, _limit(found["right"].strip(), metric, text), profile)
        constraint._check_possible(metric)
        return constraint

    @property
    def name(self) -> str:
        """``latency_ms@cpu_1_thread``, or the plain metric."""
        return _name(self.metric, self.profile)

    @property
    def needs_training(self) -> bool:
        """It can only be checked once the candidate is trained."""
        return metric_of(self.metric).needs_training

    def violation(self, value: float) -> float:
        """How far ``value`` is outside, in the metric's unit: at most 0 when the constraint holds, above 0 when not.

        A strict ``<`` or ``>`` is violated at the limit itself, by the smallest float step.

        Raises:
            ValueError: ``value`` is NaN.
        """
        if math.isnan(value):
            raise ValueError(f"a value to check against {self} must be a number, but got NaN")
        if self.op == "<=":
            return value - self.limit
        if self.op == ">=":
            return self.limit - value
        if self.op == "<":
            return value - math.nextafter(self.limit, -math.inf)
        return math.nextafter(self.limit, math.inf) - value

    def holds(self, value: float) -> bool:
        """Whether ``value`` meets the constraint."""
        return self.violation(value) <= 0

    def resolve(self, profiles: Sequence[str]) -> Constraint:
        """The same with its profile filled in, when the study has exactly one.

        Raises:
            ConfigError: The profile is missing and there are several, or it is not one of the study's.
        """
        return replace(self, profile=_resolve(self.metric, self.profile, profiles))

    def __str__(self) -> str:
        limit = int(self.limit) if self.limit == int(self.limit) and abs(self.limit) < 2**53 else self.limit
        return f"{self.name} {self.op} {limit!r}"

    def _check_possible(self, metric: Metric) -> None:
        if metric.direction is None:
            return
        top = 1.0 if metric.unit == "ratio" else math.inf
        # Strictly below 0 or above the top is out of reach for every metric of ours: all are at least 0.
        unmet = self.limit < 0 if self.op == "<=" else self.limit <= 0 if self.op == "<" else False
        unmet |= self.limit > top if self.op == ">=" else self.limit >= top if self.op == ">" else False
        if unmet:
            span = "between 0 and 1 (write 90 % or 0.9)" if metric.unit == "ratio" else "at least 0"
            raise ConfigError("a constraint must be possible to meet", f"'{self}'", f"{metric.name} is always {span}.")


def parse_objectives(texts: Iterable[object], profiles: Sequence[str]) -> tuple[Objective, ...]:
    """Two or three different objectives with their profiles filled in.

    Raises:
        ConfigError: Fewer than two, more than three, or the same one twice.
    """
    objectives = tuple(Objective.parse(t).resolve(profiles) for t in texts)
    if len(objectives) < 2:
        mend = "Add the other one; what must only be met belongs into 'constraints'."
        raise ConfigError("a study must have two or three objectives", len(objectives), mend)
    if len(objectives) > 3:
        raise ConfigError(
            "a study must have two or three objectives", len(objectives), "Turn the others into 'constraints'."
        )
    names = [o.name for o in objectives]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ConfigError("objectives must differ", f"{twice} twice", "Remove one of them.")
    return objectives


def parse_constraints(texts: Iterable[object], profiles: Sequence[str]) -> tuple[Constraint, ...]:
    """Constraints with their profiles filled in, in the order given and without repetitions.

    Raises:
        ConfigError: See :meth:`Constraint.parse` and :meth:`Constraint.resolve`.
    """
    return tuple(dict.fromkeys(Constraint.parse(t).resolve(profiles) for t in texts))


def _name(metric: str, profile: str | None) -> str:
    return f"{metric}@{profile}" if profile else metric


def _split(name: str) -> tuple[Metric, str | None]:
    base, at, profile = name.partition("@")
    metric = metric_of(base)
    if at and not metric.needs_profile:
        raise ConfigError(
            f"{base} must stand without a profile", repr(name), f"It does not depend on the device: write {base!r}."
        )
    if at and not profile:
        raise ConfigError(
            "the name of a profile must follow '@'", repr(name), f"Write e.g. {base + '@cpu_1_thread'!r}."
        )
    return metric, profile or None


def _limit(text: str, metric: Metric, whole: object) -> float:
    found = _NUMBER.fullmatch(text)
    number = float(found["number"]) if found else math.nan
    if found is None or not math.isfinite(number):
        raise ConfigError(
            "the limit of a constraint must be a finite number", repr(whole), 'Write e.g. "size_bytes <= 40000".'
        )
    unit = found["unit"]
    factors = _FACTORS[metric.unit] if metric.direction else {}
    if unit is not None and unit not in factors:
        mend = nearest(unit, factors) if factors else "Write the plain number."
        raise ConfigError(f"the unit of {metric.name} must be a known one", repr(whole), mend)
    if unit is None:
        return number
    factor = factors[unit]
    return number / round(1 / factor) if factor < 1 else number * factor  # dividing keeps 90 % at exactly 0.9


def _resolve(metric: str, profile: str | None, profiles: Sequence[str]) -> str | None:
    if not metric_of(metric).needs_profile:
        return None
    if profile is None and len(profiles) == 1:
        return profiles[0]
    if profile is None:
        mend = (
            f"Write one of {', '.join(f'{metric}@{p}' for p in profiles)}."
            if profiles
            else "List one under 'hardware'."
        )
        raise ConfigError(f"{metric} must name its hardware profile", f"{metric!r} and {len(profiles)} profiles", mend)
    if profile not in profiles:
        raise ConfigError(
            "the profile must be one of the study's 'hardware'", f"'{metric}@{profile}'", nearest(profile, profiles)
        )
    return profile
