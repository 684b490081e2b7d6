"""How trained students are used: each candidate by itself, or ladders that walk down from trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from autokd.strategies.independent import SAMPLE, Independent
from autokd.trial import Candidate, Origin, TrialRecord

if TYPE_CHECKING:
    from autokd.config.plan import Plan

__all__ = ["SAMPLE", "Independent", "Strategy", "make_strategy"]


class Strategy(Protocol):
    """Decides what comes next. It keeps nothing that the ledger's records would not tell it again after a resume."""

    def next_move(self) -> Candidate | str | None:
        """A candidate with a rung; ``SAMPLE`` to ask the study's sampler; ``None`` to wait for running trials."""
        ...

    def begun(self, number: int, candidate: Candidate) -> None:
        """A trial was begun."""
        ...

    def tell(self, number: int, record: TrialRecord) -> None:
        """A trial ended; on a resume every trial of the ledger is told again, in order."""
        ...

    def named(self, candidate: Candidate) -> str:
        """What is done for a candidate, for people: ``narrow of 9``; empty where every trial is alike."""
        ...

    def origin(self, candidate: Candidate) -> Origin | None:
        """The trained weights that the candidate's rung goes on from."""
        ...


def make_strategy(plan: Plan, reference: Sequence[float] | None) -> Strategy:
    """The strategy of a plan.

    Args:
        plan: The plan.
        reference: The hypervolume's reference point, one value per objective; ``None`` before the teacher is there.
    """
    if plan.config.search.strategy == "ladder":
        from autokd.strategies.ladder.ladder import Ladder

        return Ladder(plan, reference)
    return Independent()
