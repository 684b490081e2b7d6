"""Files timed against each other: in turns, so that whatever slows a core for a while slows all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autokd.effort import BRIEF, ONCE
from autokd.protocols import Meter

SCOUTS = 2
"""Rounds of all files."""
ROUNDS = 5
"""Rounds in all; after the first ones only of contenders."""
SWEEPS = 10
CONTENDER = 1.15
"""A file that looks so many times slower than the fastest is not timed again."""


def compare(meter: Meter, files: Sequence[Path], beside: Sequence[Path] = (), *, profile: str) -> list[float]:
    """Milliseconds of one call of each file, good for telling which is faster.

    A shared core is half as fast again in one second as in the next, and files timed one after another, however long, may meet
    either. So each round times every file briefly, and a time is a product of the file's and the round's: both by median polish
    (J. W. Tukey, "Exploratory Data Analysis", 1977), which a few disturbed timings leave as they are. Nothing is waited for.

    Args:
        meter: Times.
        files: ONNX files among which the fastest is sought; one that is far behind in each of the first rounds is left at that.
        beside: Others, which are in every round and put none of them behind.
        profile: Name of one of the meter's profiles.

    Returns:
        In the order of ``files``, then of ``beside``; at the host's usual clock as far as it is known.

    Raises:
        StageFailure: A file cannot be loaded or run.
    """
    every = [*files, *beside]
    if len(every) == 1:
        return [meter.measure(every[0], profile, BRIEF).p50_ms]
    raw, factors = np.full((2, ROUNDS, len(every)), np.nan)
    going, apart = list(range(len(every))), np.ones(len(files))
    for turn in range(ROUNDS):
        if turn == SCOUTS:
            scouts = raw[:SCOUTS, : len(files)]
            apart = (scouts / scouts.min(axis=1, keepdims=True)).min(axis=0)
            going = [k for k in going if k >= len(files) or apart[k] <= CONTENDER]
            if len(going) == 1:
                break
        for k in going:
            timed = meter.measure(every[k], profile, ONCE)
            factors[turn, k] = timed.clock_factor or 1.0
            raw[turn, k] = timed.p50_ms / factors[turn, k]
    done = ~np.isnan(raw).all(axis=1)
    left = np.log(raw[done][:, going])
    of_file, of_round = np.zeros(len(every)), np.log(np.nanmedian(factors[done], axis=1))
    for _ in range(SWEEPS):
        row = np.median(left, axis=1)
        of_round, left = of_round + row, left - row[:, None]
        column = np.median(left, axis=0)
        of_file[going] += column
        left = left - column
    for k in set(range(len(files))) - set(going):
        of_file[k] = of_file[[g for g in going if g < len(files)]].min() + np.log(apart[k])
    return [float(ms) for ms in np.exp(of_file + np.median(of_round))]
