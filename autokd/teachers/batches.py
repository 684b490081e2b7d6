"""How many samples a teacher is given at once."""

from __future__ import annotations

import numpy as np


def batch_size(shape: tuple[int, ...]) -> int:
    """Samples a batch: about a million raw values, between 16 and 512 samples."""
    return int(min(512, max(16, 2**20 // max(1, int(np.prod(shape))))))
