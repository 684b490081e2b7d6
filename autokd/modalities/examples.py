"""Samples that are not one array: several named inputs, and rows of different length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Named:
    """Several inputs of every sample, each an array ``(N, ...)``, by name.

    Implements :class:`autokd.protocols.Examples`; the modality names them in ``facts["inputs"]``, with shape and dtype.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = dict(arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: np.ndarray, /) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}


class Ragged:
    """Rows of different length, such as words' codes, handed out as one array ``(B, length, ...)``.

    Implements :class:`autokd.protocols.Examples`.

    Args:
        values: ``(T, ...)``: all rows, one after the other.
        offsets: ``(N + 1,) int64``: row ``i`` is ``values[offsets[i] : offsets[i + 1]]``.
        length: Steps of a sample that is handed out: longer rows are cut.
        pad: Fills shorter rows.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray, length: int, pad: float = 0) -> None:
        self.arrays = {"values": values, "offsets": offsets}
        self.length, self.pad = length, pad

    def __len__(self) -> int:
        return len(self.arrays["offsets"]) - 1

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        values, offsets = self.arrays["values"], self.arrays["offsets"]
        first, steps = offsets[index], np.arange(self.length)
        inside = steps < (offsets[np.asarray(index) + 1] - first)[..., None]
        out = np.full((*inside.shape, *values.shape[1:]), self.pad, dtype=values.dtype)
        out[inside] = values[(first[..., None] + steps)[inside]]
        return out
