"""A study file as text: what is wrong with it, what may be chosen in it, a name for it; knows nothing of Streamlit."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd import registry
from autokd.config import yaml_file
from autokd.config.checks import check_stages
from autokd.config.load import from_dict
from autokd.config.objectives import METRICS, Objective, parse_constraints, parse_objectives
from autokd.config.space import load_space
from autokd.config.study_file import AUTO, StudyConfig
from autokd.dashboard.commands.yaml_edit import TEXT_NAME, values_of
from autokd.errors import ConfigError, UserError, nearest
from autokd.hardware.profile import check_host, load_profile


@dataclass(frozen=True)
class Checked:
    """What looking at the text found; names of a person's own modules are not imported here, the pre-flight does that.

    Args:
        config: The configuration, or ``None`` with an ``error``.
        error: What must hold, what was found, what to do.
        space_size: Candidates of the space; infinite with a continuous parameter, ``None`` where the data decide on the space.
        objectives: Two or three, profiles filled in.
    """

    config: StudyConfig | None = None
    error: UserError | None = None
    space_size: float | None = 0.0
    objectives: tuple[Objective, ...] = ()

    @property
    def place(self) -> str:
        """Where the error is: ``Line 3``, ``space.yaml, line 4``, ``space.yaml``; empty where nothing is known of it."""
        if not isinstance(self.error, ConfigError):
            return ""
        file, line = self.error.file, self.error.line
        if file in (None, TEXT_NAME):
            return f"Line {line}" if line else ""
        return f"{file}, line {line}" if line else str(file)


def check(text: str) -> Checked:
    """Everything that can be judged without loading torch or ray: keys, names, ranges, space, devices, goals."""
    try:
        return _check(text)
    except UserError as error:
        return Checked(error=error)


def _check(text: str) -> Checked:
    values = values_of(text)
    config = from_dict(values, lines=yaml_file.parse(text, TEXT_NAME)[1])
    space = None if config.space == AUTO else load_space(config.space)
    if space is not None:
        check_stages(space)
        _known("families", space.family)
    profiles = [load_profile(name) for name in config.hardware]
    names = [p.name for p in profiles]
    if len(set(names)) != len(names):
        raise ConfigError("profiles in `hardware` must have different names", names)
    objectives = parse_objectives(config.objectives, names)
    parse_constraints(config.constraints, names)
    _known("data", config.data.source)
    _known("samplers", config.sampler)
    if config.runner != AUTO:
        _known("runners", config.runner)
    if config.teacher.kind == "family":
        _known("families", config.teacher.target)
    for file in (config.teacher.target if config.teacher.kind == "onnx" else None, config.teacher.weights):
        if file and not Path(file).is_file():
            raise ConfigError("the teacher's file must exist", file, "Correct the path; it counts from this folder.")
    if config.data.path and not Path(config.data.path).exists():
        raise ConfigError("the data's path must exist", config.data.path, "Correct the path.")
    for profile in profiles:
        check_host(profile)
    return Checked(config, None, None if space is None else space.size(), objectives)


def _known(kind: str, name: str) -> None:
    """A registered name, or ``package.module:factory``, which only the search itself may import."""
    known = registry.names(kind)
    if name in known or (":" in name and not name.startswith(("optuna:", "nni:"))):
        return
    law = f"{kind} must be one of the registered names or 'package.module:factory'"
    raise ConfigError(law, repr(name), nearest(name, known))


def objective_choices(profiles: Collection[str]) -> list[str]:
    """Every objective that autokd can measure itself, as a study file says it."""
    found = []
    for metric in METRICS.values():
        places = [f"@{p}" for p in profiles] if metric.needs_profile else [""]
        found += [f"{metric.direction} {metric.name}{place}" for place in places]
    return found


def profile_name(text: str) -> str:
    """What objectives call a profile that ``hardware`` names or gives as a file."""
    return Path(text).stem if text.endswith((".yaml", ".yml")) else text


def moved_objectives(objectives: list[Any], before: list[str], now: list[str]) -> list[Any]:
    """Objectives on a device that was just taken away, moved to the first that is left."""
    gone, left = {profile_name(p) for p in before} - {profile_name(p) for p in now}, [profile_name(p) for p in now]
    if not left:
        return objectives
    found = []
    for text in objectives:
        goal, at, place = str(text).partition("@")
        found.append(f"{goal}@{left[0]}" if at and place in gone else text)
    return list(dict.fromkeys(found))


def free_name(name: str, taken: Collection[str], folder: Path) -> str:
    """The name, or with the first number behind it that neither a study of the ledger nor a file here has."""
    stem = re.sub(r"-\d+$", "", name) or "study"
    number, found = 2, name
    while found in taken or (folder / f"{found}.yaml").exists():
        found, number = f"{stem}-{number}", number + 1
    return found
