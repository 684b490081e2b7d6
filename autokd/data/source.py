"""What a data source of ours declares beside its function: whether it takes a path, and its option names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from autokd.errors import ConfigError
from autokd.protocols import DataOptions, RawData

PathRule = Literal["none", "optional", "required"]
Loader = Callable[[DataOptions], RawData]


def source(path: PathRule, *options: str) -> Callable[[Loader], Loader]:
    """A decorator that marks a loader with ``load.path`` and ``load.options``; the function itself stays as it is.

    Args:
        path: Whether ``data.path`` must be absent, may be given, or must be given.
        options: Names of the options that the source reads; any other key in ``data:`` is refused.
    """

    def mark(load: Loader) -> Loader:
        vars(load).update(path=path, options=frozenset(options))
        return load

    return mark


def needed_path(options: DataOptions) -> Path:
    """The path of a source that cannot do without.

    Raises:
        ConfigError: None was given.
    """
    if options.path is None:
        raise ConfigError("this data source needs `data.path`", "none", "Say where the data is.")
    return options.path
