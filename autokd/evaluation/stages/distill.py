"""Distill: train a student from nothing, or train one on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from autokd import trial
from autokd.evaluation.initial import first_weights
from autokd.evaluation.stages.build import restore
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.evaluation.stages.training import Training
from autokd.students.blueprint import Blueprint


@dataclass(frozen=True)
class Distill:
    """A student trained from its first weights.

    Args:
        blueprint: The student.
        training: How it is trained, and on what.
        init: ``"auto"``: the first convolution whitens what it reads of the train split, where there is one; ``"plain"``: all
            weights are the family's own.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.DISTILL
    revision: ClassVar[int] = 2
    blueprint: Blueprint
    training: Training
    init: str = "auto"

    def read(self, raw: Mapping[str, Any]) -> Trained:
        return Trained.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Trained:
        """Its weights, learning curve and what they took."""
        with tools.pace():
            student = first_weights(self._built, self.blueprint.seed, self.init, self.training.data, self.training.seed)
        return self.training.run(folder, tools, student, self.blueprint)

    def _built(self, seed: int) -> nn.Module:
        return replace(self.blueprint, seed=seed).build()


@dataclass(frozen=True)
class TrainOn:
    """A student whose training goes on, with the weights of its parent stage."""

    kind: ClassVar[trial.Stage] = trial.Stage.DISTILL
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    training: Training

    def read(self, raw: Mapping[str, Any]) -> Trained:
        return Trained.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Trained:
        """As of :class:`Distill`, with the shape and the history that it inherits."""
        assert parent is not None
        student = restore(self.blueprint, parent)
        done = self.training.run(folder, tools, student, self.blueprint, parent.value.seen_in_all)
        return replace(done, shape=dict(self.blueprint.shape), history=parent.value.history)
