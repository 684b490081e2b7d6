"""Reading the options of a data source: typed, with one clear message each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokd.errors import ConfigError


def text(options: Mapping[str, Any], name: str, default: str | None = None) -> str | None:
    """A text option, or the default where it is absent."""
    value = options.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not value:
        raise ConfigError(f"`data.{name}` must be a text", repr(value))
    return value


def choice(options: Mapping[str, Any], name: str, known: Sequence[Any]) -> Any:
    """One of the known values, or ``None`` where it is absent."""
    value = options.get(name)
    # bool is an int: True must not pass for 1
    if value is not None and not any(value == k and type(value) is type(k) for k in known):
        raise ConfigError(f"`data.{name}` must be one of {', '.join(map(str, known))}", repr(value))
    return value


def texts(options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts (numbers are written out), empty where it is absent."""
    value = options.get(name)
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ConfigError(f"`data.{name}` must be a list", repr(value), f"Write {name}: [{value}].")
    return tuple(str(v) for v in value)


def image_size(options: Mapping[str, Any], name: str = "size") -> tuple[int, int] | None:
    """Height and width from one number or two, or ``None`` where it is absent."""
    value = options.get(name)
    if value is None:
        return None
    pair = list(value) if isinstance(value, list | tuple) else [value, value]
    whole = all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= 4096 for v in pair)
    if len(pair) != 2 or not whole:
        raise ConfigError(f"`data.{name}` must be pixels, one number or [height, width], 1 .. 4096", repr(value))
    return pair[0], pair[1]
