"""The teacher: trained here once, or loaded; trained teachers are kept under the hash of all they depend on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors.torch import save_file

from autokd import registry
from autokd.config.plan import Plan
from autokd.data.augment import SeededViews
from autokd.data.class_weights import key_of, sample_weights
from autokd.distillation.lesson import Lesson, Session
from autokd.distillation.trainer import fit
from autokd.errors import StageFailure, TeacherError, UserError
from autokd.evaluation.recipe import make_method, make_recipe
from autokd.evaluation.stages.training import WEIGHTS, tensors_of
from autokd.files import digest, publish, write_json
from autokd.protocols import CurvePoint, Dataset, Pace, Teacher, TeacherOptions
from autokd.students.build import build_module, family_key
from autokd.students.raw_input import RawInput

VERSION = 1
"""Part of a trained teacher's key: raised when the trainer yields another one."""


def obtain_teacher(
    plan: Plan, dataset: Dataset, root: Path, device: str, pace: Pace, tell: Callable[[str, float | None], None]
) -> Teacher:
    """The study's teacher, ready to score raw inputs.

    Args:
        plan: The plan.
        dataset: Its data.
        root: Folder of teachers.
        device: ``"cpu"`` or ``"cuda"``.
        pace: Entered around every batch.
        tell: Shows progress.

    Raises:
        TeacherError: It cannot be loaded, or its training diverged.
    """
    config = plan.config.teacher
    family = str(config.options().get("family", ""))
    weights, folder = None, root / digest([config.options(), dataset.spec.to_dict()])[:32]
    if config.kind == "family":
        folder = _train(plan, dataset, root, family, device, pace, tell)
        weights = folder / WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    options = TeacherOptions(
        options=config.options(),
        spec=dataset.spec,
        classes=len(dataset.classes),
        sample=np.asarray(dataset.inputs[dataset.splits.train[:8]]),
        device=device,
        folder=folder,
        build=lambda name, params: build_module(name, params, dataset.spec, len(dataset.classes), plan.config.seed),
        weights=weights,
        class_names=dataset.classes,
    )
    return registry.load("teachers", config.kind)(options)


def check_teacher(
    plan: Plan, dataset: Dataset, root: Path, device: str, tell: Callable[[str, float | None], None]
) -> None:
    """Refuse before a study begins what can be refused: a teacher is loaded, one to be trained here only built.

    Raises:
        TeacherError: It cannot be loaded.
        ConfigError: Its family refuses a parameter.
    """
    config = plan.config.teacher
    if not config.given:
        return
    if config.kind != "family":
        obtain_teacher(plan, dataset, root, device, nullcontext, tell)
        return
    try:
        _untrained(plan, dataset)
    except UserError:
        raise
    except Exception as error:  # a person's own family may raise anything
        law = "`teacher.params` must build a teacher"
        raise TeacherError(law, f"{type(error).__name__}: {error}", "Mend them, or the family.") from error


def _untrained(plan: Plan, dataset: Dataset) -> RawInput:
    config = plan.config.teacher
    spec, classes = dataset.spec, len(dataset.classes)
    return build_module(str(config.options()["family"]), config.params, spec, classes, plan.config.seed)


def _train(
    plan: Plan,
    dataset: Dataset,
    root: Path,
    family: str,
    device: str,
    pace: Pace,
    tell: Callable[[str, float | None], None],
) -> Path:
    config = plan.config.teacher
    seed = plan.config.seed
    recipe = make_recipe(config.training, {}, len(dataset.splits.train))
    known = family_key(family, dataset.spec, len(dataset.classes))
    weights = config.training.class_weights
    weighed = [] if weights is None else [key_of(weights)]
    key = digest([VERSION, known, config.params, asdict(recipe), dataset.fingerprint, seed, *weighed])
    folder = root / key[:32]
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / WEIGHTS).exists():
            return folder
        work = Path(f"{folder}.work")
        work.mkdir(exist_ok=True)
        model = _untrained(plan, dataset)
        index = dataset.splits.validation
        options = {"label_smoothing": recipe.label_smoothing} if recipe.label_smoothing else {}

        def report(point: CurvePoint) -> None:
            tell(
                f"teacher training, validation accuracy {point.validation_accuracy:.3f}", point.samples / recipe.samples
            )

        tell("teacher training", 0.0)
        try:
            targets = np.asarray(dataset.targets[dataset.splits.train])
            lesson = Lesson(
                SeededViews(dataset, recipe.augment, seed, recipe.fresh_views),
                targets,
                (np.asarray(dataset.inputs[index]), np.asarray(dataset.targets[index])),
                recipe,
                make_method("none", options),
                seed,
                weights=sample_weights(weights, targets, dataset.classes),
            )
            result = fit(model, lesson, Session(pace, device, work / "checkpoint", report=report))
        except StageFailure as error:
            mend = "Lower teacher.training.lr, or use a smaller teacher."
            raise TeacherError("the teacher's training must finish", f"{error.cause}: {error.detail}", mend) from error
        save_file(tensors_of(model), work / WEIGHTS)
        write_json(work / "curve.json", [asdict(p) for p in result.curve])
        for left_over in work.glob("checkpoint*"):
            left_over.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        publish(work, folder)
    return folder
