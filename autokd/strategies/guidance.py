"""What the driver tells a ``frontier`` sampler beside the ledger: free facts, exact objectives, what the hypervolume counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from autokd.config.objectives import Constraint, Objective
from autokd.config.plan import Plan
from autokd.pareto import least_useful
from autokd.samplers import FrontierSampler
from autokd.samplers.declared import Declared
from autokd.samplers.threads import one_thread
from autokd.storage.ledger import record_of
from autokd.strategies.monitors import empty_gate, show
from autokd.trial import TRAINING, TrialRecord

if TYPE_CHECKING:
    from autokd.evaluation.screening.free_facts import Features
    from autokd.samplers.interpolated import Interpolated


class Guidance:
    """Informs a frontier sampler before its first proposal, and tells it when the free proxy earns its keep.

    Parameters, multiply-accumulates and, where nothing is quantized, the file's size follow from a candidate's sketch: as
    objectives and constraints they are known, not modelled. Their logarithms are features of everything else. Latency is not
    among what is known: timing a sketch takes 40 to 200 ms, and a pool has hundreds. The sampler's own model of it, from
    timed trials over these features, comes within a few percent. What a trial takes is modelled too, from the CPU seconds of
    the finished ones, and what counts is the improvement per second.

    Args:
        plan: The plan.
        home: The study's folder, prepared; without a set-up only the measure is told.
        reference_point: Of the study's hypervolume.
    """

    def __init__(self, plan: Plan, home: Path, reference_point: Sequence[float] | None) -> None:
        self.plan, self.home, self.reference_point = plan, home, reference_point
        self.gate = empty_gate(plan.objectives)
        self._informed: FrontierSampler | None = None
        self._features: Features | None = None
        self._seconds: dict[int, float | None] = {}
        self._best: dict[str, float] = {}
        self._measures = False

    def observe(self, record: TrialRecord) -> None:
        """A measured student, of this study or taken over from another one; the gate is shown what was trained here."""
        if not record.violations:
            for objective in self.plan.objectives:
                value = record.value(objective.name)
                if objective.scale == "linear" and objective.direction == "maximize" and value is not None:
                    self._best[objective.name] = max(value, self._best.get(objective.name, -math.inf))
        if not record.retimed:
            show(self.gate, self.plan.objectives, record)

    def inform(self, sampler: BaseSampler) -> None:
        """Bring a frontier sampler up to date; others are left as they are."""
        if not isinstance(sampler, FrontierSampler):
            return
        if self._informed is not sampler:
            self._informed = sampler
            self._begin(sampler)
        if self._features is not None and self._features.proxy != self.gate.informative:
            changed = replace(self._features, proxy=self.gate.informative)
            self._features = sampler.features = changed
        if self._measures:
            sampler.reference_point = self._useful()

    def _useful(self) -> list[float] | None:
        """The reference point, but for qualities that nobody stated: of them no better than a student that is of use."""
        if self.reference_point is None:
            return None
        stated = self.plan.config.reference_point
        return [
            least_useful(self._best[o.name], value) if o.name in self._best and o.name not in stated else value
            for o, value in zip(self.plan.objectives, self.reference_point, strict=True)
        ]

    def _begin(self, sampler: FrontierSampler) -> None:
        from autokd.evaluation.screening.free_facts import Features

        plan = self.plan
        self._measures = sampler.reference_point is None
        measure: dict[str, Any] = {
            "scales": plan.scales,
            "reference_point": self.reference_point,
            "spent": self._spent,
        }
        if any(p.when for p in plan.space.parameters):
            measure["complete"] = Declared(plan.space)
        facts = self._facts()
        if facts is None:
            sampler.informed(**measure)
            return
        features = Features(facts, self.gate.informative)
        sampler.informed(known=self._known(facts), features=features, **measure)
        own = sampler.features is not features  # a person's sampler may have its own
        self._features = None if own else features

    def _spent(self, trial: FrozenTrial) -> float | None:
        """CPU seconds of a finished trial; ``None`` where a part of its training was not paid by it."""
        if trial.number not in self._seconds:
            record = record_of(trial)
            self._seconds[trial.number] = None if record is None or not _whole(record) else record.cpu_s
        return self._seconds[trial.number]

    def _facts(self) -> Interpolated | None:
        """The free facts; ``None`` before the study is prepared, and for a family that cannot be sketched."""
        from autokd.evaluation.parts import SETUP, Parts
        from autokd.evaluation.screening.free_facts import interpolated_facts

        if not (self.home / SETUP).is_file():
            return None
        with one_thread():
            facts = interpolated_facts(Parts.open(self.home))
            return facts if facts.usable else None

    def _known(self, facts: Interpolated) -> dict[int | str, Callable[[dict[str, Any]], float]]:
        from autokd.evaluation.screening.free_facts import Known

        found: dict[int | str, Callable[[dict[str, Any]], float]] = {}
        for place, objective in enumerate(self.plan.objectives):
            if self._exact(objective):
                found[place] = Known(facts, objective.metric)
        for constraint in self.plan.constraints:
            if self._exact(constraint):
                found[str(constraint)] = Known(facts, constraint.metric, constraint.violation)
        return found

    def _exact(self, goal: Objective | Constraint) -> bool:
        """Whether a sketch tells it: an int8 file's size depends on which of its plans is fastest."""
        from autokd.config.space import allowed_bits

        if goal.metric == "size_bytes":
            return allowed_bits(self.plan.space) == {32}
        return goal.metric in ("params", "macs")


def _whole(record: TrialRecord) -> bool:
    """Whether a trial paid for all of its training."""
    cached = any(s.cached for s in record.stages if s.stage in TRAINING)
    return not cached and not record.retimed and record.continues is None
