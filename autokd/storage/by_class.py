"""How many samples of each class a file had right: counted once, kept in a trial's record, read by everybody (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BY_CLASS = "by_class"
"""Note of a record that keeps the counts of the validation split; records of earlier versions have none."""
UNBALANCED = 2.0
"""From this ratio of the most to the least frequent class on, people are shown the worst class without asking."""


def cautious(right: Any, of: Any) -> Any:
    """The share that a standard error of few samples is taken at: two right and two wrong answers more.

    Alan Agresti, Brent Coull: "Approximate is better than 'exact' for interval estimation of binomial proportions", The American
    Statistician 52(2), 1998, https://doi.org/10.1080/00031305.1998.10480550.
    """
    return (right + 2) / (of + 4)


@dataclass(frozen=True)
class ByClass:
    """Right answers by class; the recall of a class is ``right / of``, a ratio in [0, 1].

    Args:
        right: Samples of each class that the file had right, in class order.
        of: Samples of each class in the split.
    """

    right: tuple[int, ...]
    of: tuple[int, ...]

    @classmethod
    def count(cls, scores: np.ndarray, targets: np.ndarray) -> ByClass:
        """From scores ``(N, classes)`` and class indices ``(N,)``."""
        classes, truth = scores.shape[1], np.asarray(targets, dtype=np.int64)
        hits = truth[np.asarray(scores).argmax(axis=1) == truth]
        right, of = (np.bincount(which, minlength=classes) for which in (hits, truth))
        return cls(tuple(map(int, right)), tuple(map(int, of)))

    @classmethod
    def read(cls, told: object) -> ByClass | None:
        """Out of plain values; ``None`` where there are none, or none that make sense."""
        if not isinstance(told, Mapping):
            return None
        try:
            found = cls(tuple(int(n) for n in told["right"]), tuple(int(n) for n in told["of"]))
        except (KeyError, TypeError, ValueError):
            return None
        sound = len(found.right) == len(found.of) and all(
            0 <= r <= n for r, n in zip(found.right, found.of, strict=True)
        )
        return found if sound and any(found.of) else None

    def to_notes(self) -> dict[str, list[int]]:
        """For a record."""
        return {"right": list(self.right), "of": list(self.of)}

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: counts, recalls (``null`` of a class that the split lacks), and the index of the worst class."""
        return self.to_notes() | {"recall": [self.recall(c) for c in range(len(self.of))], "worst": self.worst}

    def recall(self, index: int) -> float | None:
        """Of one class; ``None`` where the split has no sample of it."""
        return self.right[index] / self.of[index] if self.of[index] else None

    def error(self, index: int) -> float | None:
        """Standard error of a class's recall; not 0 where all of a few samples are right, or wrong: see :func:`cautious`."""
        if not self.of[index]:
            return None
        share = cautious(self.right[index], self.of[index])
        return math.sqrt(share * (1 - share) / (self.of[index] + 4))

    @property
    def worst(self) -> int:
        """Index of the class with the least recall; of equal ones the one with most samples."""
        return self.order[0]

    @property
    def order(self) -> list[int]:
        """Indices of the classes that the split has, the worst first; of equal ones the one with most samples first."""
        seen = [c for c, n in enumerate(self.of) if n]
        return sorted(seen, key=lambda c: (self.right[c] / self.of[c], -self.of[c], c))

    @property
    def unbalanced(self) -> bool:
        """Whether the most frequent class of the split has at least twice the samples of the least frequent one."""
        seen = [n for n in self.of if n]
        return max(seen) >= UNBALANCED * min(seen)
