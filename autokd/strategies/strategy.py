"""What a strategy is: it decides how trained students are used, each candidate by itself or one from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from autokd import registry
from autokd.trial import Candidate, Origin, TrialRecord

if TYPE_CHECKING:
    from autokd.config.objectives import Objective
    from autokd.config.plan import Plan
    from autokd.config.study_file import SearchConfig

SAMPLE = "sample"
"""The move of a strategy that has none of its own: the study's sampler is to propose the next candidate."""
DONE = "done"
"""The move of a strategy for which too little of the budget is left: the search ends."""


class Strategy(Protocol):
    """Decides what comes next. It keeps nothing that the ledger's records would not tell it again after a resume.

    One that plans by a budget of CPU seconds may have ``beside_s``: the driver keeps in it what was spent beside trials. One that
    asks what preparation found may have ``knows(facts)``: it is told once, before anything else.

    Its class is registered under ``autokd.strategies`` and is made with ``(plan, reference)``, see :func:`make_strategy`.
    """

    sampled: ClassVar[bool]
    """Every candidate is a point of the space that the study's sampler proposes, and is trained by itself: the space can be
    exhausted, a stopped candidate gone on with, and a ``frontier`` sampler is told what is known for free."""
    ladders: ClassVar[bool]
    """Its trials go on from other trials' weights: what a root and its descendants brought is told."""

    @classmethod
    def check(cls, search: SearchConfig, objectives: Sequence[Objective]) -> None:
        """Refuse what it cannot work with.

        Raises:
            ConfigError: The first thing that will not do.
        """
        ...

    def next_move(self) -> Candidate | str | None:
        """A candidate with a rung; ``SAMPLE`` to ask the study's sampler; ``None`` to wait for running trials; ``DONE`` to end."""
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
    made: Strategy = registry.load("strategies", plan.config.search.strategy)(plan, reference)
    return made


def has_ladders(name: str) -> bool:
    """Whether the trials of a registered strategy go on from each other; no strategy is made for it."""
    return bool(registry.load("strategies", name).ladders)
