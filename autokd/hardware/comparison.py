"""Files timed against each other: in turns, so that whatever slows a core for a while slows all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autokd.protocols import Meter

SCOUTS = 2
"""Rounds of all files."""
ROUNDS = 5
"""Rounds in all; after the first ones only of contenders."""
SWEEPS = 10
CONTENDER = 1.15
"""A file that looks so many times slower than the fastest is not timed again."""


def compare(meter: Meter, files: Sequence[Path], profile: str) -> list[float]:
    """Milliseconds of one call of each file, good for telling which is faster.

    A shared core is half as fast again in one second as in the next, and files timed one after another, however long, may meet
    either. So each round times every file briefly, and a time is a product of the file's and the round's: both by median polish
    (J. W. Tukey, "Exploratory Data Analysis", 1977), which a few disturbed timings leave as they are. Nothing is waited for.

    Args:
        meter: Times.
        files: ONNX files.
        profile: Name of one of the meter's profiles.

    Returns:
        In the order of ``files``, at the host's usual clock as far as it is known.

    Raises:
        StageFailure: A file cannot be loaded or run.
    """
    raw = np.full((ROUNDS, len(files)), np.nan)
    factors = []
    going = list(range(len(files)))
    for turn in range(ROUNDS if len(files) > 1 else 1):
        if turn == SCOUTS:
            apart = (raw[:SCOUTS] / raw[:SCOUTS].min(axis=1, keepdims=True)).min(axis=0)
            going = [k for k in going if apart[k] <= CONTENDER]
            if len(going) == 1:
                break
        for k in going:
            timed = meter.measure(files[k], profile, brief=True, once=True)
            raw[turn, k] = timed.p50_ms / (timed.clock_factor or 1.0)
            factors.append(timed.clock_factor or 1.0)
    left = np.log(raw[~np.isnan(raw).all(axis=1)])
    of_file, of_round = np.zeros(len(files)), np.zeros((len(left), 1))
    for _ in range(SWEEPS):
        row = np.nanmedian(left[:, going], axis=1, keepdims=True)
        of_round, left = of_round + row, left - row
        column = np.nanmedian(left, axis=0)
        of_file, left = of_file + column, left - column
    return [float(ms) for ms in np.exp(of_file + np.median(of_round)) * np.median(factors)]
