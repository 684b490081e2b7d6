"""A study file resolved: configuration, space, profiles and goals, checked, and kept whole in the ledger."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autokd import registry
from autokd.config import yaml_file
from autokd.config.checks import check_plan, check_search, check_stages
from autokd.config.load import from_dict
from autokd.config.objectives import Constraint, Objective, parse_constraints, parse_objectives
from autokd.config.space import SearchSpace, load_space
from autokd.config.study_file import AUTO, NO_TEACHER, StudyConfig
from autokd.config.untaught import check_goals, methods_of, without_teacher
from autokd.errors import ConfigError, nearest
from autokd.hardware.profile import HardwareProfile, load_profile, profile_of

WORKER_WORTH_S = 60.0
"""CPU seconds of a budget that a worker process is worth: it takes three or four to start."""
SHORT_S = 900.0
"""A search of at most so many seconds does without Ray where nobody asks for it: it takes four CPU seconds to start."""


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
        """Trials at a time: as said, else as many as the cores carry and the budget of CPU seconds is worth."""
        stated = self.config.concurrency
        if isinstance(stated, int):
            return stated
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        worth = math.inf if self.config.budget.cpu_s is None else self.config.budget.cpu_s // WORKER_WORTH_S
        return int(max(1, min(cores // self.config.resources.cpus_per_trial, worth)))

    @property
    def runner(self) -> str:
        """The runner's name: as said; else worker processes of this host where minutes are searched, and Ray for longer."""
        stated = self.config.runner
        if stated != AUTO:
            return stated
        budget = self.config.budget
        longest = min(budget.cpu_s or math.inf, budget.wall_s or math.inf)
        return "local" if longest <= SHORT_S or importlib.util.find_spec("ray") is None else "ray"

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
        profiles = tuple(profile_of(**p | {"cores": p["cores"] and tuple(p["cores"])}) for p in raw["profiles"])
        config = StudyConfig.model_validate(_as_it_began(raw["config"]))
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
        config = from_dict(self.config.model_dump(), overrides)
        if config.fingerprint() != self.config.fingerprint():
            raise ConfigError(
                "a study in the ledger keeps its data, teacher, space, objectives and training",
                ", ".join(overrides),
                "Only budget.*, runner, concurrency, resources.* and storage.* may change; else start a study of another name.",
            )
        if config.runner != AUTO:
            registry.load("runners", config.runner)
        return _resolve(config, self.space_source, self.profiles)


def _as_it_began(config: dict[str, Any]) -> dict[str, Any]:
    """Before `training.init` was a key students began plain; a study from then goes on so, or its trials would not compare."""
    return {**config, "training": {"init": "plain", **config["training"]}}


def make_plan(config: StudyConfig) -> Plan:
    """Resolve and check a configuration; nothing is written.

    Raises:
        ConfigError: An unknown name anywhere, or goals that do not fit together.
    """
    if config.space == AUTO:
        from autokd.config.fitting import data_of, fitting_space  # reads the data

        config = config.model_copy(update={"space": fitting_space(data_of(config).spec)})
    source = _space_source(config.space)
    if config.teacher.kind == NO_TEACHER:
        config, source = without_teacher(config, source, methods_of(config, source))
    profiles = tuple(load_profile(name) for name in config.hardware)
    if len({p.name for p in profiles}) != len(profiles):
        raise ConfigError("profiles in `hardware` must have different names", [p.name for p in profiles])
    plan = _resolve(config, source, profiles)
    check_goals(config, (*plan.objectives, *plan.constraints))
    check_plan(config, plan.space, (*plan.objectives, *plan.constraints))
    return plan


def _space_source(given: str | Mapping[str, Any]) -> dict[str, Any]:
    space = load_space(given)  # complains with file and line
    if isinstance(given, Mapping):
        return dict(given)
    is_file = given.endswith((".yaml", ".yml")) or "/" in given
    raw, _ = yaml_file.read(Path(given) if is_file else registry.yaml_file("spaces", given))
    return dict(raw) | {"description": space.name}


def _resolve(config: StudyConfig, source: Mapping[str, Any], profiles: tuple[HardwareProfile, ...]) -> Plan:
    """Loads no implementation: a study is opened and its front shown without torch."""
    space = load_space(source)
    names = [p.name for p in profiles]
    objectives = parse_objectives(config.objectives, names)
    constraints = parse_constraints(config.constraints, names)
    constraints += tuple(_limits(profiles, {c.name for c in constraints}))
    check_stages(space)
    check_search(config, objectives)
    for metric in config.reference_point:
        if metric not in {o.name for o in objectives}:
            mend = nearest(metric, [o.name for o in objectives])
            raise ConfigError("`reference_point` must name objectives of this study", repr(metric), mend)
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


def difference(old: Plan, new: Plan) -> str:
    """The dotted names of what two plans differ in, for an error message."""

    def flat(value: Any, path: str = "") -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, below in value.items() for k, v in flat(below, f"{path}.{key}".strip(".")).items()}
        return {path: value}

    before, after = flat(json.loads(old.fingerprint())), flat(json.loads(new.fingerprint()))
    names = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return ", ".join(n.removeprefix("config.") for n in names[:6]) + (", ..." if len(names) > 6 else "")
