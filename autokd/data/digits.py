"""Handwritten digits 8x8 from scikit-learn: there without a download."""

from __future__ import annotations

import numpy as np

from autokd.data.source import source
from autokd.protocols import DataOptions, RawData


@source("none")
def load(options: DataOptions) -> RawData:
    """Handwritten digits, 1,797 grey images of 8x8, 10 classes; ships with scikit-learn, no download.

    ``inputs``: ``(1797, 1, 8, 8) float32``, 0 .. 16.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return RawData(
        inputs=np.ascontiguousarray(bunch.images[:, None], dtype=np.float32),
        targets=bunch.target.astype(np.int64),
        classes=tuple(str(d) for d in range(10)),
        kind="image",
        high=16.0,
    )
