"""Runs trials in a few worker processes on this host, without Ray."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from autokd.errors import AutokdError
from autokd.runners.evaluator import Evaluator, Limits, going_on
from autokd.runners.limits import limits_of
from autokd.strategies.driver import Driver

POLL_S = 0.1


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
            asked = job.to_dict()
            record = evaluator.evaluate(asked)
            while record is not None and driver.goes_on(job, record):
                asked = going_on(asked, record)
                record = evaluator.evaluate(asked)
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
