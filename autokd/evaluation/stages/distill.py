"""Distill: train a student from nothing, or train one on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from autokd import trial
from autokd.evaluation.initial import SAMPLES, first_weights
from autokd.evaluation.stages.build import restore
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.evaluation.stages.training import Training
from autokd.students.blueprint import Blueprint
from autokd.students.whitening import has_convolution


@dataclass(frozen=True)
class Distill:
    """A student trained from the first weights that its family gives it."""

    kind: ClassVar[trial.Stage] = trial.Stage.DISTILL
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    training: Training

    def read(self, raw: Mapping[str, Any]) -> Trained:
        return Trained.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Trained:
        """Its weights, learning curve and what they took."""
        with tools.pace():
            student = self.untrained()
        return self.training.run(folder, tools, student, self.blueprint)

    def untrained(self) -> nn.Module:
        """The student with its first weights."""
        return self.blueprint.build()


@dataclass(frozen=True)
class DistillWhitened(Distill):
    """The same from a first convolution that whitens training pictures.

    Args:
        samples: Most training samples that are looked at; the training's seed chooses them.
    """

    revision: ClassVar[int] = 1
    samples: int = SAMPLES

    def untrained(self) -> nn.Module:
        """As of :class:`Distill`, its first convolution set."""

        def build(seed: int) -> nn.Module:
            return replace(self.blueprint, seed=seed).build()

        return first_weights(build, self.blueprint.seed, self.training.data, self.training.seed, self.samples)


def distilled(blueprint: Blueprint, training: Training, init: str) -> Distill:
    """The stage that trains a student from nothing: ``training.init`` is ``"auto"`` or ``"plain"``, and without a convolution
    both mean the same.
    """
    whitened = init == "auto" and has_convolution(blueprint.outline)
    return DistillWhitened(blueprint, training) if whitened else Distill(blueprint, training)


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
