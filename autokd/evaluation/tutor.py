"""A student of the search as the teacher of another: its outputs on the training views, computed when they are first asked for."""

from __future__ import annotations

import time

from autokd.data.augment import SeededViews
from autokd.evaluation.parts import Parts
from autokd.evaluation.stages.build import restore, shaped_as
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored
from autokd.evaluation.stages.training import Banks
from autokd.evaluation.trial_dir import TrialDir
from autokd.protocols import Recipe, TeacherOptions
from autokd.teachers.bank import TeacherBank
from autokd.teachers.module import ModuleTeacher
from autokd.trial import Stage, StageRecord, Tutor

ASKED = 60_000
"""A tutor answers at most about so many samples, in whole views of the train split, and at least one view: of large data one view
costs as much as a training step down a ladder. (Fashion-MNIST: six cached views 89.6 %, one 89.2, no teacher 88.1.)"""
TEACH = "teach"
"""What the ledger calls the time that a tutor took to answer."""


def views_of(size: int, wanted: int) -> int:
    """How many views a tutor answers, of a train split of ``size`` samples."""
    return max(1, min(wanted, round(ASKED / max(1, size))))


def ask(tutor: Tutor, parts: Parts, trial: TrialDir, recipe: Recipe) -> Banks | None:
    """The tutor's outputs for a training; ``None`` once its weights are gone from the store.

    Args:
        tutor: Who teaches.
        parts: The study's parts.
        trial: The trial that asks first is charged.
        recipe: How the student is trained.
    """
    stored = parts.trained(tutor.stage, tutor.key)
    if stored is None:
        return None
    count = views_of(parts.train_size, recipe.fresh_views)
    views = SeededViews(parts.dataset, recipe.augment, parts.plan.config.seed, recipe.fresh_views)
    began, cpu = time.monotonic(), time.process_time()
    with trial.guard(Stage.DISTILL):
        teacher = _teacher(tutor, stored, parts)
        place = TeacherBank.place(parts.root / "banks", teacher, views)
        TeacherBank.fill(teacher, views, place, count=min(count, views.count), pace=parts.pace)
    trial.records.append(StageRecord(TEACH, tutor.key, time.monotonic() - began, time.process_time() - cpu))
    return Banks(teacher.fingerprint, {recipe.augment: str(place)}, min(count, views.count))


def _teacher(tutor: Tutor, stored: Stored[Trained], parts: Parts) -> ModuleTeacher:
    space, data = parts.plan.space, parts.dataset
    blueprint = shaped_as(stored, parts.blueprint(space.of_stage(Stage.BUILD, tutor.params)))
    options = TeacherOptions(
        options={"scores": "logits"},
        spec=data.spec,
        classes=len(data.classes),
        sample=data.inputs[data.splits.train[:8]],
        device=parts.device,
        folder=stored.folder,
        class_names=data.classes,
    )
    return ModuleTeacher(f"trial {tutor.number}", restore(blueprint, stored), options, None)
