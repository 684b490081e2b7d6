"""Runs trials one after the other in this very process: for a debugger."""

from __future__ import annotations

from pathlib import Path

from autokd.errors import StorageError
from autokd.runners.driver import Driver


class InlineRunner:
    """One trial after the other in this process: breakpoints work, a crash takes the study along."""

    def run(self, driver: Driver, home: Path, concurrency: int) -> None:
        """Run until the driver has no more jobs."""
        from autokd.evaluation.parts import Parts
        from autokd.evaluation.pipeline import evaluate
        from autokd.evaluation.stages import TrialDir
        from autokd.evaluation.threads import torch_threads

        parts = Parts.open(home)
        try:
            with torch_threads(driver.plan.config.resources.cpus_per_trial):
                while (job := driver.next()) is not None:
                    driver.complete(job, evaluate(job.candidate, parts, TrialDir(job.folder, parts.store), job.origin))
        except StorageError as error:
            driver.give_up(error)
        finally:
            parts.close()
            driver.interrupt_all()
        if driver.fatal:
            raise driver.fatal
