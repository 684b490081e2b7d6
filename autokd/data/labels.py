"""From labels as people write them (integers or words) to class indices and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autokd.errors import ConfigError, DataError


def encode(labels: np.ndarray, classes: Sequence[str] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """``(N,) int64`` indices and the class names.

    Without names, the distinct labels in sorted order are the classes. With names, words must be among them; integers
    are indices into them where all can be, else (labels from 1, say) the distinct integers take the names in order.

    Args:
        labels: ``(N,)`` integers, whole floats, booleans or texts.
        classes: Names in index order.

    Raises:
        DataError: Labels of another kind, or that do not fit the names.
    """
    labels = _plain(labels)
    values, index = np.unique(labels, return_inverse=True)
    found = [str(v) for v in values.tolist()]
    if classes is None:
        return index.astype(np.int64), tuple(found)
    names = tuple(classes)
    if labels.dtype.kind == "U":
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise DataError("every label must be one of `data.classes`", repr(unknown[0]), "Add it to the names.")
        return np.array([names.index(v) for v in found], np.int64)[index], names
    if len(values) and values[0] >= 0 and values[-1] < len(names):
        return labels.astype(np.int64), names
    if len(values) != len(names):
        raise DataError("`data.classes` must name every class", f"{len(names)} names, {len(values)} distinct labels")
    return index.astype(np.int64), names


def class_names(value: Any) -> tuple[str, ...] | None:
    """The option ``classes``, checked.

    Raises:
        ConfigError: Not a list of names.
    """
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError("`data.classes` must be a list of names in index order", repr(value))
    return tuple(str(v) for v in value)


def _plain(labels: np.ndarray) -> np.ndarray:
    """Integers or texts, one dimension."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        mend = "One-hot labels: store y.argmax(axis=1)." if labels.ndim == 2 else None
        raise DataError("labels must be one value a sample, shape (N,)", f"shape {labels.shape}", mend)
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all():
        return labels.astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind not in "iuU":
        raise DataError(
            "labels must be integers or texts", f"values of type {labels.dtype}", "Regression is not offered."
        )
    return labels
