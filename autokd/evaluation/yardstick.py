"""What costs are held against where there is no teacher: the dearest of the family's own shapes, timed untrained."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autokd.config.plan import Plan
from autokd.config.roots import family_roots
from autokd.errors import StageFailure, StudyError
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


@dataclass(frozen=True)
class Yardstick:
    """An untrained shape and its costs as a float32 file.

    Args:
        name: For people.
        params: The shape, as a candidate of the space.
        measurements: Size, operations, parameters, and latency on every profile.
    """

    name: str
    params: Mapping[str, ParamValue]
    measurements: tuple[Measurement, ...]


def dearest_root(plan: Plan, dataset: Dataset, meter: LatencyMeter, quiet: Quiet) -> Yardstick:
    """The dearest of the shapes that a ladder would begin with, by the study's first cost.

    Fixed before the first trial, it takes the teacher's place in the hypervolume's reference point.

    Raises:
        StudyError: None of them can be built, exported and timed.
    """
    first = next((o.name for o in plan.objectives if o.scale == "log"), "macs")
    spec, classes = dataset.spec, len(dataset.classes)
    known = family_key(plan.space.family, spec, classes)
    found: list[Yardstick] = []
    reason = "none is named"
    for params in family_roots(plan):
        shape = plan.space.of_stage(Stage.BUILD, params)
        blueprint = Blueprint(plan.space.family, shape, spec, classes, plan.config.search_seed, known)
        screen = Screen(
            blueprint, Cutting({}), 32, dataset, plan.profiles, clock_of(plan), remembered=remembered(plan, False)
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                costs = screen.work(Path(folder), Tools(quiet.working, meter), None)
        except StageFailure as error:
            reason = str(error)
            continue
        found.append(Yardstick(f"dearest root of {plan.space.family}, untrained", params, costs.measurements))
    if not found:
        raise StudyError("at least one of the family's roots must build, export and be timed", reason)

    def cost(root: Yardstick) -> float:
        values = {m.name: m.value for m in root.measurements}
        with suppress(KeyError):
            return values[first]
        return values["macs"]

    return max(found, key=cost)
