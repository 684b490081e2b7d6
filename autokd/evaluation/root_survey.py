"""What is known of the family's own shapes before any is trained: their costs, and how fast each learns.

The dearest of them is also what costs are held against where there is no teacher.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from autokd.config.plan import Plan
from autokd.config.roots import family_roots
from autokd.config.space import allowed_bits
from autokd.distillation.contexts import channels_last, seeded
from autokd.errors import StageFailure, StudyError
from autokd.evaluation.parts import blueprint_of
from autokd.evaluation.screening.verdict import remembered
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.quantize import clock_of
from autokd.evaluation.stages.screen import Screen
from autokd.evaluation.stages.stage import Tools
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.turnstile import Quiet
from autokd.protocols import Dataset
from autokd.students.blueprint import Blueprint
from autokd.students.build import family_key
from autokd.trial import Measurement, ParamValue, Stage

SAMPLES, STEPS, ENOUGH_S = 64, 3, 0.5
"""Of the short look at how fast a root learns; the first step pays for what is loaded once, unless it alone takes long."""


@dataclass(frozen=True)
class Surveyed:
    """An untrained root.

    Args:
        name: For people.
        params: Its shape, as a candidate of the space.
        measurements: Size, operations, parameters, and latency on every profile, of its float32 file.
        costs: The same by name, of whichever of its files the space allows is faster, float32 or int8.
        train_s: CPU seconds of a training step, a sample.
    """

    name: str
    params: Mapping[str, ParamValue]
    measurements: tuple[Measurement, ...]
    costs: Mapping[str, float]
    train_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the ledger."""
        return {**asdict(self), "measurements": [asdict(m) for m in self.measurements]}


def survey(plan: Plan, dataset: Dataset, meter: LatencyMeter, quiet: Quiet) -> list[Surveyed]:
    """Every root of the study's family that can be built, exported and timed, as the family orders them.

    Raises:
        StudyError: None of them can.
    """
    known = family_key(plan.space.family, dataset.spec, len(dataset.classes))
    found: list[Surveyed] = []
    reason = "none is named"
    for params in family_roots(plan):
        shape = plan.space.of_stage(Stage.BUILD, params)
        blueprint = blueprint_of(plan, dataset, shape, known)
        try:
            measured = _costs(plan, dataset, blueprint, 32, Tools(quiet.working, meter))
            costs = {m.name: m.value for m in measured}
            if 8 in allowed_bits(plan.space):
                for m in _costs(plan, dataset, blueprint, 8, Tools(quiet.working, meter)):
                    costs[m.name] = min(m.value, costs.get(m.name, m.value))
            with quiet.working():
                train_s = _train_s(blueprint, dataset)
        except StageFailure as error:
            reason = str(error)
            continue
        found.append(Surveyed(f"root of {plan.space.family}, untrained", params, measured, costs, train_s))
    if not found:
        raise StudyError("at least one of the family's roots must build, export and be timed", reason)
    return found


def dearest(plan: Plan, found: list[Surveyed]) -> Surveyed:
    """The dearest by the study's first cost: it takes the teacher's place in the hypervolume's reference point."""
    first = next((o.name for o in plan.objectives if o.scale == "log"), "macs")

    def cost(root: Surveyed) -> float:
        values = {m.name: m.value for m in root.measurements}
        return values.get(first, values["macs"])

    return max(found, key=cost)


def _costs(plan: Plan, dataset: Dataset, blueprint: Blueprint, bits: int, tools: Tools) -> tuple[Measurement, ...]:
    clock, known = clock_of(plan), remembered(plan, False)
    screen = Screen(blueprint, Cutting({}), bits, dataset, plan.profiles, clock, remembered=known)
    with tempfile.TemporaryDirectory() as folder:
        return screen.work(Path(folder), tools, None).measurements


def _train_s(blueprint: Blueprint, dataset: Dataset) -> float:
    """CPU seconds of one sample in a training step, the optimizer's part left out."""
    index = dataset.splits.train[:SAMPLES]
    inputs = torch.from_numpy(np.array(dataset.inputs[index]))
    targets = torch.from_numpy(np.asarray(dataset.targets[index], dtype=np.int64))
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    times = []
    with seeded(0, "cpu"), channels_last(student := blueprint.build(), "cpu"):
        student.train()
        for _ in range(STEPS):
            began = time.process_time()
            F.cross_entropy(student(inputs), targets).backward()
            times.append(time.process_time() - began)
            if times[-1] > ENOUGH_S:
                break
    return min(times) / len(index)
