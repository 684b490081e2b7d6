"""A study file resolved: configuration, space, profiles and goals, checked, and kept whole in the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autokd import registry, yaml_file
from autokd.config import StudyConfig, from_dict
from autokd.errors import ConfigError, nearest
from autokd.hardware.profile import HardwareProfile, load_profile
from autokd.objectives import Constraint, Objective
from autokd.space import SearchSpace, load_space

RECIPE_KEYS = (
    "samples", "epochs", "batch_size", "optimizer", "lr", "weight_decay", "augment", "views", "label_smoothing",
)  # fmt: skip
PRUNE_KEYS = ("importance", "tune_samples", "tune_lr")


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first trial.

    Args:
        config: What the person wrote, defaults filled in.
        space: The search space.
        space_source: Its YAML as plain values, so that the ledger does not depend on a file.
        profiles: Hardware profiles, in order.
        objectives: Two or three, profiles resolved.
        constraints: Also the profiles' own limits.
    """

    config: StudyConfig
    space: SearchSpace
    space_source: Mapping[str, Any]
    profiles: tuple[HardwareProfile, ...]
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]

    @property
    def directions(self) -> list[str]:
        return [o.direction for o in self.objectives]

    @property
    def scales(self) -> list[str]:
        return [o.scale for o in self.objectives]

    @property
    def concurrency(self) -> int:
        """Trials at a time: as said, else as many as the cores carry."""
        stated = self.config.concurrency
        if isinstance(stated, int):
            return stated
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.config.resources.cpus_per_trial)

    def to_json(self) -> str:
        return json.dumps(
            {
                "config": self.config.model_dump(),
                "space": dict(self.space_source),
                "profiles": [asdict(p) for p in self.profiles],
            }  # in the order written: conditions look at the parameters above them
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan of an existing study, without looking at any file."""
        raw = json.loads(text)
        profiles = tuple(HardwareProfile(**p | {"cores": p["cores"] and tuple(p["cores"])}) for p in raw["profiles"])
        config = StudyConfig.model_validate(raw["config"])
        return _resolve(config, raw["space"], profiles)

    def fingerprint(self) -> str:
        """Equal for two plans exactly when their trials mean the same."""
        raw = json.loads(self.to_json())
        raw["config"] = json.loads(self.config.fingerprint())
        return json.dumps(raw, sort_keys=True)

    def with_overrides(self, overrides: list[str]) -> Plan:
        """The plan with ``--set`` applied to what may change later (budget, runner, resources ...).

        Raises:
            ConfigError: The override would change what the finished trials mean.
        """
        config = from_dict(self.config.model_dump(exclude_none=True), overrides)
        if config.fingerprint() != self.config.fingerprint():
            raise ConfigError(
                "a study in the ledger keeps its data, teacher, space, objectives and training",
                ", ".join(overrides),
                "Only budget.*, runner, concurrency, resources.* and storage.* may change; else start a study of another name.",
            )
        return _resolve(config, self.space_source, self.profiles)


def make_plan(config: StudyConfig) -> Plan:
    """Resolve and check a configuration; nothing is written.

    Raises:
        ConfigError: An unknown name anywhere, or goals that do not fit together.
    """
    source, _ = _space_source(config.space)
    profiles = tuple(load_profile(name) for name in config.hardware)
    if len({p.name for p in profiles}) != len(profiles):
        raise ConfigError("profiles in `hardware` must have different names", [p.name for p in profiles])
    return _resolve(config, source, profiles)


def _space_source(given: str | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    space = load_space(given)  # complains with file and line
    if isinstance(given, Mapping):
        return dict(given), space.name
    is_file = given.endswith((".yaml", ".yml")) or "/" in given
    raw, _ = yaml_file.read(Path(given) if is_file else registry.yaml_file("spaces", given))
    return dict(raw) | {"description": space.name}, space.name


def _resolve(config: StudyConfig, source: Mapping[str, Any], profiles: tuple[HardwareProfile, ...]) -> Plan:
    space = load_space(source)
    names = [p.name for p in profiles]
    objectives = tuple(Objective.parse(text).resolve(names) for text in config.objectives)
    if len({o.name for o in objectives}) != len(objectives):
        raise ConfigError("objectives must differ", config.objectives)
    constraints = tuple(Constraint.parse(text).resolve(names) for text in config.constraints)
    constraints += tuple(_limits(profiles, {c.name for c in constraints}))
    _check_parameters(space)
    _check_method(config)
    for o in objectives:
        if ":" in o.metric:
            registry.load("metrics", o.metric)
    for metric in config.reference_point:
        if metric not in {o.name for o in objectives}:
            mend = nearest(metric, [o.name for o in objectives])
            raise ConfigError("`reference_point` must name objectives of this study", repr(metric), mend)
    registry.load("families", space.family)
    registry.load("samplers", config.sampler)
    registry.load("runners", config.runner)
    registry.load("data", config.data.source)
    return Plan(config, space, source, profiles, objectives, constraints)


def _limits(profiles: tuple[HardwareProfile, ...], stated: set[str]) -> list[Constraint]:
    found = []
    for profile in profiles:
        for metric, limit in profile.limits.items():
            text = f"{metric}@{profile.name}" if metric in ("latency_ms", "peak_memory_bytes") else metric
            constraint = Constraint.parse(f"{text} <= {limit}")
            if constraint.name not in stated:
                found.append(constraint)
    return found


def _check_parameters(space: SearchSpace) -> None:
    """Stage `prune` and `quantize` read fixed names; a typo there would silently search nothing."""
    for p in space.parameters:
        if p.stage == "quantize" and p.name != "bits":
            raise ConfigError("the quantize stage reads only `bits`", repr(p.name))
        if p.stage == "prune" and not (p.name.startswith("prune_") or p.name in PRUNE_KEYS):
            mend = "Known: prune_<group>, " + ", ".join(PRUNE_KEYS) + "."
            raise ConfigError("the prune stage reads prune_<group> and a few names", repr(p.name), mend)
        if p.name == "bits" and not set(p.choices or (p.low, p.high)) <= {8, 32}:
            raise ConfigError("`bits` must be 32 or 8", p.choices or (p.low, p.high))


def _check_method(config: StudyConfig) -> None:
    factory = registry.load("methods", config.distillation.method)
    try:
        factory(**config.distillation.options)
    except TypeError as error:
        raise ConfigError(f"`distillation` must give {config.distillation.method!r} arguments it takes", str(error)) from None
