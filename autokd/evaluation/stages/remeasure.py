"""Measure a file of another study: what is on record of the same bytes is taken over, what depends on the device is timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autokd import trial
from autokd.deployment.verify import scores as file_scores
from autokd.evaluation.costs import file_costs
from autokd.evaluation.stages.measure import Answers, Quality, qualities
from autokd.evaluation.stages.results import Costs
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Dataset
from autokd.trial import Measurement


@dataclass(frozen=True)
class KnownFile:
    """A file by its bytes, wherever it lies."""

    sha256: str
    path: Path

    def identity(self) -> str:
        return self.sha256


@dataclass(frozen=True)
class Remeasure:
    """What is not on record of a file.

    Args:
        file: The file.
        known: Names of what is on record and holds on every device.
        data: Data and splits.
        profiles: Where to time it.
        qualities: What of its scores is told.
        teacher: Whom a metric may compare it with.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.MEASURE
    revision: ClassVar[int] = 1
    file: KnownFile
    known: tuple[str, ...]
    data: Dataset
    profiles: tuple[HardwareProfile, ...]
    qualities: tuple[Quality, ...]
    teacher: Answers | None

    def read(self, raw: Mapping[str, Any]) -> Costs:
        return Costs.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Costs:
        """Costs on the profiles, and quality that the other study did not ask for, as measurements."""
        costs = file_costs(self.file.path, self.profiles, tools.meter)
        found: list[Measurement] = [m for m in costs if m.name not in self.known]
        missing = [q.name for q in self.qualities if q.name not in self.known]
        if missing:
            index = self.data.splits.validation
            with tools.pace():
                scores = file_scores(self.file.path, np.asarray(self.data.inputs[index]))
            said = self.teacher.load() if self.teacher is not None else None
            found += qualities(missing, scores, np.asarray(self.data.targets[index]), said)
        return Costs(tuple(found))
