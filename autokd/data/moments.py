"""Mean and standard deviation of the train split, in raw units, without loading it whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokd.data.fingerprint import rows_per_chunk


def mean_std(
    inputs: np.ndarray, train: np.ndarray, cardinalities: Sequence[int] = ()
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel ``(C,)`` of images ``(N, C, H, W)`` or per feature ``(F,)`` of tables ``(N, F)``.

    NaN is ignored; a feature without any number has mean 0. Categories have mean 0 and std 1; a constant has std 1.
    Chunks are merged as in T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances", COMPSTAT 1982, https://doi.org/10.1007/978-3-642-51461-6_3.
    """
    image = inputs.ndim == 4
    width = inputs.shape[1]
    count, mean, square = np.zeros(width), np.zeros(width), np.zeros(width)
    step = max(1, rows_per_chunk(inputs) // 8)  # chunks grow eightfold as float64
    for start in range(0, len(train), step):
        part = np.asarray(inputs[train[start : start + step]], dtype=np.float64)
        if image:
            part = part.transpose(0, 2, 3, 1).reshape(-1, width)
        there = ~np.isnan(part)
        n = there.sum(axis=0).astype(np.float64)
        part_mean = np.where(there, part, 0.0).sum(axis=0) / np.maximum(n, 1)
        part_square = (np.where(there, part - part_mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(count + n, 1)
        delta = part_mean - mean
        square += part_square + delta**2 * count * n / total
        mean += delta * n / total
        count += n
    std = np.sqrt(square / np.maximum(count, 1))
    # Rounding leaves a constant with a tiny std; dividing by that would blow up the smallest deviation.
    std[std <= 1e-7 * np.abs(mean)] = 1.0
    std[std < np.finfo(np.float32).tiny] = 1.0
    for i, k in enumerate(cardinalities):
        if k:
            mean[i], std[i] = 0.0, 1.0
    return _floats(mean), _floats(std)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values.astype(np.float32))
