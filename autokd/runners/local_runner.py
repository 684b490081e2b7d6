"""Runs trials in a few worker processes on this host, without Ray."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil

from autokd.errors import AutokdError
from autokd.plan import Plan
from autokd.runners.driver import Driver
from autokd.runners.evaluator import Evaluator, Limits

POLL_S = 0.1


def limits_of(plan: Plan, concurrency: int) -> Limits:
    """What one of ``concurrency`` trials may use on this host."""
    resources, budget = plan.config.resources, plan.config.budget
    share = 0.9 * psutil.virtual_memory().total / concurrency
    memory = resources.memory_gb * 1e9 if resources.memory_gb else share
    return Limits(budget.trial_s, memory, resources.cpus_per_trial)


class LocalRunner:
    """A few worker processes on this host, without Ray."""

    def run(self, driver: Driver, home: Path, concurrency: int) -> None:
        """Run until the driver has no more jobs.

        Raises:
            AutokdError: The study cannot go on.
        """
        stopping = threading.Event()
        limits = limits_of(driver.plan, concurrency)
        threads = [
            threading.Thread(target=_work, args=(driver, home, limits, stopping), daemon=True)
            for _ in range(concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                if driver.overdue:
                    stopping.set()
                time.sleep(POLL_S)
        finally:
            stopping.set()
            for thread in threads:
                thread.join(timeout=10)
            driver.interrupt_all()
        if driver.fatal:
            raise driver.fatal


def _work(driver: Driver, home: Path, limits: Limits, stopping: threading.Event) -> None:
    evaluator = Evaluator(home, limits, stopping.is_set)
    try:
        while not stopping.is_set():
            job = driver.next()
            if job is None:
                if driver.finished():
                    return
                time.sleep(POLL_S)  # the budget is reserved by trials that may yet be rejected
                continue
            record = evaluator.evaluate(job.number, job.candidate.params, job.folder)
            if record is None:
                return
            driver.complete(job, record)
    except AutokdError as error:
        driver.give_up(error)
    except Exception as error:
        driver.give_up(AutokdError(f"{type(error).__name__}: {error}"))
        raise
    finally:
        evaluator.close()
