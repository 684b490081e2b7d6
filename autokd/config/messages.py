"""What the validator says, as one error with law, value and mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autokd.config import yaml_file
from autokd.config.study_file import StudyConfig
from autokd.errors import ConfigError, nearest

_BRANCH = re.compile(r"(dict|list|literal)\[|(int|float|str)$")
"""What pydantic puts into a path to say which type of several it tried."""


def readable(error: ValidationError, file: str | None, lines: yaml_file.Lines) -> ConfigError:
    """The first validation error as one message with law, value and mend."""
    first = error.errors()[0]
    loc, unknown = first["loc"], first["type"] == "extra_forbidden"  # of an unknown key the last part is the key itself
    path = tuple(p for i, p in enumerate(loc) if not _BRANCH.match(str(p)) or (unknown and i == len(loc) - 1))
    where = ".".join(str(p) for p in path)
    line = yaml_file.line_of(path, lines)
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        return ConfigError("unknown key", repr(where), nearest(str(path[-1]), _keys(path[:-1])), file, line)
    if kind == "missing":
        return ConfigError(f"{where!r} must be given", "nothing", "`autokd init` shows every key.", file, line)
    if path == ("objectives",) and kind == "too_short":
        return ConfigError(
            "a study needs two or three objectives",
            given,
            "With a single goal, name the other as well, or put it into `constraints`.",
            file,
            line,
        )
    if path == ("hardware",) and kind == "too_short":
        mend = "Name a profile, e.g. [cpu_1_thread]; `autokd list profiles` shows them."
        return ConfigError("`hardware` must name at least one profile", given, mend, file, line)
    message = first["msg"].removeprefix("Value error, ")
    law = f"{where}: {message}" if where else message
    value = None if kind == "value_error" and isinstance(given, Mapping) else repr(given)
    return ConfigError(law, value, first.get("ctx", {}).get("mend"), file, line)


def _keys(path: tuple[Any, ...]) -> list[str]:
    model: Any = StudyConfig
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field is not None else None
        annotation = next((a for a in get_args(annotation) if a is not type(None)), annotation)  # X of X | None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]
