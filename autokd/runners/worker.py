"""A process that evaluates candidates of one study: JSON lines in, JSON lines out.

``python -m autokd.runners.worker HOME --threads 1``. It ends when its standard input closes, so it never outlives
the one who started it, whatever that one died of.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from autokd.evaluation.parts import Parts


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("home", type=Path)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--alarm-s", type=float, default=0.0, help="end after a job that took so long; 0: never")
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    # Whatever a person's own code prints must not get between the lines of the protocol.
    protocol = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    serve(given.home, given.threads, jobs, protocol, Alarm(given.alarm_s))


def _listen(jobs: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


class Alarm:
    """Ends this process when a job takes far too long: the last resort when its parent is dead and nobody kills it.

    A job that hangs in native code and holds Python's lock also stops the thread that listens for the parent's death;
    faulthandler's clock needs no lock.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def set(self, on: bool) -> None:
        if on and self.seconds > 0:
            faulthandler.dump_traceback_later(self.seconds, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()


def serve(home: Path, threads: int, jobs: queue.Queue[dict[str, Any]], protocol: TextIO, alarm: Alarm) -> None:
    """Evaluate jobs for ever."""
    from autokd.errors import StorageError, UserError

    def say(message: dict[str, Any]) -> None:
        protocol.write(json.dumps(message) + "\n")

    def on_wait(waiting: bool) -> None:
        alarm.set(not waiting)
        say({"waiting": waiting})

    try:
        import torch

        from autokd.evaluation.parts import Parts
        from autokd.evaluation.pipeline import evaluate
        from autokd.evaluation.trial_dir import TrialDir
        from autokd.runners.memory import give_back, keep_freed
        from autokd.trial import Candidate, Origin, Rung, StageRecord, Tutor

        torch.set_num_threads(threads)
        keep_freed()
        parts = Parts.open(home, on_wait=on_wait)
    except UserError as error:
        say({"fatal": [error.law, str(error.value), error.mend]})
        return
    if Path(parts.setup.folder).is_dir():  # Ray starts its workers elsewhere
        os.chdir(parts.setup.folder)
    say({"ready": os.getpid()})
    while True:
        job = jobs.get()
        alarm.set(True)
        try:
            if "screen" in job:
                say(_screen(parts, job["screen"]))
                continue
            folder = Path(job["folder"])
            candidate = Candidate(job["params"], Rung(**job["rung"]) if job.get("rung") else None)
            origin = Origin(*job["origin"]) if job.get("origin") else None
            before = [StageRecord(**stage) for stage in job.get("before", ())]
            tutor = Tutor(**job["tutor"]) if job.get("tutor") else None
            record = evaluate(candidate, parts, TrialDir(folder, parts.store), origin, job.get("until"), before, tutor)
            say({"number": job["number"], "record": record.to_json()})
        except StorageError as error:
            say({"fatal": [error.law, str(error.value), error.mend]})
        finally:
            give_back()
            alarm.set(False)


def _screen(parts: Parts, params: dict[str, Any]) -> dict[str, Any]:
    from autokd.errors import StageFailure, UserError
    from autokd.evaluation.screening.preflight import screen_one

    try:
        return {"costs": screen_one(parts.plan, parts, params)}
    except StageFailure as error:
        return {"failed": [error.stage, error.cause, error.detail]}
    except UserError as error:
        return {"failed": ["screen", "error", str(error)]}


if __name__ == "__main__":
    main()
