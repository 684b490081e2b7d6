"""The SHA-256 of data and splits, read in chunks so that memory-mapped arrays stay on disk."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from autokd.protocols import RawData, Splits

CHUNK_BYTES = 1 << 24


def rows_per_chunk(array: np.ndarray) -> int:
    """Rows of an array that make up about 16 MiB."""
    return max(1, CHUNK_BYTES // max(1, array[:1].nbytes))


def data_fingerprint(raw: RawData, splits: Splits) -> str:
    """SHA-256 of inputs, targets, classes, what describes the input, and splits; the same on every machine."""
    sha = hashlib.sha256()
    facts = [raw.kind, list(raw.classes), raw.low, raw.high, raw.cardinalities, raw.features, raw.categories]
    sha.update(json.dumps(facts, separators=(",", ":")).encode())
    arrays = [raw.inputs, raw.targets, splits.train, splits.validation, splits.calibration, splits.test]
    for array in arrays:
        # Shapes and dtypes part the arrays: a sample cannot move from one to the next unseen.
        sha.update(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
        step = rows_per_chunk(array)
        for start in range(0, len(array), step):
            part = np.ascontiguousarray(array[start : start + step])
            sha.update(part.astype(part.dtype.newbyteorder("<"), copy=False).data)
    return sha.hexdigest()
