"""What a sampler without a memory of its own reads from the ledger: coordinates and one loss of every earlier trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autokd.samplers.nni_space import MISSING, Axis
from autokd.samplers.scalarise import chebyshev, normalise, violations

INFEASIBLE = 2.0
"""Loss of an infeasible trial before its violations are added; a feasible one's is at most 1 + RHO."""


@dataclass(frozen=True)
class History:
    """Earlier trials as coordinates; NaN where a parameter was not active.

    Args:
        numbers: ``(n,) int64`` numbers of the trials that were told a result.
        rows: ``(n, axes)`` their coordinates.
        losses: ``(n,)`` their losses, smaller is better.
        running: ``(r, axes)`` coordinates of the trials in flight.
        tried: ``(t, axes)`` coordinates of all trials, the failed ones included.
    """

    numbers: np.ndarray
    rows: np.ndarray
    losses: np.ndarray
    running: np.ndarray
    tried: np.ndarray

    @classmethod
    def read(
        cls,
        trials: Sequence[FrozenTrial],
        number: int,
        axes: Sequence[Axis],
        maximise: Sequence[bool],
        weight: np.ndarray,
    ) -> History:
        """The history as trial ``number`` sees it.

        A feasible trial's loss is the augmented Chebyshev function of its values, normalised over the feasible ones.
        Every infeasible or stopped one is worse than these, graded by its violations. Failed trials are left out of
        ``rows``, and so is a pruned one that violates nothing and repeats an earlier trial: it says nothing new.
        """
        trials = [t for t in trials if t.number != number and t.params]
        columns = [axis.encode([t.params.get(axis.name, MISSING) for t in trials]) for axis in axes]
        table = np.stack(columns, axis=1) if trials else np.empty((0, len(axes)))
        known = np.invert(np.isnan(table).all(axis=1, keepdims=True))[:, 0]
        trials, table = [t for t, k in zip(trials, known.tolist(), strict=True) if k], table[known]

        running = np.array([t.state is TrialState.RUNNING for t in trials], dtype=bool)
        told, repeats = [], set()
        for i, trial in enumerate(trials):
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            row = table[i].tobytes()
            if (
                trial.state is TrialState.PRUNED
                and row in repeats
                and not any(v > 0 for v in trial.constraints.values())
            ):
                continue
            repeats.add(row)
            told.append(i)
        finished = [trials[i] for i in told]
        return cls(
            numbers=np.array([t.number for t in finished], dtype=np.int64),
            rows=table[told],
            losses=_losses(finished, maximise, weight),
            running=table[running],
            tried=table,
        )

    def was_tried(self, row: np.ndarray) -> bool:
        """Whether an earlier trial agrees with ``row`` ``(axes,)`` in every parameter that was active in it.

        Which parameters are active follows from the values of others, so such a trial is the same candidate.
        """
        return bool(((self.tried == row) | np.isnan(self.tried)).all(axis=1).any())


def _losses(trials: Sequence[FrozenTrial], maximise: Sequence[bool], weight: np.ndarray) -> np.ndarray:
    violated = violations([t.constraints for t in trials])
    feasible = (violated <= 0) & np.array([t.state is TrialState.COMPLETE for t in trials], dtype=bool)
    losses = INFEASIBLE + violated
    if feasible.any():
        values = np.array([t.values for t, f in zip(trials, feasible, strict=True) if f], dtype=float)
        losses[feasible] = chebyshev(normalise(values, maximise), weight)
    return losses


def union(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter that trials have had, with its latest distribution: the space of a define-by-run study."""
    space: dict[str, BaseDistribution] = {}
    for trial in trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            space.update(trial.distributions)
    return space
