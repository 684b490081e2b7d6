"""Build: an untrained student. Cheap and deterministic, so only its key matters to what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file
from torch import nn

from autokd import trial
from autokd.compression.pruning import shrink_to
from autokd.evaluation.stages.results import Result, Trained
from autokd.evaluation.stages.stage import Stored, Tools, key_of
from autokd.evaluation.stages.training import WEIGHTS
from autokd.students.blueprint import Blueprint


@dataclass(frozen=True)
class Build:
    """A student before its training."""

    kind: ClassVar[trial.Stage] = trial.Stage.BUILD
    revision: ClassVar[int] = 1
    blueprint: Blueprint

    def read(self, raw: Mapping[str, Any]) -> Result:
        return Result.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Result:
        return Result()

    def stored(self, folder: Path) -> Stored[Result]:
        """As if it had run: nothing of it is kept."""
        return Stored(self.kind, key_of(self, None), folder, Result())


def restore(blueprint: Blueprint, stored: Stored[Trained]) -> nn.Module:
    """The trained (and perhaps pruned) student of a stage, from its safetensors."""
    student = blueprint.build()
    shrink_to(student, load_file(stored.folder / WEIGHTS))
    return student.eval()


def shaped_as(stored: Stored[Trained], blueprint: Blueprint) -> Blueprint:
    """A blueprint in the shape of a stage's weights: that of its own step, else what it was asked for."""
    own = stored.value.shape
    return blueprint if own is None else replace(blueprint, shape=own)
