"""Whether what a data source returned can be used; strangers' sources pass the same checks as ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from autokd import registry
from autokd.errors import ConfigError, DataError
from autokd.protocols import InputSpec, RawData


def checked(raw: object, source: str) -> RawData:
    """The same data with ``int64`` targets and every description filled in; inputs are checked by their modality.

    Raises:
        DataError: Something about the data cannot be used: which, what was found, and the mend.
    """
    if not isinstance(raw, RawData):
        raise DataError(f"data source {source!r} must return RawData", type(raw).__name__, "See autokd.protocols.")
    found = _modality(raw.kind).check(raw)
    _check_facts(found)
    classes = _classes(found)
    return replace(found, targets=_targets(found, len(found.inputs), classes), classes=classes)


def _modality(kind: object) -> Any:
    try:
        return registry.load("modalities", str(kind))()
    except ConfigError as error:
        raise DataError("the kind of data must be a registered modality", repr(kind), error.mend) from error


def _check_facts(raw: RawData) -> None:
    """They stand beside the fields of a spec, in JSON."""
    for name, value in raw.facts.items():
        if name in InputSpec.__dataclass_fields__:
            raise DataError("facts of the data must not be named like a field of InputSpec", repr(name), "Rename it.")
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"the fact {name!r} of the data must be plain JSON values", str(error)) from error


def _classes(raw: RawData) -> tuple[str, ...]:
    classes = tuple(raw.classes)
    if len(classes) < 2:
        raise DataError("there must be at least 2 classes", f"{len(classes)}: {', '.join(map(str, classes)) or 'none'}")
    for name in classes:
        if not isinstance(name, str) or not name.strip():
            raise DataError("class names must be non-empty texts", repr(name), "Write names as texts, in index order.")
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        raise DataError("class names must be different", f"{twice!r} twice", "Rename one.")
    return classes


def _targets(raw: RawData, n: int, classes: tuple[str, ...]) -> np.ndarray:
    targets = np.asarray(raw.targets)
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        found = f"shape {targets.shape}, type {targets.dtype}"
        raise DataError("targets must be one integer class index a sample", found, "Convert to int64 of shape (N,).")
    if len(targets) != n:
        raise DataError("inputs and targets must have the same length", f"{n} inputs and {len(targets)} targets")
    if targets.min() < 0 or targets.max() >= len(classes):
        found = f"indices from {targets.min()} to {targets.max()}"
        raise DataError(
            f"targets must be class indices 0 .. {len(classes) - 1}", found, "Check labels and class names."
        )
    return targets.astype(np.int64)
