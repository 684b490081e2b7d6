"""Change one value of a YAML text and leave the rest as the person wrote it, comments too; knows nothing of Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from autokd.config import yaml_file
from autokd.errors import ConfigError

Path = tuple[str, ...]
TEXT_NAME = "the study file"
"""What errors call the text."""


def values_of(text: str) -> dict[str, Any]:
    """The mapping that a study file holds.

    Raises:
        ConfigError: Not YAML, or no mapping; names the line.
    """
    raw, _ = yaml_file.parse(text, TEXT_NAME)
    if not isinstance(raw, Mapping):
        law, mend = "a study file must be a mapping of keys to values", "Begin with `name: my_study`."
        raise ConfigError(law, type(raw).__name__ if raw is not None else "nothing", mend)
    return dict(raw)


def get(values: Mapping[str, Any], path: Path, default: Any = None) -> Any:
    """The value at a path of keys, or ``default`` where there is none."""
    here: Any = values
    for key in path:
        if not isinstance(here, Mapping) or key not in here:
            return default
        here = here[key]
    return here


def put(text: str, path: Path, value: Any) -> str:
    """The text with one value changed, added, or with ``None`` removed.

    The value alone is replaced where that gives exactly the wanted file; else the file is written anew without comments.

    Raises:
        ConfigError: The text is no YAML mapping.
    """
    before = values_of(text)
    wanted = changed(before, path, value)
    if wanted == before:
        return text
    try:
        found = _remove(text, path) if value is None else _replace(text, path, value)
        if values_of(found) == wanted:
            return found
    except (ConfigError, ValueError, yaml.YAMLError):
        pass  # anchors, tags, odd indentation: nothing that is worth more code than this
    return dump(wanted)


def changed(values: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy with the value at a path; a block that is left empty by a removal goes too."""
    found: dict[str, Any] = _apart(values)
    here, above = found, []
    for key in path[:-1]:
        if not isinstance(here.get(key), dict):
            if value is None:
                return found
            here[key] = {}
        above.append((here, key))
        here = here[key]
    if value is not None:
        here[path[-1]] = value
        return found
    here.pop(path[-1], None)
    for parent, key in reversed(above):
        if not parent[key]:
            del parent[key]
    return found


def _apart(value: Any) -> Any:
    """A deep copy in which nothing stands twice, as it may behind YAML's aliases."""
    if isinstance(value, Mapping):
        return {k: _apart(v) for k, v in value.items()}
    return [_apart(v) for v in value] if isinstance(value, list) else value


def dump(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, lists and innermost mappings on one line."""
    return str(yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True))


# ------------------------------------------------------------------------------------------------------------- in place


def _replace(text: str, path: Path, value: Any) -> str:
    root = _root(text)
    key, node = _find(root, path)
    if node is None or key is None:
        return _insert(text, root, path, value)
    begin, end = node.start_mark.index, _end(node)
    column = node.start_mark.column
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and isinstance(value, list) and value:
        new = ("\n" + " " * column).join(f"- {_inline(item)}" for item in value)
    else:
        new = _inline(value)
        if begin == key.end_mark.index + 1:  # nothing stood there: `key:`
            new = " " + new
        elif begin > 0 and "\n" in text[key.end_mark.index : begin]:  # a block becomes one line: beside its key
            begin = text.index(":", key.end_mark.index) + 1
            new = " " + new
    return text[:begin] + new + text[end:]


def _insert(text: str, root: yaml.Node, path: Path, value: Any) -> str:
    """Add a key below the nearest mapping that is there."""
    depth = len(path) - 1
    while depth and not isinstance(_find(root, path[:depth])[1], yaml.MappingNode):
        depth -= 1
    parent = _find(root, path[:depth])[1] if depth else root
    for name in reversed(path[depth + 1 :]):
        value = {name: value}
    if not isinstance(parent, yaml.MappingNode) or not parent.value:
        raise ValueError("no block to add to")
    line = f"{_inline(path[depth])}: {_inline(value)}"
    end = _end(parent)
    if parent.flow_style:
        return f"{text[: end - 1].rstrip()}, {line}{text[end - 1 :]}"
    stop = text.find("\n", end)
    stop = len(text) if stop < 0 else stop
    return f"{text[:stop]}\n{' ' * parent.value[0][0].start_mark.column}{line}{text[stop:]}"


def _remove(text: str, path: Path) -> str:
    """Cut the lines of a key, and of what is left empty without it."""
    root = _root(text)
    for depth in range(len(path), 0, -1):
        key, node, parent = _there(root, path[:depth])
        if len(parent.value) > 1:  # else the block goes too, up to the whole file's
            break
    if parent.flow_style:
        here = [(k, v) for k, v in parent.value if k.value != key.value]
        inner = ", ".join(
            text[k.start_mark.index : _end(v)] if v.value != "" else f"{k.value}:" for k, v in here
        )  # each as it was written
        return f"{text[: parent.start_mark.index]}{{{inner}}}{text[_end(parent) :]}"
    begin = text.rfind("\n", 0, key.start_mark.index) + 1
    stop = text.find("\n", max(_end(node), key.end_mark.index))
    return text[:begin] + (text[stop + 1 :] if stop >= 0 else "")


def _root(text: str) -> yaml.Node:
    root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        raise ValueError("an empty file")
    return root


def _there(root: yaml.Node, path: Path) -> tuple[yaml.Node, yaml.Node, yaml.MappingNode]:
    """Key and value nodes at a path, and the mapping that they stand in."""
    key, node = _find(root, path)
    parent = _find(root, path[:-1])[1]
    if key is None or node is None or not isinstance(parent, yaml.MappingNode):
        raise ValueError("not there")
    return key, node, parent


def _find(root: yaml.Node, path: Sequence[str]) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Key and value nodes at a path."""
    key: yaml.Node | None = None
    here: yaml.Node | None = root
    for name in path:
        if not isinstance(here, yaml.MappingNode):
            return None, None
        key, here = next(((k, v) for k, v in here.value if k.value == name), (None, None))
    return key, here


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends; PyYAML lets blocks run on to the next token, over comments."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _inline(value: Any) -> str:
    """A value on one line; floats so that YAML reads them as such."""
    text = str(yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=10**6, allow_unicode=True))
    return text.removesuffix("\n").removesuffix("\n...").strip()
