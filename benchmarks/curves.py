"""What a search bought for its CPU seconds: the box, the front at any moment, validation and test hypervolume (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from autokd.pareto import hypervolume, non_dominated

DIRECTIONS = ("maximize", "minimize")
CHECKPOINTS = (30.0, 60.0, 80.0, 120.0, 200.0, 400.0)
"""CPU seconds at which searches are compared."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Box:
    """Accuracy on a linear scale x latency on a log scale; what a search is judged in.

    Args:
        poor, good: Accuracies, ratio: the edge that is worth nothing, and the one beyond which nothing is gained.
        slow_ms, fast_ms: The same of the latency.
    """

    poor: float
    good: float
    slow_ms: float
    fast_ms: float

    def scaled(self, ratio: float) -> Box:
        """The box on a machine that needs ``ratio`` times as long."""
        return Box(self.poor, self.good, self.slow_ms * ratio, self.fast_ms * ratio)

    def volume(self, points: Sequence[tuple[float, float]]) -> float:
        """Share of the box that (accuracy, latency in ms) points dominate, in [0, 1]."""
        inside = [p for p in points if p[0] > self.poor and p[1] < self.slow_ms]
        if not inside:
            return 0.0
        reference, ideal = [self.poor, self.slow_ms], [self.good, self.fast_ms]
        return hypervolume(inside, reference, DIRECTIONS, ["linear", "log"], ideal)

    def __str__(self) -> str:
        edges = f"{self.fast_ms * 1e3:.3g} to {self.slow_ms * 1e3:.3g} µs"
        return f"log latency {edges} x accuracy {self.poor:.3f} to {self.good:.3f}"


@dataclass(frozen=True)
class Student:
    """One finished trial, whatever came of it.

    Args:
        cpu_s: What it cost.
        accuracy, latency_ms: On the validation split, and of its file; ``None``: it was not measured, or is not feasible.
        test_accuracy, again_ms: On the test split, and by a second timing; ``None``: never looked at.
        number: Of the trial.
    """

    cpu_s: float
    accuracy: float | None = None
    latency_ms: float | None = None
    test_accuracy: float | None = None
    again_ms: float | None = None
    number: int | None = None


@dataclass(frozen=True)
class Run:
    """One search.

    Args:
        students: In the order in which they were finished.
        budget_cpu_s: CPU seconds it was given; of what it did afterwards nothing counts.
        wall_s: Seconds on the clock, all of it.
    """

    students: tuple[Student, ...]
    budget_cpu_s: float
    wall_s: float

    def within(self, cpu_s: float) -> list[Student]:
        """The trials that were finished for so many CPU seconds in all."""
        spent = accumulate(s.cpu_s for s in self.students)
        return [s for s, total in zip(self.students, spent, strict=True) if total <= cpu_s + _ROUNDING]

    def front(self, cpu_s: float) -> list[Student]:
        """The measured students of :meth:`within` that no other dominates on the validation split, fastest first."""
        found = [s for s in self.within(cpu_s) if s.accuracy is not None and s.latency_ms is not None]
        if not found:
            return []
        kept = non_dominated([(s.accuracy, s.latency_ms) for s in found], DIRECTIONS)
        return sorted((s for s, keep in zip(found, kept, strict=True) if keep), key=lambda s: s.latency_ms or 0.0)

    def validation(self, box: Box, cpu_s: float) -> float | None:
        """Hypervolume on the validation split after so many CPU seconds; ``None``: it was not given that many."""
        if cpu_s > self.budget_cpu_s + _ROUNDING:
            return None
        return box.volume([(s.accuracy or 0.0, s.latency_ms or 0.0) for s in self.front(cpu_s)])

    def test(self, box: Box, cpu_s: float) -> float | None:
        """Test hypervolume of the front that validation chose, by the second timing; ``None``: not known."""
        chosen = self.front(cpu_s)
        if cpu_s > self.budget_cpu_s + _ROUNDING or any(s.test_accuracy is None for s in chosen):
            return None
        return box.volume([(s.test_accuracy or 0.0, s.again_ms or s.latency_ms or 0.0) for s in chosen])

    def reaches(self, box: Box, level: float) -> float | None:
        """CPU seconds after which the validation hypervolume is at least ``level``; ``None``: never."""
        moments = accumulate(s.cpu_s for s in self.students)
        for moment in moments:
            volume = self.validation(box, moment)
            if volume is None:
                return None
            if volume >= level:
                return moment
        return None

    def best_test(self, slowest_ms: float) -> float | None:
        """The best test accuracy on the final front at no more than a latency; 0 where no member is that fast."""
        chosen = self.front(self.budget_cpu_s)
        if any(s.test_accuracy is None for s in chosen):
            return None
        fast = [s.test_accuracy or 0.0 for s in chosen if (s.again_ms or s.latency_ms or 0.0) <= slowest_ms]
        return max(fast, default=0.0)


def marks(budget_cpu_s: float) -> list[float]:
    """The checkpoints within a budget, and its end."""
    inside = [c for c in CHECKPOINTS if c < budget_cpu_s]
    return [*inside, budget_cpu_s]
