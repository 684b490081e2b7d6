"""Who teaches where the study has no teacher of its own: the best student so far, once that pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autokd.config.plan import Plan
from autokd.config.study_file import OWN_STUDENTS
from autokd.trial import TAUGHT_BY, TRAINING, Candidate, Outcome, TrialRecord, Tutor

BETTER = 0.93
"""Another student takes over from the one that teaches once it makes so much fewer errors: its answers must be computed anew."""
AHEAD = 0.95
"""A student learns from one that makes at most such a share of its errors, or of those of the larger one that it comes from.
Measured on traffic signs: from one with .84 of them .9 to 1.4 points better on test than from labels, from itself no better."""
SHARE = 0.1
"""The answers of a student may cost at most such a share of the CPU seconds that are left."""
FORWARD = 1 / 3
"""CPU seconds of scoring a sample over those of training with it."""
LABELS_FIRST = 0.2
"""With `strategy: independent` so much of the budget goes by before the best student so far teaches all that follow."""


@dataclass(frozen=True)
class Known:
    """A measured student: who it is, how good, and what scoring a train split with it costs."""

    tutor: Tutor
    quality: float
    view_s: float


class Tutors:
    """Picks the teacher of each candidate; what it knows it was told by the ledger's records.

    Args:
        plan: The plan; of one with a teacher, or with none at all, nobody is picked.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.wanted = plan.config.teacher.kind == OWN_STUDENTS
        goal = next((o for o in plan.objectives if o.scale == "linear"), None)
        self.goal = goal.name if goal is not None else "accuracy"  # every trial reports it
        self.sign = 1.0 if goal is None or goal.direction == "maximize" else -1.0
        self.known: dict[int, Known] = {}
        self.teaching: Known | None = None
        self.taught: dict[int, int | None] = {}

    def tell(self, number: int, record: TrialRecord) -> None:
        """A trial ended."""
        by = self.taught[number] = record.notes.get(TAUGHT_BY)
        if by in self.known:  # after a resume whoever taught goes on
            self.teaching = self.known[by]
        trained = [s for s in record.stages if s.stage in TRAINING]
        value = record.value(self.goal)
        if not self.wanted or record.outcome != Outcome.MEASURED or not trained or value is None or record.retimed:
            return
        tutor = Tutor(number, trained[-1].stage, trained[-1].key, dict(record.params))
        share = record.rung.share if record.rung is not None else 1.0
        # of whole trainings; a stage from the store cost nothing, and its like are known then
        seconds = trained[-1].cpu_s / share if trained[-1].cpu_s > 0 else self._usual()
        self.known[number] = Known(tutor, self.sign * float(value), seconds * FORWARD)

    def of_trial(self, number: int) -> Tutor | None:
        """Who taught a trial: whoever goes on with its training learns from the same."""
        tutor = self.taught.get(number)
        return None if tutor is None or tutor not in self.known else self.known[tutor].tutor

    def of(self, candidate: Candidate, spent: float, left_s: float) -> Tutor | None:
        """Who teaches a candidate; ``None``: nobody, it learns from the labels.

        Args:
            candidate: What is to be trained.
            spent: Share of the budget that is spent, in [0, 1].
            left_s: CPU seconds that are left; infinite where the budget does not count them.
        """
        if not self.wanted or not self.known:
            return None
        rung = candidate.rung
        if rung is None and self.teaching is None and spent < LABELS_FIRST:
            return None
        self._choose(left_s, fixed=rung is None)
        chosen = self.teaching
        if chosen is None or rung is None:
            return None if chosen is None else chosen.tutor
        own = self.known.get(rung.parent) if rung.parent is not None else None
        if own is None:  # a root learns for longer than whoever could teach it by now, and would stay where that one is
            return None
        return chosen.tutor if _errors(chosen) <= AHEAD * _errors(own) else None

    def _choose(self, left_s: float, fixed: bool) -> None:
        """The best student takes over where that pays; of independent trials the first that taught goes on."""
        if fixed and self.teaching is not None:
            return
        best = max(self.known.values(), key=lambda k: k.quality)
        if self.teaching is not None and _errors(best) > BETTER * _errors(self.teaching):
            return
        if best.view_s <= SHARE * left_s:
            self.teaching = best

    def _usual(self) -> float:
        seen = [known.view_s / FORWARD for known in self.known.values()]
        return sum(seen) / len(seen) if seen else math.inf


def _errors(known: Known) -> float:
    """What is left to gain: errors of a ratio; of a loss its size, of a score beyond 1 its inverse."""
    quality = known.quality
    if quality > 1:
        return 1 / quality
    return max(1e-6, 1 - quality if quality >= 0 else -quality)
