"""What a search has spent of its budget, and why it is finished."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from autokd.config.study_file import BudgetConfig
from autokd.errors import StudyError
from autokd.strategies.expected_gain import GainWatch, not_worth_it
from autokd.strategies.job import Tally, counts
from autokd.trial import Outcome, TrialRecord

REJECTIONS_PER_TRIAL = 50
"""After so many rejected candidates for each trial of the budget nothing is found any more."""
OVERRUN = 1.15
"""Running trials may go on until so much of a budget of CPU seconds is spent: what they did so far would be lost."""
USUAL_TRIALS = 30
"""Trials that rejections are held against where the budget names none."""


class Budget:
    """Counts what every trial brought and cost; it keeps nothing that the ledger's records would not tell it again.

    Args:
        allowed: The study's budget.
        gain: What going on is expected to bring.
        wall_before: Seconds of searching before this driver began.
        clock: Seconds from some moment on.
        spent: CPU seconds of everything done for the study, now and before; what it does not see (a simulation, other hosts) is
            told by the trials.
    """

    def __init__(
        self,
        allowed: BudgetConfig,
        gain: GainWatch,
        wall_before: float,
        clock: Callable[[], float],
        spent: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.allowed, self.gain, self.wall_before, self.clock, self.spent = allowed, gain, wall_before, clock, spent
        self.began = clock()
        self.counted = self.rejected = self.measured = self.failed = self.stopped = 0
        self.trials_cpu_s = 0.0
        self.violations: Counter[str] = Counter()
        """Why candidates were rejected, and how often."""
        self.failures_in_a_row: list[str] = []
        self.first_cause = ""
        self.reason: str | None = None

    # ----------------------------------------------------------------------------------------- what is counted

    def count(self, record: TrialRecord) -> None:
        """A trial ended, now or before a resume."""
        self.stopped += record.outcome == Outcome.STOPPED
        self.counted += counts(record)
        # One that fails before training costs no budget either: without a bound on these a search would never end.
        stillborn = record.outcome == Outcome.FAILED and not record.began_training
        self.rejected += stillborn or record.outcome in (Outcome.INFEASIBLE, Outcome.DUPLICATE)
        self.measured += record.outcome == Outcome.MEASURED
        self.failed += record.outcome == Outcome.FAILED
        self.trials_cpu_s += record.cpu_s
        if record.outcome == Outcome.DUPLICATE:
            self.violations["a candidate that was proposed before"] += 1
        if stillborn:
            self.violations[f"{record.failed_stage}: {record.cause}"] += 1
        for violation in record.violations:
            self.violations[violation.constraint] += 1

    def failed_again(self, record: TrialRecord) -> StudyError | None:
        """Count failures that are alike and come one after the other.

        Returns:
            The error that ends the study once they are too many.
        """
        limit = self.allowed.failures_in_a_row
        if record.outcome == Outcome.MEASURED:
            self.failures_in_a_row = []
        if record.outcome != Outcome.FAILED:
            return None
        label = f"{record.failed_stage}: {record.cause}"
        if self.failures_in_a_row and self.failures_in_a_row[-1] != label:
            self.failures_in_a_row = []
        if not self.failures_in_a_row:
            self.first_cause = f"{label} ({record.detail})" if record.detail else label
        self.failures_in_a_row.append(label)
        if len(self.failures_in_a_row) < limit:
            return None
        law = f"a search must not fail the same way {limit} times in a row"
        return StudyError(law, self.first_cause, f"See error.txt in {record.folder}; then `autokd resume`.")

    def tally(self, running: int) -> Tally:
        """Where the search stands while so many trials run."""
        return Tally(
            self.counted, self.measured, self.rejected, self.failed, self.stopped, running, self.cpu_s, self.wall_s
        )

    # -------------------------------------------------------------------------------------- when it is finished

    @property
    def search_s(self) -> float:
        """Seconds of searching since this driver began."""
        return self.clock() - self.began

    @property
    def wall_s(self) -> float:
        """Seconds of searching, over all resumes."""
        return self.wall_before + self.search_s

    @property
    def cpu_s(self) -> float:
        """CPU seconds of everything that was done for the study."""
        return max(self.trials_cpu_s, self.spent())

    @property
    def left_s(self) -> float:
        """CPU seconds that are left; infinite where the budget does not count them."""
        return math.inf if self.allowed.cpu_s is None else max(0.0, self.allowed.cpu_s - self.cpu_s)

    @property
    def share(self) -> float:
        """Share of the budget that is spent, of what is spent first; 0 without a bound."""
        allowed = self.allowed
        pairs = ((self.counted, allowed.trials), (self.wall_s, allowed.wall_s), (self.cpu_s, allowed.cpu_s))
        return max((done / most for done, most in pairs if most is not None), default=0.0)

    def beside_s(self, running_s: float) -> float:
        """CPU seconds that no trial is charged for: imports, the teacher, workers that start.

        Args:
            running_s: What the running trials have taken so far.
        """
        return max(0.0, self.cpu_s - self.trials_cpu_s - running_s)

    @property
    def overdue(self) -> bool:
        """Whether the clock's budget is spent, or that of CPU seconds by far: running trials are interrupted then."""
        wall, cpu = self.allowed.wall_s, self.allowed.cpu_s
        return (wall is not None and self.wall_s >= wall) or (cpu is not None and self.cpu_s >= OVERRUN * cpu)

    def reserved(self, running: int) -> bool:
        """Every running trial may begin training: no more are begun than the budget has room for."""
        return self.allowed.trials is not None and self.counted + running >= self.allowed.trials

    def stop(self, reason: str) -> None:
        """No more trials are begun; the first reason counts."""
        self.reason = self.reason or reason

    def finished(self) -> str | None:
        """Why no more trials are begun, or ``None``."""
        allowed = self.allowed
        if self.reason is None:
            if allowed.trials is not None and self.counted >= allowed.trials:
                self.stop(f"the budget of {allowed.trials} trials is spent")
            elif allowed.cpu_s is not None and self.cpu_s >= allowed.cpu_s:
                self.stop(f"the budget of {allowed.cpu_s:g} CPU seconds is spent")
            elif self.overdue:
                self.stop(f"the budget of {allowed.wall_s:g} seconds is spent")
            elif self.rejected >= REJECTIONS_PER_TRIAL * (allowed.trials or USUAL_TRIALS):
                self.stop(self._rejection_story())
            elif allowed.stop is not None and (story := not_worth_it(allowed.stop, self.gain)):
                self.stop(story)
        return self.reason

    def _rejection_story(self) -> str:
        common, times = self.violations.most_common(1)[0]
        return f"{self.rejected} candidates were rejected; the commonest reason, {times} times: {common}"
