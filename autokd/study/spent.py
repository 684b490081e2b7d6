"""The CPU seconds that a study is charged for: everything that a person's command does, whatever process it runs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from autokd.hardware.cpu_time import ProcessTree
from autokd.storage.attributes import SPENT_KEY
from autokd.storage.ledger import record_of
from autokd.study.opened import OpenStudy
from autokd.trial import TrialRecord


@dataclass
class Spent:
    """CPU seconds of this process and of all that it started, since some moment of it.

    Args:
        since: CPU seconds that are not charged: 0 counts from the process's start, its imports included.
    """

    since: float = 0.0
    tree: ProcessTree = field(default_factory=ProcessTree)

    @classmethod
    def from_now(cls) -> Spent:
        """What comes from now on: a program's other work is not the study's."""
        tree = ProcessTree()
        return cls(tree.cpu_s(now=True), tree)

    def of(self, study: OpenStudy) -> Callable[[], float]:
        """All that was spent for a study, earlier commands included."""
        before = spent_before(study)
        return lambda: before + self.tree.cpu_s() - self.since


def spent_before(study: OpenStudy, records: Iterable[TrialRecord | None] | None = None) -> float:
    """CPU seconds that were spent for a study so far; a ledger of version 0.1 knows those in its trials.

    ``records`` are those of the trials, where they were read already.
    """
    known = map(record_of, study.ledger.trials()) if records is None else records
    trials = sum(record.cpu_s for record in known if record is not None)
    return max(trials, float(study.ledger.attr(SPENT_KEY, 0.0)))
