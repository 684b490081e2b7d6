"""Where a classifier of two classes should say "positive": thresholds chosen on held-out scores (numpy only)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

GOALS = ("f1", "balanced_accuracy")


@dataclass(frozen=True)
class Threshold:
    """One way to decide: positive where ``scores[positive] - scores[negative] >= score_difference``.

    Args:
        goal: What it maximises: ``"f1"`` of the positive class, or ``"balanced_accuracy"``, which is the same threshold as
            Youden's ``J = recall + specificity - 1`` (W. J. Youden, "Index for rating diagnostic tests", Cancer 3(1), 1950,
            https://doi.org/10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3); ``"largest_score"`` for what a file
            says without one.
        score_difference: Of the two logits, in nats.
        probability: The same as a probability of the positive class, the softmax of the scores, in [0, 1].
        f1: Of the positive class at this threshold, ratio.
        balanced_accuracy: Mean of recall and specificity, ratio.
        recall: Share of the positive samples that are found, ratio.
        precision: Share of the found ones that are positive, ratio; ``None`` where nothing is said to be positive.
        true_positives, false_positives, false_negatives, true_negatives: Samples.
    """

    goal: str
    score_difference: float
    probability: float
    f1: float
    balanced_accuracy: float
    recall: float
    precision: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def to_dict(self) -> dict[str, Any]:
        """For a receipt."""
        return asdict(self)


def thresholds(scores: np.ndarray, targets: np.ndarray, positive: int) -> list[Threshold]:
    """The file's own decision first, then the best threshold of each goal.

    Every cut between two different score differences is tried; of equally good ones that nearest to the file's own decision is
    taken, in the middle between its neighbours.

    Args:
        scores: ``(N, 2) float32`` logits.
        targets: ``(N,)`` class indices, both classes among them.
        positive: Index of the positive class, 0 or 1.

    Raises:
        ValueError: Other shapes, or a class without samples.
    """
    truth = np.asarray(targets) == positive
    if scores.ndim != 2 or scores.shape != (len(truth), 2):
        raise ValueError(f"thresholds are for scores (N, 2) and N targets, but got {scores.shape} and {truth.shape}")
    if truth.all() or not truth.any():
        raise ValueError("both classes must have samples, but got one of them only")
    wide = np.asarray(scores, dtype=np.float64)
    margin = wide[:, positive] - wide[:, 1 - positive]
    # whoever scores both classes the same is decided for the class of the lower index, as argmax does
    usual = 0.0 if positive == 0 else float(np.nextafter(0.0, 1.0))
    cuts = _cuts(margin)
    found = [_at("largest_score", usual, margin, truth)]
    for goal in GOALS:
        worth = np.round(_values(goal, cuts, margin, truth), 12)
        best = cuts[worth == worth.max()]
        found.append(_at(goal, float(best[np.abs(best).argmin()]), margin, truth))
    return found


def _cuts(margin: np.ndarray) -> np.ndarray:
    """Thresholds that tell different decisions apart, in order: midpoints, and the least margin, where all are positive."""
    known = np.unique(margin)
    return np.concatenate([known[:1], (known[:-1] + known[1:]) / 2])


def _values(goal: str, cuts: np.ndarray, margin: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A goal's value at every cut."""
    said_true, said_false = (
        part.sum() - np.searchsorted(np.sort(margin[part]), cuts, side="left") for part in (truth, ~truth)
    )
    positives, negatives = truth.sum(), (~truth).sum()
    if goal == "f1":
        return np.asarray(2 * said_true / np.maximum(said_true + said_false + positives, 1))
    return np.asarray((said_true / positives + 1 - said_false / negatives) / 2)


def _at(goal: str, cut: float, margin: np.ndarray, truth: np.ndarray) -> Threshold:
    said = margin >= cut
    tp, fp = int((said & truth).sum()), int((said & ~truth).sum())
    fn, tn = int((~said & truth).sum()), int((~said & ~truth).sum())
    recall = tp / (tp + fn)
    return Threshold(
        goal=goal,
        score_difference=cut,
        probability=1 / (1 + math.exp(-cut)) if cut > -700 else 0.0,
        f1=2 * tp / (2 * tp + fp + fn),
        balanced_accuracy=(recall + tn / (tn + fp)) / 2,
        recall=recall,
        precision=tp / (tp + fp) if tp + fp else None,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
    )
