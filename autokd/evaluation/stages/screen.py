"""Screen: what a candidate costs before it is trained, as far as is needed to see whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autokd import trial
from autokd.config.objectives import Constraint
from autokd.deployment.sketch import CannotSketch
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.screening.exported import exported_costs
from autokd.evaluation.screening.screen import Screening, draw
from autokd.evaluation.screening.verdict import Verdict
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.results import Costs
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Dataset
from autokd.students.blueprint import Blueprint


@dataclass(frozen=True)
class Screen:
    """The costs of an untrained candidate.

    Args:
        blueprint: The student.
        cutting: What the prune stage would take away.
        bits: 32 or 8.
        data: Calibrates a student that cannot be sketched.
        profiles: Where to time.
        clock: The profile whose clock chooses among int8 plans.
        limits: What must hold; what comes after the first clear violation is not looked at. Without limits everything is.
        remembered: Metric and profile of what is looked at where a timing could do without it.
        whole: Of an int8 candidate every plan is timed although a limit is met: what it costs is compared with others.
        bounds: What no int8 plan gains more than, where limits ask.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.SCREEN
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    cutting: Cutting
    bits: int
    data: Dataset
    profiles: tuple[HardwareProfile, ...]
    clock: HardwareProfile
    limits: tuple[Constraint, ...] = ()
    remembered: frozenset[tuple[str, str | None]] = frozenset()
    whole: bool = False
    bounds: tuple[float, ...] = ()

    def read(self, raw: Mapping[str, Any]) -> Costs:
        return Costs.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Costs:
        """Its costs as measurements, and how they were found out."""
        bench = Bench(self.data, self.clock, self.remembered, tools.meter, tools.pace)
        try:
            with tools.pace():
                drawn = draw(bench, self.blueprint.family, self.blueprint.outline, self.cutting.ratios)
            verdict = Verdict(bench, folder, self.limits, self.whole)
            found = Screening(verdict, self.profiles).costs(drawn, self.bits)
            how = "sketch"
        except CannotSketch as reason:
            with tools.pace():
                student = self.blueprint.build()
            family, ratios = self.blueprint.family, self.cutting.ratios
            found = exported_costs(folder, bench, family, student, ratios, self.bits, self.profiles)
            how = f"export: {reason}"
        finally:
            for left_over in folder.glob("*.onnx"):
                left_over.unlink()
        return Costs(tuple(found), how)
