"""The clock of a search: seconds of searching, pauses between an interruption and its resume left out (numpy only)."""

from __future__ import annotations

import numpy as np

PAUSE_S = 60.0
"""Where nothing ran for longer the search was interrupted: such time is not counted."""


def search_clock(begun: np.ndarray, ended: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Seconds of search until each trial ended ``(n,)``, from 0 where the first one began.

    Args:
        begun: ``(n,)`` seconds since the epoch; NaN where it is not known.
        ended: ``(n,)``, likewise.
        told: ``(n,) bool``: False for an interrupted trial. It is told as such only when the search goes on, so its own
            time says nothing.
    """
    begun = np.where(np.isfinite(begun), begun, ended)
    worked = np.isfinite(ended) & told
    if not worked.any():
        return np.zeros(len(ended))
    order = np.argsort(begun[worked], kind="stable")
    starts, reach = begun[worked][order], np.maximum.accumulate(ended[worked][order])
    gaps = starts[1:] - reach[:-1]
    lost = np.concatenate([[0.0], np.cumsum(np.where(gaps > PAUSE_S, gaps, 0.0))])
    moments = np.where(np.isfinite(ended), ended, starts[0])
    place = np.clip(np.searchsorted(starts, moments, side="right") - 1, 0, None)
    found = moments - starts[0] - lost[place]
    # what was told during a pause happened when it began
    limit = reach[place] - starts[0] - lost[place]
    return np.asarray(np.clip(np.where(worked, found, np.minimum(found, limit)), 0.0, None))
