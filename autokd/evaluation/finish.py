"""Train a chosen student on with the teacher, and ship it as a child of its trial."""

from __future__ import annotations

from dataclasses import replace

from autokd.errors import StageFailure, StudyError
from autokd.evaluation.parts import Parts
from autokd.evaluation.pipeline import evaluate
from autokd.evaluation.recipe import make_teaching
from autokd.evaluation.rungs import train_on
from autokd.evaluation.stages.build import shaped_as
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored
from autokd.evaluation.steps import Evaluation
from autokd.evaluation.trial_dir import TrialDir
from autokd.storage.results import Member
from autokd.trial import CONTINUES, TRAINING, Candidate, Outcome, Stage, TrialRecord, Tutor

FINISH_LR = 0.5
"""Share of the peak rate: how long the student was trained before is not known to be short against what is added."""


def finish(member: Member, samples: int, parts: Parts, trial: TrialDir, tutor: Tutor | None = None) -> TrialRecord:
    """Train a measured student on for ``samples`` samples, then export, verify and measure it.

    Where the study has no teacher ``tutor`` teaches, another of its students.

    Raises:
        StudyError: Its weights are no longer in the stage store.
        StageFailure: A stage failed.
    """
    run = Evaluation(parts, Candidate(member.params), trial, tutor=tutor)
    config, space = parts.plan.config, parts.plan.space
    training = space.of_stage(Stage.DISTILL, member.params)
    before = trained_stage(member, parts)
    teaching = make_teaching(config.training, config.distillation, training, parts.train_size)
    recipe = replace(teaching.recipe, samples=samples, lr=teaching.recipe.lr * FINISH_LR)
    teaching = replace(teaching, recipe=recipe)
    blueprint = shaped_as(before, parts.blueprint(space.of_stage(Stage.BUILD, member.params)))
    if not teaching.asks_teacher:  # a student found without the teacher is taught now
        own = config.distillation
        recipe = replace(recipe, label_smoothing=0.0)
        teaching = replace(teaching, recipe=recipe, method=own.method, options=dict(own.options), scheme=own.scheme)
    stored = train_on(run, before, blueprint, teaching)
    run.began_training = True
    run.notes["trained_on"] = samples
    run.ship(stored, blueprint, run.bits)
    return run.record(Outcome.MEASURED, violations=run.violations(trained=True), parent=member.number)


def finish_stopped(
    number: int, stopped: TrialRecord, parts: Parts, trial: TrialDir, tutor: Tutor | None = None
) -> TrialRecord:
    """Go on with a trial that halving stopped, from its checkpoint to the end of its training; then measure it.

    ``tutor`` is the student that taught it, where the study has no teacher.

    Raises:
        StudyError: Its checkpoint was dropped.
        StageFailure: A stage failed.
    """
    keys = [s.key for s in stopped.stages if s.stage == Stage.DISTILL]
    if not keys or not parts.store.resting(Stage.DISTILL, keys[-1]):
        mend = "`storage.max_gb` dropped it; `autokd gc` keeps those of stopped trials."
        raise StudyError(f"the checkpoint of trial {number} must be in the stage store", "nothing", mend)
    record = evaluate(stopped.candidate, parts, trial, tutor=tutor)
    if record.outcome != Outcome.MEASURED:
        raise StageFailure(record.failed_stage or Stage.DISTILL, record.cause or "error", record.detail or "")
    first = number if stopped.continues is None else stopped.continues
    return replace(record, notes={**record.notes, CONTINUES: first})


def trained_stage(member: Member, parts: Parts) -> Stored[Trained]:
    """The stage that holds a member's final torch weights.

    Raises:
        StudyError: It was dropped from the store.
    """
    last = next((record for record in reversed(member.record.stages) if record.stage in TRAINING), None)
    found = parts.trained(last.stage, last.key) if last is not None else None
    if found is not None:
        return found
    mend = "`storage.max_gb` or `autokd gc` dropped them; the front's are kept by gc."
    raise StudyError(f"the weights of trial {member.number} must be in the stage store", "nothing", mend)
