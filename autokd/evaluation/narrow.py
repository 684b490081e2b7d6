"""One step down a ladder: a trained student made smaller where it hurts least for the time it saves.

Which part to cut is decided by measurement: a few variants (fewer channels in one group, a block less, fewer pixels) are timed
before any is trained, and those that save time are scored by what the cut alone costs on training samples, per logarithm of
cost saved. Cutting a little and training again, several times over: S. Han, J. Pool, J. Tran & W. Dally, "Learning both Weights and
Connections for Efficient Neural Networks", NIPS 2015, https://arxiv.org/abs/1506.02626; here whole channels, and with a teacher.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn

from autokd import registry
from autokd.compression.importance import L1
from autokd.compression.layers import NORMS
from autokd.compression.pruning import default_groups, shrink_to
from autokd.config.objectives import Objective
from autokd.errors import Infeasible
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.screening.sketching import sketch_costs
from autokd.evaluation.stages.prune import cut_channels
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Shortens
from autokd.students.blueprint import Blueprint
from autokd.students.build import prune_groups
from autokd.trial import Cut, ParamValue, Violation

Params = Mapping[str, ParamValue]
RATIOS = (0.25, 0.5)
"""Shares of a group's channels that a variant cuts."""
SCORED = 5
"""Of the variants that save time so many are built and scored."""
LEAST_GAIN = 0.03
"""A variant must save so much of the logarithm of the cost: less is within the timing's noise of nothing."""
CUTS = 4
"""A step is at most so many cuts."""
HARSH = 3.0
"""A further cut that harms so many times more for what it saves than the cuts before it waits until the student is tuned."""
PIXELS, LOST = "resolution", 3.0
"""A cut of this parameter counts so many times its harm: tuning brings back what channels did, not what pixels told. Students that
were halved in resolution stayed 5 to 7 points behind after tuning, those that lost channels for as much time 1 to 3."""
SLACK = 0.04
"""The aim counts as reached this close to it, in the logarithm of the cost."""
SAMPLES, SETTLING, BATCH = 512, 256, 128
"""Training samples that score a variant, and those that settle its batch norms first; so many at a time stay in the caches."""


@dataclass(frozen=True)
class Variant:
    """A smaller version of a student: ``ratios`` cuts channels by group, ``shape`` changes build parameters."""

    name: str
    ratios: Mapping[str, float]
    shape: Params

    def cuts(self, before: Params) -> list[Cut]:
        """What it takes from a student of the shape ``before``."""
        groups = {"all": max(self.ratios.values())} if len(self.ratios) > 1 else self.ratios
        channels = [Cut("channels", group, 1.0, 1.0 - ratio) for group, ratio in groups.items()]
        return channels + [Cut("shape", name, before.get(name), value) for name, value in self.shape.items()]


@dataclass
class Narrowed:
    """A variant that was built and timed.

    Args:
        model: With the weights it inherits.
        blueprint: Its shape.
        cost: Value of the cost objective.
        variant: What was done.
        loss: Cross-entropy on training samples, in nats.
    """

    model: nn.Module
    blueprint: Blueprint
    cost: float
    variant: Variant
    loss: float = math.inf


class Narrower:
    """Finds the cuts of one step.

    Args:
        bench: What students are sketched for and timed with.
        blueprint: The student to be narrowed.
        profiles: Where it is timed.
        cost: The objective whose value is brought down.
        plan: The int8 plan that the student ships with, "" for float: what a cut saves in float is not what it saves in int8.
    """

    def __init__(
        self, bench: Bench, blueprint: Blueprint, profiles: Sequence[HardwareProfile], cost: Objective, plan: str = ""
    ) -> None:
        self.bench, self.blueprint, self.profiles, self.cost, self.plan = bench, blueprint, profiles, cost.name, plan

    def narrow(self, model: nn.Module, keep: float) -> tuple[Narrowed, list[Cut], float]:
        """The student after cuts that bring its cost to about ``keep`` of what it was.

        Returns:
            The smaller student, the cuts in order, and the cost of the whole one.

        Raises:
            Infeasible: No variant saves anything.
        """
        now = Narrowed(model, self.blueprint, 0.0, Variant("", {}, {}), self.loss(copy.deepcopy(model)))
        before = now.cost = self.measure(model, now.variant)
        whole = now.loss
        done: list[Cut] = []
        steps = 0
        while steps < CUTS and math.log(before / now.cost) < math.log(1 / keep) - SLACK:
            best = self._best_cut(now, math.log(1 / keep) - math.log(before / now.cost))
            if best is None:
                break
            saved = math.log(before / now.cost)
            harm, average = self._harm(now, best), (now.loss - whole) / saved if done else 0.0
            if saved >= math.log(1 / keep) / 2 and harm > HARSH * max(average, 0.1):
                break  # half a step that is tuned first is better than a whole one that breaks the student
            done += best.variant.cuts(now.blueprint.shape)
            now, steps = best, steps + 1
        if not done:
            law = f"{self.cost} <= {keep:g} times the parent's"
            raise Infeasible((Violation(law, before, before * (1 - keep)),))
        return now, done, before

    def _best_cut(self, now: Narrowed, need: float) -> Narrowed | None:
        """The cut that harms least for what it saves; all are timed as sketches, those that suffice best are scored.

        Args:
            now: What is cut.
            need: Logarithm of cost that is to be saved yet.
        """
        savings = []
        for variant in self.variants(now):
            whole = self._reshaped(now, variant)
            cost = self.measure(whole, variant)
            saved = math.log(now.cost / cost)
            if saved >= LEAST_GAIN:
                savings.append((-min(saved, need), saved, cost, variant, whole))
        savings.sort(key=lambda s: s[:2])  # of those that save enough, the least cut first
        found = [self.apply(now, variant, whole, cost) for *_, cost, variant, whole in savings[:SCORED]]
        if not found:
            return None
        # what does no harm is judged by what it saves
        return min(found, key=lambda c: self._harm(now, c))

    def _harm(self, now: Narrowed, cut: Narrowed) -> float:
        """Nats that a cut costs for a logarithm of cost."""
        for_good = LOST if PIXELS in cut.variant.shape else 1.0
        return for_good * max(cut.loss - now.loss, 1e-3) / math.log(now.cost / cut.cost)

    def variants(self, now: Narrowed) -> list[Variant]:
        """Every smaller version worth a timing."""
        groups = prune_groups(now.model) or default_groups(now.model)
        found = [Variant(f"prune_{name} {ratio:g}", {name: ratio}, {}) for name in groups for ratio in RATIOS]
        found.append(Variant(f"prune all {RATIOS[0]:g}", dict.fromkeys(groups, RATIOS[0]), {}))
        family = registry.load("families", self.blueprint.family)
        family = family() if isinstance(family, type) else family
        if isinstance(family, Shortens):
            shorter = family.shorter(now.blueprint.shape, now.blueprint.spec)
            found += [Variant(name, {}, dict(change)) for name, change in shorter.items()]
        return found

    def _reshaped(self, now: Narrowed, variant: Variant) -> nn.Module:
        """The student in the variant's shape, channels not yet cut; a shape does not tell what its layers lost before."""
        if not variant.shape:
            return now.model
        with self.bench.pace():
            return inherit(_reshaped(now.blueprint, variant), now.model.state_dict())

    def apply(self, now: Narrowed, variant: Variant, whole: nn.Module, cost: float) -> Narrowed:
        """The variant with inherited weights, scored."""
        model = whole
        if variant.ratios:
            with self.bench.pace():
                model = copy.deepcopy(whole)
                cut_channels(model, self.bench.data, variant.ratios, L1())
        return Narrowed(model, _reshaped(now.blueprint, variant), cost, variant, self.loss(model))

    def measure(self, whole: nn.Module, variant: Variant) -> float:
        """The cost of a variant as it would ship, sketched and timed shortly where it is a time."""

        def ask(bits: int, only: str = "") -> float:
            family = self.blueprint.family
            costs = sketch_costs(self.bench, family, whole, variant.ratios, bits, self.profiles, only=only)
            return costs[self.cost].value

        found = ask(32)
        if self.plan:
            found = min(found, ask(8, self.plan))
        return found

    @cached_property
    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets that score variants: the first of the train split."""
        index = self.bench.data.splits.train[: SAMPLES + SETTLING]
        inputs = torch.from_numpy(np.ascontiguousarray(self.bench.data.inputs[index]))
        return inputs, torch.from_numpy(np.asarray(self.bench.data.targets[index])).long()

    def loss(self, model: nn.Module) -> float:
        """Cross-entropy in nats on the first training samples, batch norms settled first; changes the statistics."""
        inputs, targets = self.samples
        scored = len(inputs) * SAMPLES // (SAMPLES + SETTLING)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        norms = [m for m in model.modules() if isinstance(m, NORMS)]
        usual = [norm.momentum for norm in norms]
        with self.bench.pace(), torch.no_grad():
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain average of what comes
                norm.train()
            for settling in inputs[scored:].split(BATCH):
                model(settling)
            for norm, momentum in zip(norms, usual, strict=True):
                norm.momentum = momentum
                norm.eval()
            logits = torch.cat([model(batch) for batch in inputs[:scored].split(BATCH)])
            model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            return float(nn.functional.cross_entropy(logits, targets[:scored]))


def _reshaped(blueprint: Blueprint, variant: Variant) -> Blueprint:
    return replace(blueprint, shape={**blueprint.shape, **variant.shape}) if variant.shape else blueprint


def inherit(blueprint: Blueprint, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """A student of fewer blocks or pixels with the weights of a larger one, whose layers may have been cut."""
    model = blueprint.build()
    shrink_to(model, {name: state[name] for name in model.state_dict()})
    return model.eval()
