"""Train a chosen student on with the teacher: a trial of its own, measured and confirmed."""

from __future__ import annotations

import math
from collections.abc import Callable

from autokd.errors import StudyError
from autokd.storage import results
from autokd.storage.heartbeat import driving
from autokd.storage.ledger import record_of
from autokd.storage.results import Member, keep_confirmed
from autokd.strategies.tutors import Tutors
from autokd.study.opened import OpenStudy
from autokd.study.search import edited_since
from autokd.trial import Candidate, Outcome, Rung


def finish_student(
    study: OpenStudy,
    number: int,
    samples: int | None = None,
    tell: Callable[[str, float | None], None] = lambda text, share: None,
) -> int:
    """The work of :meth:`autokd.study.study.Study.finish`; returns the new trial's number."""
    from autokd.evaluation.confirm import confirm
    from autokd.evaluation.finish import finish, finish_stopped
    from autokd.evaluation.parts import Parts
    from autokd.evaluation.trial_dir import TrialDir
    from autokd.runners.threads import torch_threads

    with driving(study.ledger, study.home):
        trials = study.ledger.trials()
        found = record_of(trials[number]) if 0 <= number < len(trials) else None
        stopped = found if found is not None and found.outcome == Outcome.STOPPED else None
        if (stopped is None) == (samples is None):
            law = "`samples` must say how long a measured student is trained on, and a stopped trial takes none"
            value = f"{samples or 'none'} for trial {number}, {found.outcome.value if found else 'not in the study'}"
            raise StudyError(law, value, "`autokd status` counts stopped trials; the dashboard lists them.")
        member = (
            None
            if stopped
            else results.choose(
                study.members(), study.plan.objectives, trial=number, profile=study.plan.profiles[0].name
            )
        )
        child = len(trials)
        parts = Parts.open(study.home)
        try:
            for name in edited_since(study):
                tell(f"warning: {name} was edited since: the student is trained on with the new one", None)
            tell("training on", None)
            trial = TrialDir(study.home / "trials" / f"{child:05d}", parts.store)
            with torch_threads(study.plan.config.resources.cpus_per_trial):
                if stopped is not None:
                    record = finish_stopped(number, stopped, parts, trial, _tutors(study).of_trial(number))
                else:
                    assert member is not None and samples is not None
                    rung = Rung("train", 1.0, member.number)
                    tutor = _tutors(study).of(Candidate(member.params, rung), 1.0, math.inf)
                    record = finish(member, samples, parts, trial, tutor)
        finally:
            parts.close()
        child = study.ledger.add(record, study.plan)
        made = Member(child, record.params, {}, None, record.artifact, record)
        for _, values, by_class in confirm(study.plan, study.home, [made], tell):
            keep_confirmed(study.ledger, child, values, by_class)
        return child


def _tutors(study: OpenStudy) -> Tutors:
    """Who taught whom, where the study has no teacher."""
    tutors = Tutors(study.plan)
    for trial in study.ledger.trials():
        record = record_of(trial)
        if record is not None:
            tutors.tell(trial.number, record)
    return tutors
