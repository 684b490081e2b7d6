"""One training, as several stages do it: with the teacher's cached outputs, resumed after a crash, resting where it is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from autokd.data.augment import SeededViews
from autokd.data.class_weights import sample_weights
from autokd.distillation.lesson import Lesson, Session
from autokd.distillation.trainer import FitResult, fit
from autokd.errors import Paused
from autokd.evaluation.recipe import Teaching
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Tools
from autokd.files import read_json, write_json
from autokd.protocols import CurvePoint, Dataset
from autokd.storage.stage_store import CHECKPOINT
from autokd.students.blueprint import Blueprint
from autokd.teachers.bank import TeacherBank

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Banks:
    """A teacher's cached outputs: who said it, and where it lies.

    Args:
        teacher: The teacher's fingerprint.
        folders: Folder of its outputs on the training views, by augmentation.
        views: So many views are learnt from, at most; ``None``: all that it answered before the search.
    """

    teacher: str
    folders: Mapping[str, str]
    views: int | None = None

    def identity(self) -> str | list[Any]:
        """Of the same data the same teacher says the same."""
        return self.teacher if self.views is None else [self.teacher, self.views]

    def bank(self, augment: str) -> TeacherBank:
        """Its outputs under an augmentation."""
        return TeacherBank.open(Path(self.folders[augment]))


@dataclass(frozen=True)
class Training:
    """How a student is trained, and on what.

    Args:
        teaching: Recipe, knowledge and scheme.
        data: Data and splits.
        teacher: Who teaches; ``None`` where the knowledge needs nobody.
        seed: Of order and dropout.
        views_seed: Of the augmented views, which the teacher's outputs belong to.
    """

    teaching: Teaching
    data: Dataset
    teacher: Banks | None
    seed: int
    views_seed: int

    def run(self, folder: Path, tools: Tools, student: nn.Module, twin: Blueprint, seen: int = 0) -> Trained:
        """Train a student into ``folder``; goes on from its checkpoint after a crash, or after a rest.

        Args:
            folder: Keeps the checkpoint meanwhile; weights and learning curve in the end.
            tools: What it is done with.
            student: Trained in place.
            twin: Makes nets like it, for a scheme with peers.
            seen: Samples its weights were trained with before, as it or as a larger student.

        Raises:
            Paused: The share ``tools.until`` of the training is done; the curve so far is where the tools say.
        """
        charged_file = folder / "charged.json"  # a later trial, or another's, that goes on from here pays the rest only
        charged = float(read_json(charged_file, {}).get("cpu_s", 0.0))
        result = self.fit(folder, tools, student, twin, seen)
        curve = [asdict(p) for p in result.curve]
        if not result.done:
            if tools.curve is not None:
                write_json(tools.curve, curve)
            write_json(charged_file, {"cpu_s": result.cpu_s})
            raise Paused(result.samples / result.total, max(0.0, result.cpu_s - charged))
        charged_file.unlink(missing_ok=True)
        save_file(tensors_of(student), folder / WEIGHTS)
        write_json(folder / "curve.json", curve, lasting=False)  # the store syncs what it keeps
        return Trained(result.samples, result.cpu_s, charged, seen=seen + result.samples)

    def fit(self, folder: Path, tools: Tools, student: nn.Module, twin: Blueprint, seen: int = 0) -> FitResult:
        """The training itself, its checkpoint in ``folder``."""
        recipe, knowledge = self.teaching.recipe, self.teaching.knowledge()
        bank = self.teacher.bank(recipe.augment) if self.teacher is not None else None
        if self.teacher is None or bank is None:
            views = recipe.fresh_views
        elif self.teacher.views is not None:
            views = min(recipe.fresh_views, self.teacher.views)
        else:  # a longer training than was planned goes through the cached views again
            views = min(recipe.cached_views, bank.views)
        recipe = replace(recipe, views=views)

        def report(point: CurvePoint) -> None:
            tools.note(
                samples=point.samples, of=recipe.samples, accuracy=point.validation_accuracy, began_training=True
            )

        splits = self.data.splits
        targets = np.asarray(self.data.targets[splits.train])
        lesson = Lesson(
            SeededViews(self.data, recipe.augment, self.views_seed, recipe.views),
            targets,
            (np.asarray(self.data.inputs[splits.validation]), np.asarray(self.data.targets[splits.validation])),
            recipe,
            knowledge,
            self.seed,
            bank,
            self.teaching.scheme_made(),
            seen,
            twin=lambda seed: replace(twin, seed=self.seed + seed).build(),
            weights=sample_weights(self.teaching.class_weights, targets, self.data.classes),
        )
        session = Session(tools.pace, tools.device, folder / CHECKPOINT, tools.until, report)
        result = fit(student, lesson, session)
        if result.done:
            for left_over in folder.glob(f"{CHECKPOINT}*"):
                left_over.unlink()
            student.to("cpu")
        return result


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's state for a safetensors file."""
    # clones, because safetensors refuses tensors that share memory
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}
