"""The SHA-256 of data and splits, read in chunks so that memory-mapped arrays stay on disk."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from autokd import registry
from autokd.files import rows_per_chunk
from autokd.protocols import TABLE_FACTS, RawData, Splits


def data_fingerprint(raw: RawData, splits: Splits) -> str:
    """SHA-256 of inputs, targets, classes, what describes the input, and splits; the same on every machine."""
    sha = hashlib.sha256()
    inputs = registry.load("modalities", raw.kind)().arrays(raw.inputs)
    facts = [raw.kind, list(raw.classes), raw.low, raw.high, *(raw.facts.get(name, ()) for name in TABLE_FACTS)]
    more = {name: value for name, value in sorted(raw.facts.items()) if name not in TABLE_FACTS}
    if more or list(inputs) != ["inputs"]:
        facts += [more, list(inputs)]
    sha.update(json.dumps(facts, separators=(",", ":")).encode())
    arrays = [*inputs.values(), raw.targets, splits.train, splits.validation, splits.calibration, splits.test]
    for array in arrays:
        # Shapes and dtypes part the arrays: a sample cannot move from one to the next unseen.
        sha.update(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
        step = rows_per_chunk(array)
        for start in range(0, len(array), step):
            part = np.ascontiguousarray(array[start : start + step])
            sha.update(part.astype(part.dtype.newbyteorder("<"), copy=False).data)
    return sha.hexdigest()
