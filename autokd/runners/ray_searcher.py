"""A Ray Tune searcher over the driver: Tune asks it for configurations, the ledger answers."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from autokd.errors import AutokdError
from autokd.runners.evaluator import lost_record
from autokd.strategies.driver import Driver
from autokd.strategies.job import Job
from autokd.trial import TrialRecord

JOB_KEY = "autokd_job"
REPORTED_KEY = "autokd_record"
FATAL_KEY = "autokd_fatal"


class LedgerSearcher(Searcher):
    """Gives Tune the driver's jobs and tells the driver their outcomes.

    It holds no state of its own that a resume would need: the ledger is the record.

    Args:
        driver: The study's driver.
        constants: Stands in every configuration beside the job.
    """

    def __init__(self, driver: Driver, constants: dict[str, Any]) -> None:
        super().__init__(metric=None, mode=None)
        self.driver = driver
        self.constants = constants
        self.jobs: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A configuration; ``None`` while the budget is reserved by running trials; ``FINISHED`` at the end."""
        try:
            job = self.driver.next()
        except AutokdError as error:
            self.driver.give_up(error)
            return str(Searcher.FINISHED)
        if job is None:
            return str(Searcher.FINISHED) if self.driver.finished() else None
        self.jobs[trial_id] = job
        return {**self.constants, JOB_KEY: job.to_dict()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the ledger; a trial that ended without a record lost its worker."""
        job = self.jobs.pop(trial_id, None)
        if job is None:
            return
        text = (result or {}).get(REPORTED_KEY)
        if text:
            record = TrialRecord.from_json(text)
        elif self.driver.finished() and self.driver.overdue:
            return  # interrupted with all the others, by the driver
        else:
            record = lost_record(job.to_dict(), "lost_worker", "the Ray worker died")
        try:
            self.driver.complete(job, record)
        except AutokdError as failure:
            self.driver.give_up(failure)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        fatal = result.get(FATAL_KEY)
        if fatal:
            from autokd.errors import StorageError

            self.driver.give_up(StorageError(*fatal))

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher for a resume of its own, which is never used

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: nothing is pickled that the ledger knows."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
