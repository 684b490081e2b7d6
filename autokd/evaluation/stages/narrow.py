"""Narrow: a step down a ladder; cuts chosen by measurement, then tuned with the teacher."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from autokd import trial
from autokd.config.objectives import Objective
from autokd.evaluation.narrow import Narrower
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.stages.build import restore
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.evaluation.stages.training import Training
from autokd.hardware.profile import HardwareProfile
from autokd.students.blueprint import Blueprint


@dataclass(frozen=True)
class Narrow:
    """A trained student made smaller where it hurts least for the time it saves.

    Args:
        blueprint: The student.
        training: Tunes it afterwards; its data score the cuts.
        keep: Share of the cost that it keeps.
        cost: The objective whose value is brought down.
        profiles: Where it is timed; none for a cost without a clock.
        clock: The profile whose clock chooses among int8 plans.
        plan: The int8 plan that its parent shipped with, "" for float.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.PRUNE
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    training: Training
    keep: float
    cost: Objective
    profiles: tuple[HardwareProfile, ...]
    clock: HardwareProfile
    plan: str = ""

    def read(self, raw: Mapping[str, Any]) -> Trained:
        return Trained.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Trained:
        """As of a training, with the new shape, the cuts, the cost before and after, and all cuts since the root.

        Raises:
            Infeasible: Nothing can be cut that saves anything.
        """
        assert parent is not None
        began = time.process_time()
        bench = Bench(
            self.training.data, self.clock, frozenset({(self.cost.metric, self.cost.profile)}), tools.meter, tools.pace
        )
        narrower = Narrower(bench, self.blueprint, self.profiles, self.cost, self.plan)
        cut, cuts, before = narrower.narrow(restore(self.blueprint, parent), self.keep)
        looked_s = time.process_time() - began
        tools.note(samples=0, of=self.training.teaching.recipe.samples, began_training=True)
        done = self.training.run(folder, tools, cut.model, cut.blueprint, parent.value.seen_in_all)
        return replace(
            done,
            cpu_s=done.cpu_s + looked_s,
            looked_s=looked_s,
            shape=dict(cut.blueprint.shape),
            cuts=tuple(cuts),
            history=(*parent.value.history, *cuts),
            cost_before=before,
            cost_after=cut.cost,
        )
