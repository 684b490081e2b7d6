"""Whether what a data source returned can be used; strangers' sources pass the same checks as ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autokd.data.fingerprint import rows_per_chunk
from autokd.errors import DataError
from autokd.protocols import RawData

DIMENSIONS = {"image": (4, "(N, C, H, W)"), "tabular": (2, "(N, F)")}


def checked(raw: object, source: str) -> RawData:
    """The same data with ``int64`` targets and every description filled in.

    ``low`` and ``high`` of images: where a source left the default 0..1 and the values go beyond, 0..255 (uint8) or the
    observed range (float32) takes its place.

    Raises:
        DataError: Something about the data cannot be used: which, what was found, and the mend.
    """
    if not isinstance(raw, RawData):
        raise DataError(f"data source {source!r} must return RawData", type(raw).__name__, "See autokd.protocols.")
    inputs = _inputs(raw)
    classes = _classes(raw)
    targets = _targets(raw, len(inputs), classes)
    low, high = _scan(raw, inputs)
    cardinalities, features, categories = _columns(raw, inputs)
    return replace(
        raw,
        inputs=inputs,
        targets=targets,
        classes=classes,
        low=low,
        high=high,
        cardinalities=cardinalities,
        features=features,
        categories=categories,
    )


def _inputs(raw: RawData) -> np.ndarray:
    if raw.kind not in DIMENSIONS:
        raise DataError("the kind of data must be 'image' or 'tabular'", repr(raw.kind))
    inputs, (ndim, layout) = raw.inputs, DIMENSIONS[raw.kind]
    if not isinstance(inputs, np.ndarray):
        raise DataError("inputs must be a numpy array", type(inputs).__name__, "Convert with numpy.asarray.")
    if inputs.dtype not in (np.float32, np.uint8):
        raise DataError("inputs must be float32 or uint8", inputs.dtype, "Convert with .astype('float32').")
    if inputs.ndim != ndim or 0 in inputs.shape:
        mend = "Bring it into this layout; grey images have C = 1." if raw.kind == "image" else None
        raise DataError(f"{raw.kind} inputs must have the shape {layout}, nothing empty", inputs.shape, mend)
    return inputs


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


def _scan(raw: RawData, inputs: np.ndarray) -> tuple[float, float]:
    """Refuses what is not finite; gives the range of raw values."""
    low, high, image = float(raw.low), float(raw.high), raw.kind == "image"
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise DataError("low < high must hold for the range of raw values", f"low={low}, high={high}")
    least, most = np.inf, -np.inf
    step = rows_per_chunk(inputs)
    for start in range(0, len(inputs), step):
        part = inputs[start : start + step]
        if part.dtype != np.uint8:
            bad = ~np.isfinite(part) if image else np.isinf(part)  # a missing value of a table is NaN
            if bad.any():
                row = start + int(np.flatnonzero(bad.reshape(len(part), -1).any(axis=1))[0])
                allowed = "finite" if image else "finite or NaN (missing)"
                raise DataError(
                    f"input values must be {allowed}", f"others in sample {row}", "Clean or scale the data."
                )
        if image:
            least, most = min(least, float(part.min())), max(most, float(part.max()))
    if not image or (least >= low and most <= high):
        return low, high
    if (raw.low, raw.high) == (0.0, 1.0):
        return (0.0, 255.0) if inputs.dtype == np.uint8 else (least, most)
    raise DataError(
        f"raw values must lie in the source's range {low:g} .. {high:g}",
        f"{least:g} .. {most:g}",
        "Correct low and high of the source.",
    )


Columns = tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[str, ...], ...]]


def _columns(raw: RawData, inputs: np.ndarray) -> Columns:
    if raw.kind == "image":
        if raw.cardinalities or raw.features or raw.categories:
            raise DataError("only tabular data has features and categories", "them for images", "Leave them out.")
        return (), (), ()
    count = inputs.shape[1]
    cardinalities = tuple(int(k) for k in raw.cardinalities) or (0,) * count
    features = tuple(raw.features) or tuple(f"feature_{i}" for i in range(count))
    categories = tuple(tuple(words) for words in raw.categories) or tuple(
        tuple(map(str, range(k))) for k in cardinalities
    )
    for name, found in (("cardinalities", cardinalities), ("features", features), ("categories", categories)):
        if len(found) != count:
            raise DataError(f"{name} must have one entry for each of the {count} features", len(found))
    if len(set(features)) != count:
        twice = next(f for f in features if features.count(f) > 1)
        raise DataError("feature names must be different", f"{twice!r} twice", "Rename one.")
    for name, k, words in zip(features, cardinalities, categories, strict=True):
        if k < 0 or len(words) != k:
            raise DataError(f"feature {name!r} must have as many words as codes", f"{len(words)} words, {k} codes")
    return cardinalities, features, categories
