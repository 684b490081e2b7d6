"""One candidate's way from parameters to measurements: the whole of it on one page."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from autokd.errors import Infeasible, Paused, StageFailure, StorageError
from autokd.evaluation.parts import Parts
from autokd.evaluation.rungs import climb
from autokd.evaluation.steps import Evaluation
from autokd.evaluation.trial_dir import TrialDir, disk_error
from autokd.files import write_atomic
from autokd.trial import (
    RESTED,
    Candidate,
    Origin,
    Outcome,
    StageRecord,
    TrialRecord,
    Tutor,
)


def evaluate(
    candidate: Candidate,
    parts: Parts,
    trial: TrialDir,
    origin: Origin | None = None,
    until: float | None = None,
    before: Sequence[StageRecord] = (),
    tutor: Tutor | None = None,
) -> TrialRecord:
    """Take one candidate from parameters to measurements; on a ladder, from the trained weights of ``origin``.

    Never raises for what a candidate did: infeasible, stopped and failed are outcomes.

    Args:
        candidate: What to evaluate.
        parts: The study's parts.
        trial: Its folder.
        origin: Stage and key of the weights that a rung of a ladder goes on from.
        until: Share of the training after which to rest: the outcome is ``stopped``, and the same call with a later share,
            or none, goes on from the checkpoint.
        before: What the evaluation spent before it rested.
        tutor: The student of the search that teaches it, where the study has no teacher.

    Raises:
        StorageError: The disk is full or read-only; the study must stop.
    """
    run = Evaluation(parts, candidate, trial, until, before, tutor)
    try:
        return climb(run, candidate.rung, origin) if candidate.rung else run.run()
    except Infeasible as end:
        return run.record(Outcome.INFEASIBLE, violations=end.violations)
    except Paused as rest:
        run.note_curve(rest.share)
        run.notes[RESTED] = until
        return run.record(Outcome.STOPPED)
    except StorageError:
        raise
    except Exception as end:
        if full := disk_error(end):
            raise full from end
        text = getattr(end, "traceback", "") or traceback.format_exc()
        write_atomic(trial.folder / "error.txt", text)
        stage, cause = (end.stage, end.cause) if isinstance(end, StageFailure) else (trial.current, "error")
        detail = end.detail if isinstance(end, StageFailure) else f"{type(end).__name__}: {end}"
        return run.record(Outcome.FAILED, failed_stage=stage, cause=cause, detail=detail)
