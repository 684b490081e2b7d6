"""Large arrays of raw values, read a chunk at a time: what must hold of every value, and their moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from autokd.errors import DataError
from autokd.files import rows_per_chunk

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation."""


def chunks(inputs: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The first row's index and the rows of every chunk."""
    step = rows_per_chunk(inputs)
    for start in range(0, len(inputs), step):
        yield start, inputs[start : start + step]


def refuse(bad: np.ndarray, start: int, allowed: str) -> None:
    """Refuse a chunk in which a value is bad; ``start`` is the index of its first sample.

    Raises:
        DataError: Which sample it is.
    """
    if bad.any():
        row = start + int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
        raise DataError(f"input values must be {allowed}", f"others in sample {row}", "Clean or scale the data.")


def by_channel(part: np.ndarray) -> np.ndarray:
    """``(B, C, ...)`` as ``(B * ..., C)``."""
    return np.moveaxis(part, 1, -1).reshape(-1, part.shape[1])


def mean_std(inputs: np.ndarray, train: np.ndarray, columns: Callable[[np.ndarray], np.ndarray]) -> Moments:
    """Mean and standard deviation of each column, in raw units, over the samples at ``train`` (``(n,) int64``).

    NaN is ignored; a column without any number has mean 0; a constant has std 1. Chunks are merged as in T. F. Chan,
    G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", COMPSTAT 1982,
    https://doi.org/10.1007/978-3-642-51461-6_3.

    Args:
        inputs: ``(N, *shape)`` raw values; may be memory-mapped.
        train: Indices of samples.
        columns: From ``(B, *shape) float64`` to ``(rows, columns)``.
    """
    count = mean = square = np.zeros(1)
    step = max(1, rows_per_chunk(inputs) // 8)  # chunks grow eightfold as float64
    for start in range(0, len(train), step):
        part = columns(np.asarray(inputs[train[start : start + step]], dtype=np.float64))
        there = ~np.isnan(part)
        n = there.sum(axis=0).astype(np.float64)
        part_mean = np.where(there, part, 0.0).sum(axis=0) / np.maximum(n, 1)
        part_square = (np.where(there, part - part_mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(count + n, 1)
        delta = part_mean - mean
        square = square + (part_square + delta**2 * count * n / total)
        mean = mean + delta * n / total
        count = count + n
    std = np.sqrt(square / np.maximum(count, 1))
    # Rounding leaves a constant with a tiny std; dividing by that would blow up the smallest deviation.
    std[std <= 1e-7 * np.abs(mean)] = 1.0
    std[std < np.finfo(np.float32).tiny] = 1.0
    return _floats(mean), _floats(std)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values.astype(np.float32))
