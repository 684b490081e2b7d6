"""Each candidate is trained by itself: the study's sampler decides everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from autokd.strategies.strategy import SAMPLE
from autokd.trial import Candidate, Origin, TrialRecord

if TYPE_CHECKING:
    from autokd.config.objectives import Objective
    from autokd.config.plan import Plan
    from autokd.config.study_file import SearchConfig


class Independent:
    """Trains each candidate from nothing, as the study's sampler proposes it."""

    sampled: ClassVar[bool] = True
    ladders: ClassVar[bool] = False

    def __init__(self, plan: Plan, reference: Sequence[float] | None) -> None:
        """Nothing to remember."""

    @classmethod
    def check(cls, search: SearchConfig, objectives: Sequence[Objective]) -> None:
        """Any two objectives will do."""

    def next_move(self) -> Candidate | str | None:
        return SAMPLE

    def begun(self, number: int, candidate: Candidate) -> None:
        """Nothing to remember."""

    def tell(self, number: int, record: TrialRecord) -> None:
        """Nothing to remember."""

    def named(self, candidate: Candidate) -> str:
        return ""

    def origin(self, candidate: Candidate) -> Origin | None:
        return None
