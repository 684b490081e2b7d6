"""Runs trials one after the other in this very process: for a debugger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import StorageError
from autokd.strategies.driver import Driver
from autokd.strategies.job import Job
from autokd.trial import TrialRecord

if TYPE_CHECKING:
    from autokd.evaluation.parts import Parts


class InlineRunner:
    """One trial after the other in this process: breakpoints work, a crash takes the study along."""

    def run(self, driver: Driver, home: Path, concurrency: int) -> None:
        """Run until the driver has no more jobs."""
        from autokd.evaluation.parts import Parts
        from autokd.runners.threads import torch_threads

        parts = Parts.open(home)
        try:
            with torch_threads(driver.plan.config.resources.cpus_per_trial):
                while (job := driver.next()) is not None:
                    driver.complete(job, _evaluate(job, parts, driver))
        except StorageError as error:
            driver.give_up(error)
        finally:
            parts.close()
            driver.interrupt_all()
        if driver.fatal:
            raise driver.fatal


def _evaluate(job: Job, parts: Parts, driver: Driver) -> TrialRecord:
    """From one checkpoint share to the next, as far as the driver wants it."""
    from autokd.evaluation.pipeline import evaluate
    from autokd.evaluation.trial_dir import TrialDir

    record = None
    for until in (*job.shares, None):
        before = record.stages if record else ()
        trial = TrialDir(job.folder, parts.store)
        record = evaluate(job.candidate, parts, trial, job.origin, until, before, job.tutor)
        if not driver.goes_on(job, record):
            break
    assert record is not None
    return record
