"""``run()``: the one place that times, records, caches and wraps the errors of a candidate's stages."""

from __future__ import annotations

import errno
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from autokd import trial
from autokd.errors import Infeasible, Paused, StageFailure, StorageError, named_line
from autokd.evaluation.stages.stage import R, Stage, Stored, Tools, key_of
from autokd.files import write_json
from autokd.hardware.meter import timing_cpu_s
from autokd.storage.stage_store import StageStore
from autokd.trial import StageRecord

UNWRAPPED = (Infeasible, Paused, StorageError)
"""What is no failure of a stage."""


class TrialDir:
    """A trial's folder, and the record of what its stages cost.

    Args:
        folder: Where the trial's files for people go.
        store: The stage store shared by the study.
    """

    def __init__(self, folder: Path, store: StageStore) -> None:
        self.folder = folder
        self.store = store
        self.records: list[StageRecord] = []
        self.current: str = trial.Stage.BUILD.value
        self.began_training = False
        folder.mkdir(parents=True, exist_ok=True)

    def note(self, **progress: Any) -> None:
        """Tell the driver and the dashboard where this trial is. That training began is not forgotten."""
        self.began_training |= bool(progress.get("began_training"))
        known = {"stage": self.current, "time": time.time(), "began_training": self.began_training}
        write_json(self.folder / "progress.json", known | progress, lasting=False)

    def run(self, stage: Stage[R], parent: Stored[Any] | None, tools: Tools) -> Stored[R]:
        """Run a stage, or find its result under its key.

        Args:
            stage: Its fields are all that its result depends on, beside the parent.
            parent: The stage it goes on from.
            tools: What it works with.

        Raises:
            StageFailure: The stage failed, with its cause.
            Paused: The stage rests; what it has done waits in its work folder.
            Infeasible: The stage refused the candidate.
            StorageError: The disk is full or read-only.
        """
        kind = stage.kind
        self.current = kind.value
        key = key_of(stage, parent)
        tools = replace(tools, note=self.note, curve=self.folder / "curve.json")
        began, cpu = time.monotonic(), _cpu_s()
        cached = True
        raw = self.store.find(kind.value, key)
        if raw is None:
            self.note()
            with self.guard(kind), self.store.working(kind.value, key) as folder:
                raw = self.store.find(kind.value, key)  # another trial may have finished it while we waited
                if raw is None:
                    cached = False
                    try:
                        raw = stage.work(folder, tools, parent).to_dict()
                    except Paused as rest:
                        self.records.append(StageRecord(kind.value, key, time.monotonic() - began, rest.cpu_s))
                        raise
                    self.store.commit(kind.value, key, raw)
                else:
                    folder.rmdir()
        # A checkpointed stage knows what it spent before a crash, and what was charged when it rested; the process does not.
        spent = max(0.0, float(raw.get("cpu_s") or _cpu_s() - cpu) - float(raw.get("charged_cpu_s", 0.0)))
        self.records.append(StageRecord(kind.value, key, time.monotonic() - began, 0.0 if cached else spent, cached))
        return Stored(kind, key, self.store.path(kind.value, key), stage.read(raw))

    def guard(self, stage: trial.Stage) -> _Guard:
        """Errors inside become a StageFailure of that stage."""
        return _Guard(stage)


def _cpu_s() -> float:
    """CPU seconds of this process and of the timings it asked for: a search pays for its clock, too."""
    return time.process_time() + timing_cpu_s()


class _Guard:
    def __init__(self, stage: trial.Stage) -> None:
        self.stage = stage

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UNWRAPPED):
            return
        text = "".join(traceback.format_exception(error))
        if isinstance(error, StageFailure):
            raise StageFailure(self.stage.value, error.cause, error.detail, error.traceback or text) from error
        if full := disk_error(error):
            raise full from error
        raise StageFailure(self.stage.value, _cause(error), named_line(error), text) from error


def disk_error(error: Exception) -> StorageError | None:
    """What a full or read-only disk said, as the error that stops the study; ``None`` for anything else."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        return None
    mend = "Free some space or lower storage.max_gb; then `autokd resume`."
    return StorageError("the study's folder must be writable", str(error), mend)


def _cause(error: Exception) -> str:
    text = str(error).lower()
    if (
        isinstance(error, MemoryError)
        or "out of memory" in text
        or "not enough memory" in text
        or "can't allocate" in text
    ):
        return "out_of_memory"
    return "error"
