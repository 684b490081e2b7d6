"""Measure: quality on the validation split, and costs, of the very file that would ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autokd import registry, trial
from autokd.config.objectives import METRICS
from autokd.config.plan import Plan
from autokd.evaluation.costs import file_costs
from autokd.evaluation.metrics import REVISION, quality
from autokd.evaluation.stages.results import Costs, Package
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Dataset
from autokd.trial import Measurement

ALWAYS = ("accuracy", "log_loss")
"""Quality metrics that every trial reports, whatever the objectives are."""


@dataclass(frozen=True)
class Quality:
    """A quality metric by name; in keys by its content."""

    name: str

    def identity(self) -> str:
        return f"{self.name}@{REVISION}" if self.name in METRICS else registry.identity("metrics", self.name)


@dataclass(frozen=True)
class Answers:
    """A teacher's logits on the validation split: who said it, and in which file."""

    teacher: str
    file: str

    def identity(self) -> str:
        return self.teacher

    def load(self) -> np.ndarray:
        """``(N, classes) float32``."""
        return np.load(self.file, allow_pickle=False)


@dataclass(frozen=True)
class Measure:
    """What a verified file is worth.

    Args:
        data: Data and splits.
        package: The stage that made the file.
        profiles: Where to time it.
        qualities: What of its scores is told.
        teacher: Whom a metric may compare it with.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.MEASURE
    revision: ClassVar[int] = 1
    data: Dataset
    package: Stored[Package]
    profiles: tuple[HardwareProfile, ...]
    qualities: tuple[Quality, ...]
    teacher: Answers | None

    def read(self, raw: Mapping[str, Any]) -> Costs:
        return Costs.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Costs:
        """The measurements."""
        assert parent is not None
        scores = np.load(parent.folder / "scores.npy", allow_pickle=False)
        targets = np.asarray(self.data.targets[self.data.splits.validation])
        said = self.teacher.load() if self.teacher is not None else None
        found = qualities([q.name for q in self.qualities], scores, targets, said)
        found += file_costs(self.package.folder / self.package.value.file, self.profiles, tools.meter)
        return Costs(tuple(found))


def wanted_qualities(plan: Plan, teacher: bool) -> list[str]:
    """Quality metrics of the objectives and constraints, and those that every trial reports; ``teacher``: there is one."""
    goals = [o.metric for o in plan.objectives] + [c.metric for c in plan.constraints]
    named = [m for m in goals if m not in METRICS or METRICS[m].needs_training]
    usual = [*ALWAYS, "agreement"] if teacher else list(ALWAYS)
    return list(dict.fromkeys([*usual, *named]))


def qualities(
    metrics: Sequence[str], scores: np.ndarray, targets: np.ndarray, teacher: np.ndarray | None
) -> list[Measurement]:
    """Quality metrics of scores, each with its standard error."""
    found = []
    for metric in metrics:
        value, error = quality(metric, scores, targets, teacher)
        unit = METRICS[metric].unit if metric in METRICS else ""
        found.append(Measurement(metric, float(value), unit, spread=error))
    return found
