"""A child process that evaluates candidates and can be lost without losing the study."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import psutil

from autokd.errors import StageFailure, StorageError
from autokd.files import read_json, write_atomic
from autokd.trial import Outcome, ParamValue, Rung, StageRecord, TrialRecord

START_S = 180.0
"""Longest time a worker may take to import torch and open the data on a slow disk."""

ALARM_S = 60.0
"""So long after its time a worker ends by itself, should nobody have killed it."""


@dataclass(frozen=True)
class Limits:
    """What one candidate may use.

    Args:
        trial_s: Seconds.
        memory_bytes: Resident memory of the worker and its children.
        threads: Threads that torch may use.
    """

    trial_s: float
    memory_bytes: float
    threads: int = 1


class Evaluator:
    """Keeps one worker process warm; a candidate that hangs, crashes or eats the memory costs only that process.

    Args:
        home: The study's folder.
        limits: What one candidate may use.
        cancelled: Asked often while waiting; once true, the worker is killed and ``evaluate`` gives ``None``.
    """

    def __init__(self, home: Path, limits: Limits, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.home, self.limits, self.cancelled = home, limits, cancelled
        self.process: subprocess.Popen[str] | None = None
        self.messages: Queue[dict[str, Any] | None] = Queue()
        self.log = home / "logs" / f"worker-{os.getpid()}-{id(self):x}.log"

    def evaluate(self, job: Mapping[str, Any]) -> TrialRecord | None:
        """The record of one job (``Job.to_dict``); ``None`` when cancelled.

        Raises:
            StorageError: The worker found the disk full or the study's folder gone: the study must stop.
        """
        Path(job["folder"]).mkdir(parents=True, exist_ok=True)
        answer = self._ask(dict(job))
        if answer is None:
            return None
        if isinstance(answer, dict):
            return TrialRecord.from_json(answer["record"])
        return lost_record(job, *answer)

    def screen(self, params: Mapping[str, ParamValue]) -> dict[str, float]:
        """The costs of an untrained candidate by name.

        Raises:
            StageFailure: It cannot be built, exported or timed, or took the worker with it.
            StorageError: The worker found the disk full or the study's folder gone.
        """
        answer = self._ask({"screen": dict(params)})
        if isinstance(answer, tuple):
            raise StageFailure("screen", *answer)
        if answer is None or "failed" in answer:
            raise StageFailure(*(answer or {"failed": ("screen", "error", "cancelled")})["failed"])
        return dict(answer["costs"])

    def _ask(self, job: dict[str, Any]) -> dict[str, Any] | tuple[str, str] | None:
        """The worker's answer to a job, as :meth:`_wait` gives it; a worker is started when there is none."""
        if self.process is None or self.process.poll() is not None:
            self._start()
            ready = self._wait(START_S)
            if not isinstance(ready, dict):
                return ready
        self._send(job)
        rested_s = sum(stage["duration_s"] for stage in job.get("before", ()))
        return self._wait(max(0.0, self.limits.trial_s - rested_s))

    def close(self) -> None:
        """End the worker and its children, now."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _start(self) -> None:
        self.close()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        threads = str(self.limits.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "autokd.runners.worker", str(self.home), "--threads", threads]
        command += ["--alarm-s", str(self.limits.trial_s + ALARM_S)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the driver alone
            )
        self.messages = Queue()
        Thread(target=_read, args=(self.process, self.messages), daemon=True).start()

    def _send(self, job: dict[str, Any]) -> None:
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the wait that follows says what happened
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()

    def _wait(self, seconds: float) -> dict[str, Any] | tuple[str, str] | None:
        """The next answer; ``(cause, detail)`` when there will be none; ``None`` when cancelled.

        While the worker waits for another trial (a timing, the same result) its time stands still.
        """
        deadline = time.monotonic() + seconds
        waiting_since: float | None = None
        while True:
            try:
                message = self.messages.get(timeout=0.2)
            except Empty:
                if self.cancelled():
                    self.close()
                    return None
                if waiting_since is None and time.monotonic() > deadline:
                    self.close()
                    return "timeout", f"longer than {self.limits.trial_s:g} s (budget.trial_s)"
                used = self._memory()
                if used > self.limits.memory_bytes:
                    self.close()
                    limit = self.limits.memory_bytes / 1e9
                    return "out_of_memory", f"{used / 1e9:.1f} GB used, {limit:.1f} GB allowed (resources.memory_gb)"
                continue
            if message is None:
                code = self.process.wait() if self.process else None
                self.close()
                return "lost_worker", f"the worker ended with exit code {code}; {self._last_words()}"
            if "waiting" in message:
                if waiting_since is not None:
                    deadline += time.monotonic() - waiting_since
                waiting_since = time.monotonic() if message["waiting"] else None
                continue
            if "fatal" in message:
                self.close()
                raise StorageError(*message["fatal"])
            return message

    def _memory(self) -> float:
        if self.process is None:
            return 0.0
        try:
            own = psutil.Process(self.process.pid)
            return float(sum(p.memory_info().rss for p in [own, *own.children(recursive=True)]))
        except psutil.Error:
            return 0.0

    def _last_words(self) -> str:
        try:
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return f"its last words: {lines[-1][:300]}" if lines else "it said nothing"


def going_on(job: Mapping[str, Any], record: TrialRecord) -> dict[str, Any]:
    """The job that goes on with one that rested at a checkpoint share, as far as the next."""
    reached = record.rested_at
    shares = [share for share in job["shares"] if reached is None or share > reached]
    before = [asdict(stage) for stage in record.stages]
    return {**job, "shares": shares, "until": shares[0] if shares else None, "before": before}


def lost_record(job: Mapping[str, Any], cause: str, detail: str) -> TrialRecord:
    """The record of a job whose worker could not write one; its progress file says how far it came."""
    folder = Path(job["folder"])
    progress = read_json(folder / "progress.json", {})
    with contextlib.suppress(OSError):
        write_atomic(folder / "error.txt", f"{cause}: {detail}\n")
    return TrialRecord(
        Outcome.FAILED,
        dict(job["params"]),
        parent=(job.get("rung") or {}).get("parent"),
        rung=Rung(**job["rung"]) if job.get("rung") else None,
        began_training=bool(progress.get("began_training")),
        failed_stage=str(progress.get("stage", "build")),
        cause=cause,
        detail=detail,
        folder=str(folder),
        stages=tuple(StageRecord(**stage) for stage in job.get("before", ())),
    )


def _read(process: subprocess.Popen[str], messages: Queue[dict[str, Any] | None]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):
        for line in process.stdout:
            messages.put(json.loads(line))
    messages.put(None)
