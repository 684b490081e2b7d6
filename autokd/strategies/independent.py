"""Each candidate is trained by itself: the study's sampler decides everything."""

from __future__ import annotations

from autokd.trial import Candidate, Origin, TrialRecord

SAMPLE = "sample"
"""The study's sampler is to propose the next candidate."""


class Independent:
    """Knows nothing and asks the sampler."""

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
