"""From the ``data:`` block to data ready for a study: loaded, checked, split, measured, fingerprinted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autokd import registry
from autokd.data.check import checked
from autokd.data.fingerprint import data_fingerprint
from autokd.data.splits import limit_train, make_splits
from autokd.errors import AutokdError, ConfigError, DataError, nearest
from autokd.protocols import DataOptions, Dataset

COMMON = frozenset({"validation_fraction", "test_fraction", "calibration", "limit"})
"""Options of every source; they are read here and not passed on."""


@dataclass(frozen=True)
class SplitOptions:
    """How the data is split; see :func:`autokd.data.splits.make_splits`.

    Args:
        validation_fraction: Share of the free samples, in (0, 1).
        test_fraction: Likewise.
        calibration: Most samples for int8 calibration, at least 1.
        limit: Training samples to keep, for quick trials; ``None`` keeps all.
    """

    validation_fraction: float = 0.1
    test_fraction: float = 0.15
    calibration: int = 256
    limit: int | None = None


def load_dataset(
    source: str,
    path: str | None,
    options: Mapping[str, Any],
    *,
    seed: int,
    cache_dir: Path,
    progress: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """The data of a study.

    Args:
        source: A registered source or ``package.module:factory``.
        path: ``data.path``.
        options: The other keys of ``data:``: those of the source, and :data:`COMMON`.
        seed: Of the splits.
        cache_dir: Folder for downloads and decoded copies.
        progress: Shown to the person.

    Raises:
        ConfigError: Unknown source or option, or a path where none is taken or none where one is needed.
        DataError: The data cannot be used.
    """
    load = registry.load("data", source)
    _check_path(source, path, getattr(load, "path", "optional"))
    _check_names(source, options, getattr(load, "options", None))
    how = split_options(options)
    own = {k: v for k, v in options.items() if k not in COMMON}
    place = None if path is None else Path(path).expanduser()
    request = DataOptions(place, own, seed, cache_dir, progress)
    try:
        found = load(request)
    except AutokdError:
        raise
    except Exception as error:
        if ":" not in source:
            raise  # a fault of ours is to be seen whole
        raise DataError(f"data source {source!r} must load", repr(error), "See the cause in your factory.") from error
    raw = checked(found, source)
    splits = make_splits(
        len(raw.inputs),
        raw.targets,
        seed,
        test=raw.test,
        validation=raw.validation,
        validation_fraction=how.validation_fraction,
        test_fraction=how.test_fraction,
        calibration=how.calibration,
        classes=raw.classes,
    )
    if how.limit is not None:
        splits = replace(splits, train=limit_train(splits.train, raw.targets, how.limit, seed, raw.classes))
    spec = registry.load("modalities", raw.kind)().describe(raw, splits.train)
    return Dataset(source, raw.inputs, raw.targets, raw.classes, spec, splits, data_fingerprint(raw, splits))


def majority_accuracy(dataset: Dataset) -> float:
    """Accuracy on the validation split of always answering the commonest class of the train split."""
    splits = dataset.splits
    commonest = np.bincount(dataset.targets[splits.train], minlength=len(dataset.classes)).argmax()
    return float(np.mean(dataset.targets[splits.validation] == commonest))


def split_options(options: Mapping[str, Any]) -> SplitOptions:
    """The common options, checked.

    Raises:
        ConfigError: A value of the wrong type or out of range.
    """
    how = SplitOptions(**{k: v for k, v in options.items() if k in COMMON})
    for name in ("validation_fraction", "test_fraction"):
        value = getattr(how, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise ConfigError(f"`data.{name}` must be a number in (0, 1)", repr(value))
    if how.validation_fraction + how.test_fraction >= 0.95:
        found = f"{how.validation_fraction} + {how.test_fraction}"
        raise ConfigError("validation_fraction + test_fraction must be below 0.95", found, "Leave more to train on.")
    for name in ("calibration", "limit"):
        value = getattr(how, name)
        if name == "limit" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"`data.{name}` must be a whole number of at least 1", repr(value))
    return how


def _check_path(source: str, path: str | None, rule: str) -> None:
    if rule == "none" and path is not None:
        raise ConfigError(f"data source {source!r} takes no `data.path`", repr(path), "Remove it.")
    if rule == "required" and path is None:
        raise ConfigError(f"data source {source!r} needs `data.path`", "none", "Say where the data is.")


def _check_names(source: str, options: Mapping[str, Any], known: frozenset[str] | None) -> None:
    if known is None:
        return  # a person's own factory checks its own options
    for name in options:
        if name not in known | COMMON:
            mend = nearest(str(name), known | COMMON | {"source", "path"})
            raise ConfigError(f"data source {source!r} must know every key of `data`", repr(name), mend)
