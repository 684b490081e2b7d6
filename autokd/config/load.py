"""A study file, or plain values, to a configuration: overrides applied, paths made absolute."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autokd.config import yaml_file
from autokd.config.messages import readable
from autokd.config.overrides import apply_override, names_teacher
from autokd.config.study_file import StudyConfig, TeacherConfig
from autokd.errors import ConfigError


def from_yaml(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """A study file with ``--set`` applied.

    Raises:
        ConfigError: Names file, line, law, value and mend.
    """
    raw, lines = yaml_file.read(path)
    if not isinstance(raw, Mapping):
        raise ConfigError(
            "a study file must be a mapping", type(raw).__name__, "`autokd init` writes one.", str(path), 1
        )
    return from_dict(raw, overrides, file=str(path), lines=lines, base=path.parent)


def from_dict(
    raw: Mapping[str, Any],
    overrides: Sequence[str] = (),
    file: str | None = None,
    lines: yaml_file.Lines | None = None,
    base: Path | None = None,
) -> StudyConfig:
    """A configuration from plain values; paths are made absolute (against the current folder, then ``base``)."""
    values = copy.deepcopy(dict(raw))
    for text in sorted(overrides, key=lambda text: not names_teacher(text)):  # it drops what belongs to another
        apply_override(values, text)
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        raise readable(error, file, lines or {}) from None
    return _absolute(config, base)


def _absolute(config: StudyConfig, base: Path | None) -> StudyConfig:
    def absolute(text: str | None) -> str | None:
        if text is None or Path(text).is_absolute():
            return text
        for folder in (Path.cwd(), base):
            if folder is not None and (folder / text).exists():
                return str((folder / text).resolve())
        return str(Path.cwd() / text)

    update: dict[str, Any] = {}
    if config.data.path:
        update["data"] = config.data.model_copy(update={"path": absolute(config.data.path)})
    teacher: dict[str, Any] = {}
    if config.teacher.weights:
        teacher["weights"] = absolute(config.teacher.weights)
    if config.teacher.kind == "onnx":
        teacher["onnx"] = absolute(config.teacher.target)
    if teacher:
        dumped = config.teacher.model_dump() | teacher
        update["teacher"] = TeacherConfig.model_validate(dumped)
    hardware = [str(absolute(h)) if h.endswith((".yaml", ".yml")) else h for h in config.hardware]
    if isinstance(config.space, str) and config.space.endswith((".yaml", ".yml")):
        update["space"] = absolute(config.space)
    return config.model_copy(update=update | {"hardware": hardware})
