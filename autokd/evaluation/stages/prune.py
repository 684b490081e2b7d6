"""Prune: inherit the trained weights, take channels away, tune with the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from autokd import registry, trial
from autokd.compression.pruning import default_groups
from autokd.compression.pruning import prune as prune_channels
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.evaluation.stages.training import WEIGHTS, Training, tensors_of
from autokd.files import write_json
from autokd.protocols import Dataset
from autokd.students.blueprint import Blueprint
from autokd.students.build import prune_groups
from autokd.trial import ParamValue


@dataclass(frozen=True)
class Cutting:
    """Which channels go.

    Args:
        ratios: Share of the channels by group, in [0, 1).
        importance: Name of the importance that chooses them.
    """

    ratios: Mapping[str, float]
    importance: str = "l1"

    @classmethod
    def of(cls, params: Mapping[str, ParamValue]) -> Cutting:
        """From the parameters of the prune stage: ``prune_1: 0.25`` cuts a quarter of group ``"1"``."""
        ratios = {k.removeprefix("prune_"): float(v) for k, v in params.items() if k.startswith("prune_")}
        return cls(ratios, str(params.get("importance", "l1")))

    def __bool__(self) -> bool:
        return any(self.ratios.values())

    def identity(self) -> list[Any]:
        """The importance by its content."""
        return [dict(self.ratios), registry.identity("pruners", self.importance)]

    def cut(self, student: nn.Module, data: Dataset) -> None:
        """Remove the channels in place; calibration samples serve an importance that asks for gradients."""
        cut_channels(student, data, self.ratios, registry.load("pruners", self.importance)())


def cut_channels(student: nn.Module, data: Dataset, ratios: Mapping[str, float], importance: Any) -> None:
    """Remove shares of channels by group, in place."""
    index = data.splits.calibration
    inputs = torch.from_numpy(np.ascontiguousarray(data.inputs[index]))

    def gradients(model: nn.Module) -> None:
        targets = torch.from_numpy(np.asarray(data.targets[index])).long()
        nn.functional.cross_entropy(model(inputs), targets).backward()

    groups = prune_groups(student) or default_groups(student)
    prune_channels(student, inputs[:2], groups, ratios, importance, gradients=gradients)


@dataclass(frozen=True)
class Prune:
    """A smaller student out of a trained one.

    Args:
        blueprint: The student that was trained.
        cutting: What goes.
        tuning: The training afterwards, shorter and gentler; none where its recipe has no samples.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.PRUNE
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    cutting: Cutting
    tuning: Training

    def read(self, raw: Mapping[str, Any]) -> Trained:
        return Trained.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Trained:
        """Weights of the smaller student, and what tuning them took."""
        assert parent is not None
        student = self.blueprint.build()
        student.load_state_dict(load_file(parent.folder / WEIGHTS))
        with tools.pace():
            self.cutting.cut(student, self.tuning.data)
        result = None
        if self.tuning.teaching.recipe.samples > 0:
            result = self.tuning.fit(folder, replace(tools, until=None), student, self.blueprint)  # it never rests
            write_json(folder / "tuning_curve.json", [asdict(p) for p in result.curve], lasting=False)
        save_file(tensors_of(student), folder / WEIGHTS)
        return Trained(result.samples, result.cpu_s) if result else Trained()
