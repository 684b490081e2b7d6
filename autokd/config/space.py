"""The search space: YAML to parameters, to Optuna distributions, and suggestions that respect conditions."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd import registry
from autokd.config import yaml_file
from autokd.errors import ConfigError, nearest
from autokd.trial import ParamValue, Stage

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

SEARCHABLE = (Stage.BUILD, Stage.DISTILL, Stage.PRUNE, Stage.QUANTIZE)
_COMPARE = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON = re.compile(r"^\s*(<=|>=|==|!=|<|>)\s*(-?[0-9.eE+-]+)\s*$")


@dataclass(frozen=True)
class Parameter:
    """One searched parameter.

    Args:
        name: As it stands in the ledger.
        kind: ``"choice"``, ``"int"`` or ``"float"``.
        stage: The stage that reads it.
        choices: For ``choice``.
        low, high, step, log: For ``int`` and ``float``.
        when: Conditions on parameters declared above; all must hold for this one to be active.
    """

    name: str
    kind: str
    stage: Stage
    choices: tuple[ParamValue, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    when: Mapping[str, Any] = field(default_factory=dict)

    def active(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether the conditions hold under ``params``; a condition on an inactive parameter does not."""
        return all(name in params and holds(params[name], wanted) for name, wanted in self.when.items())

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: optuna.trial.Trial) -> ParamValue:
        if self.kind == "choice":
            value: Any = trial.suggest_categorical(self.name, self.choices)
        elif self.kind == "int":
            value = trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        else:
            value = trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)
        chosen: ParamValue = value
        return chosen

    def can_meet(self, wanted: Any) -> bool:
        """Whether some value meets a condition; of a float without a step only the ends are tried."""
        if math.isfinite(self.count()):
            return any(holds(value, wanted) for value in _values(self))
        return holds(self.low, wanted) or holds(self.high, wanted)

    def count(self) -> float:
        """Number of values; infinite for a float without a step."""
        if self.kind == "choice":
            return len(self.choices)
        if self.kind == "int":
            return (int(self.high) - int(self.low)) // int(self.step or 1) + 1
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1 if self.step else math.inf


@dataclass(frozen=True)
class SearchSpace:
    """A family and its parameters; :func:`load_space` makes one.

    >>> import optuna
    >>> space = load_space({"family": "mobilenet", "parameters": {
    ...     "width_1": {"choice": [8, 16, 32], "stage": "build"},
    ...     "method": {"choice": ["none", "kd"], "stage": "distill"},
    ...     "temperature": {"choice": [2, 4], "stage": "distill", "when": {"method": "kd"}}}})
    >>> space.size()  # a student without a teacher has no temperature
    9.0
    >>> params = space.suggest(optuna.trial.FixedTrial({"width_1": 16, "method": "none"}))
    >>> space.of_stage(Stage.BUILD, params)
    {'width_1': 16}
    """

    name: str
    family: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    fixed_stages: Mapping[str, Stage] = field(default_factory=dict)

    def suggest(self, trial: optuna.trial.Trial) -> dict[str, ParamValue]:
        """Ask every active parameter of an Optuna trial, in order; fixed values are added."""
        params: dict[str, ParamValue] = dict(self.fixed)
        for parameter in self.parameters:
            if parameter.active(params):
                params[parameter.name] = parameter.suggest(trial)
        return params

    def distributions(self) -> dict[str, BaseDistribution]:
        """All parameters, conditional or not, as Optuna distributions."""
        return {p.name: p.distribution() for p in self.parameters}

    def of_stage(self, stage: Stage, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """The values that a stage reads."""
        mine = {p.name for p in self.parameters if p.stage == stage}
        mine |= {name for name, s in self.fixed_stages.items() if s == stage}
        return {name: value for name, value in params.items() if name in mine}

    def size(self, cap: int = 200_000) -> float:
        """Number of distinct candidates, conditions respected; infinite with a continuous parameter.

        Counts exactly up to ``cap`` partial assignments of the parameters that conditions look at, otherwise gives the
        upper bound that ignores conditions.
        """
        conditions = {name for p in self.parameters for name in p.when}
        states: dict[tuple[tuple[str, ParamValue], ...], float] = {tuple(self.fixed.items()): 1.0}
        for p in self.parameters:
            grown: dict[tuple[tuple[str, ParamValue], ...], float] = {}
            for state, ways in states.items():
                if not p.active(dict(state)):
                    grown[state] = grown.get(state, 0.0) + ways
                elif p.name in conditions and math.isfinite(p.count()):
                    for value in _values(p):
                        below = (*state, (p.name, value))
                        grown[below] = grown.get(below, 0.0) + ways
                else:
                    grown[state] = grown.get(state, 0.0) + ways * p.count()
            if len(grown) > cap:
                return math.prod(q.count() for q in self.parameters)
            states = grown
        return sum(states.values())


def _values(p: Parameter) -> Iterable[ParamValue]:
    if p.kind == "choice":
        return p.choices
    if p.kind == "int":
        return range(int(p.low), int(p.high) + 1, int(p.step or 1))
    return tuple(p.low + i * (p.step or 0.0) for i in range(int(p.count())))


def holds(value: ParamValue, wanted: Any) -> bool:
    """Whether a value meets a condition: equal to it, to one of its list, or as ``">= 3"`` says."""
    if isinstance(wanted, list | tuple):
        return any(holds(value, w) for w in wanted)
    if isinstance(wanted, str) and (match := _COMPARISON.match(wanted)):
        if isinstance(value, str):
            return False
        return bool(_COMPARE[match[1]](float(value), float(match[2])))
    return bool(value == wanted)


def load_space(given: str | Mapping[str, Any]) -> SearchSpace:
    """A space from a shipped name, a YAML file, or an inline mapping.

    Raises:
        ConfigError: Names file, line, law, value and mend.
    """
    if isinstance(given, Mapping):
        return _build(str(given.get("description", "inline")), given, "space", {})
    is_file = given.endswith((".yaml", ".yml")) or "/" in given
    file = Path(given) if is_file else registry.yaml_file("spaces", given)
    raw, lines = yaml_file.read(file)
    if not isinstance(raw, Mapping):
        raise ConfigError(
            "a space must be a mapping with 'family' and 'parameters'", type(raw).__name__, None, str(file), 1
        )
    return _build(file.stem, raw, str(file), lines)


def _build(name: str, raw: Mapping[str, Any], file: str, lines: yaml_file.Lines) -> SearchSpace:
    def fail(law: str, value: object, mend: str | None, *path: str) -> ConfigError:
        return ConfigError(law, value, mend, file, yaml_file.line_of(path, lines))

    for key in raw:
        if key not in ("family", "parameters", "fixed", "description"):
            raise fail(
                "unknown key in a space", repr(key), nearest(str(key), ("family", "parameters", "fixed")), str(key)
            )
    family = raw.get("family")
    if not isinstance(family, str):
        raise fail("a space must name its family", family, "Add `family: mobilenet`.", "family")
    declared = raw.get("parameters")
    if not isinstance(declared, Mapping) or not declared:
        raise fail(
            "a space must declare at least one parameter", declared, "Add them under `parameters:`.", "parameters"
        )
    fixed, stages = _fixed(raw.get("fixed") or {}, fail)
    parameters: list[Parameter] = []
    known = set(fixed)
    for key, spec in declared.items():
        path = ("parameters", str(key))
        if key in fixed:
            raise fail("a parameter must not be fixed and searched", key, "Remove one of the two.", *path)
        p = _parameter(str(key), spec, lambda law, value, mend, p=path: fail(law, value, mend, *p))
        for other in p.when:
            if other not in known:
                raise fail(
                    f"`when` of {p.name!r} must name a parameter declared above it",
                    repr(other),
                    nearest(str(other), known),
                    *path,
                )
            above = next((q for q in parameters if q.name == other), None)
            if above is not None and not above.can_meet(p.when[other]):
                law = f"`when` of {p.name!r} must be possible: a value of {other!r}, a list of some, or e.g. '>= 3'"
                raise fail(law, repr(p.when[other]), None, *path)
        known.add(p.name)
        parameters.append(p)
    return SearchSpace(name, family, tuple(parameters), fixed, stages)


def _fixed(raw: Any, fail: Any) -> tuple[dict[str, ParamValue], dict[str, Stage]]:
    """Fixed values: ``name: value`` is read by build; ``name: {value: .., stage: ..}`` by another stage."""
    if not isinstance(raw, Mapping):
        raise fail("`fixed` must be a mapping", raw, None, "fixed")
    values: dict[str, ParamValue] = {}
    stages: dict[str, Stage] = {}
    for key, given in raw.items():
        stage = Stage.BUILD
        if isinstance(given, Mapping):
            odd = next((k for k in given if k not in ("value", "stage")), None)
            if odd is not None:
                raise fail(f"unknown key in fixed {key!r}", repr(odd), "Known: value, stage.", "fixed", str(key))
            stage = _stage(given.get("stage", "build"), lambda law, v, m, k=key: fail(law, v, m, "fixed", str(k)))
            given = given.get("value")
        if not isinstance(given, str | int | float | bool):
            raise fail(f"fixed {key!r} must be a plain value", given, None, "fixed", str(key))
        values[str(key)], stages[str(key)] = given, stage
    return values, stages


def _stage(given: Any, fail: Any) -> Stage:
    if given not in [s.value for s in SEARCHABLE]:
        raise fail("`stage` must say which stage reads the parameter", given, "One of: " + ", ".join(SEARCHABLE) + ".")
    return Stage(given)


def _parameter(name: str, spec: Any, fail: Any) -> Parameter:
    if not isinstance(spec, Mapping):
        raise fail(f"parameter {name!r} must be a mapping", spec, "E.g. {int: [8, 64], step: 8, stage: build}.")
    kinds = [k for k in ("choice", "int", "float") if k in spec]
    if len(kinds) != 1:
        raise fail(f"parameter {name!r} must be exactly one of choice, int, float", kinds or dict(spec), None)
    for key in spec:
        if key not in (*kinds, "step", "log", "stage", "when"):
            raise fail(
                f"unknown key in parameter {name!r}",
                repr(key),
                nearest(str(key), ("step", "log", "stage", "when", *kinds)),
            )
    stage = _stage(spec.get("stage"), fail)
    when = spec.get("when") or {}
    if not isinstance(when, Mapping):
        raise fail(f"`when` of {name!r} must be a mapping", when, "E.g. when: {method: kd}.")
    kind, body = kinds[0], spec[kinds[0]]
    if not isinstance(body, list) or not body:
        raise fail(f"{kind} of {name!r} must be a list", body, None)
    if kind == "choice":
        if "step" in spec or "log" in spec:
            raise fail(f"a choice like {name!r} has neither step nor log", dict(spec), "Use int or float.")
        if not all(isinstance(c, str | int | float | bool) for c in body):
            raise fail(
                f"choices of {name!r} must be plain values", body, "Quote words that YAML reads as something else."
            )
        if len({(type(c).__name__, c) for c in body}) != len(body):
            raise fail(f"choices of {name!r} must differ", body, None)
        return Parameter(name, kind, stage, choices=tuple(body), when=when)
    numbers = all(_is_number(b) for b in body)
    if len(body) != 2 or not numbers or body[0] > body[1]:
        raise fail(f"{kind} of {name!r} must be [low, high] with low <= high", body, None)
    if kind == "int" and not all(float(b).is_integer() for b in body):
        raise fail(f"int of {name!r} must have whole bounds", body, "Use float for fractions.")
    step, log = spec.get("step"), spec.get("log", False)
    if not isinstance(log, bool):
        raise fail(f"`log` of {name!r} must be true or false", repr(log), None)
    if log and (step is not None or body[0] <= 0):
        raise fail(f"`log: true` of {name!r} needs low > 0 and no step", spec, None)
    if step is not None and (not _is_number(step) or step <= 0):
        raise fail(f"`step` of {name!r} must be above 0", step, None)
    if kind == "int" and step is not None and not float(step).is_integer():
        raise fail(f"`step` of {name!r} must be whole, as its values are", step, "Use float for fractions.")
    if step is not None and abs((body[1] - body[0]) / step - round((body[1] - body[0]) / step)) > 1e-9:
        raise fail(f"`step` of {name!r} must divide high - low", f"{body} step {step}", None)
    return Parameter(name, kind, stage, low=body[0], high=body[1], step=step, log=log, when=when)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def allowed_bits(space: SearchSpace) -> set[int]:
    """The bits that a space lets its students have."""
    if "bits" in space.fixed:
        return {int(space.fixed["bits"])}
    searched = next((p for p in space.parameters if p.name == "bits"), None)
    if searched is None:
        return {32}
    return {int(v) for v in searched.choices} if searched.choices else {int(searched.low), int(searched.high)}
