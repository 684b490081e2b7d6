"""Quantize: static int8, the fastest of a few operator plans by the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autokd import trial
from autokd.compression.quantization import quantize as quantize_file
from autokd.config.plan import Plan
from autokd.evaluation.stages.results import Package
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.hardware.comparison import compare
from autokd.hardware.profile import HardwareProfile
from autokd.protocols import Dataset, Meter

SAVES = 0.97
"""An int8 file is taken for faster below this share of the float file's time: two timings differ by a percent or two."""


@dataclass(frozen=True)
class Quantize:
    """The int8 file of an exported student.

    Args:
        data: Calibrates.
        clock: The profile that it must be fast on.
        plan: The one operator plan to make; ``None``: the fastest of all.
        against: Time the float file beside, in ``float_ms``.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.QUANTIZE
    revision: ClassVar[int] = 1
    data: Dataset
    clock: HardwareProfile
    plan: str | None = None
    against: bool = False

    def read(self, raw: Mapping[str, Any]) -> Package:
        return Package.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Package:
        """The file's name, hash, size and opset; the plan, and every plan's time in milliseconds."""
        assert parent is not None
        source = parent.folder / parent.value.file
        samples = np.asarray(self.data.inputs[self.data.splits.calibration])
        beside = [source] if self.against else []
        done = quantize_file(
            source, samples, folder / "student.onnx", comparison(tools.meter, self.clock), self.plan, beside
        )
        return Package(
            "student.onnx",
            done.sha256,
            done.size_bytes,
            parent.value.opset,
            done.plan,
            dict(done.timings_ms),
            done.beside_ms[0] if self.against else None,
        )


def clock_of(plan: Plan) -> HardwareProfile:
    """The profile of the first latency objective: what int8 must be fast on."""
    names = [o.profile for o in plan.objectives if o.metric == "latency_ms"]
    wanted = names[0] if names and names[0] else plan.profiles[0].name
    return next(p for p in plan.profiles if p.name == wanted)


def comparison(meter: Meter, clock: HardwareProfile) -> Callable[[Sequence[Path], Sequence[Path]], list[float]]:
    """Times files against each other on a profile."""
    return partial(compare, meter, profile=clock.name)


def worth_quantizing(plan: Plan, package: Package, small: Package) -> bool:
    """Whether the int8 file is cheaper than the float one in the first cost among the objectives."""
    cost = next((o.metric for o in plan.objectives if o.scale == "log"), "size_bytes")
    if cost == "latency_ms":
        return small.float_ms is not None and small.timings_ms[small.plan] < SAVES * small.float_ms
    return cost == "size_bytes" and small.size_bytes < package.size_bytes
