"""YAML as data: safe loading that remembers lines, refuses duplicate keys, and reads 1e-3 as a number."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from autokd.errors import ConfigError, first_line

Lines = dict[tuple[str | int, ...], int]
"""Line number (from 1) of every key and list item, by path."""


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain words", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot and a signed exponent in floats; everybody writes 1e-3.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
# A date is a word like any other: nothing here wants a date object, and JSON has none.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def parse(text: str, name: str) -> tuple[Any, Lines]:
    """The value of a YAML text, and the lines of its keys.

    Args:
        text: YAML.
        name: What to call it in errors, usually the file's path.

    Raises:
        ConfigError: It is not YAML; says line and cause.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError("the file must be valid YAML", error.problem, "Mend this line.", name, line) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number or a date that there is not
        raise ConfigError("the file must be valid YAML", first_line(error), None, name) from None
    except RecursionError:
        raise _too_deep(name) from None
    lines: Lines = {}
    if node is not None:
        try:
            _walk(node, (), lines)
        except RecursionError:
            raise _too_deep(name) from None
    return value, lines


def _too_deep(name: str) -> ConfigError:
    return ConfigError("the file must not be nested without end", "an alias inside itself", "Remove it.", name)


def read(path: Path) -> tuple[Any, Lines]:
    """:func:`parse` of a file.

    Raises:
        ConfigError: Missing, unreadable, not text, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("the file must exist", str(path), "`autokd init` writes a study file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the file must be readable text", f"{path}: {error}") from None
    return parse(text, str(path))


def scalar(text: str) -> Any:
    """One value from the command line, parsed as YAML: ``--set lr=1e-2`` gives a float."""
    return parse(text, "--set")[0]


def _walk(node: yaml.Node, path: tuple[str | int, ...], lines: Lines) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines)


def line_of(path: tuple[str | int, ...], lines: Lines) -> int | None:
    """The line of a path, or of its nearest ancestor that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None
