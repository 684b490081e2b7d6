"""What a candidate costs before it is trained, for as little work as a decision needs.

The candidate is sketched (:mod:`autokd.deployment.sketch`), not exported. What needs no clock refuses first: size, parameters,
multiply-accumulates. Then a brief timing tells the clear cases apart; only near a limit a longer one follows. An int8 candidate,
whose file is the fastest of several plans, is a race (:mod:`autokd.evaluation.screening.int8_race`). A student
that cannot be sketched is exported, as it would be after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from autokd.compression.fold import absorbs_identity
from autokd.compression.pruning import default_groups, shares, width_left
from autokd.deployment.sketch import Sketch, sketch
from autokd.effort import QUICK
from autokd.evaluation.costs import static_costs, timed_costs
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.screening.int8_race import Int8Race
from autokd.evaluation.screening.verdict import Verdict
from autokd.hardware.profile import HardwareProfile
from autokd.students.build import prune_groups
from autokd.trial import Measurement, ParamValue

Params = Mapping[str, ParamValue]


def draw(bench: Bench, family: str, module: nn.Module, ratios: Mapping[str, float]) -> Sketch:
    """The sketch of a student, cut and with its residuals folded as its exported file would be.

    Raises:
        CannotSketch: Only the exporter can express it.
        StageFailure: The pruning names an unknown group.
    """
    left = None
    if any(ratios.values()):
        share = shares(prune_groups(module) or default_groups(module), ratios)

        def left(layers: Sequence[nn.Module], channels: int) -> int:
            return width_left(share, layers, channels)

    return sketch(module, bench.data.spec, bench.data.classes, name=family, left=left, absorbs=absorbs_identity)


@dataclass(frozen=True)
class Screening:
    """The costs of one sketch.

    Args:
        verdict: What must hold; a clear violation ends it. Without limits all profiles and all plans are timed.
        profiles: Where to time.
        quick: Never rest with a brief timing.
        only: The one int8 plan to look at, where the net has it; "": all.
    """

    verdict: Verdict
    profiles: Sequence[HardwareProfile]
    quick: bool = False
    only: str = ""

    def costs(self, drawn: Sketch, bits: int) -> list[Measurement]:
        """In the order in which they were found out.

        Raises:
            CannotSketch: The runtime's quantizer refuses the sketch.
            StageFailure: It cannot be timed.
        """
        if bits == 8:
            return self._int8(drawn)
        found = static_costs(len(drawn.data), drawn.macs, drawn.params)
        if self.verdict.violated(found):
            return found
        file = self.verdict.write("float32", drawn.data)
        return found + self._timed(file, self.profiles)

    def _int8(self, drawn: Sketch) -> list[Measurement]:
        clock = self.verdict.bench.clock
        found = static_costs(drawn.params, drawn.macs, drawn.params, bound="a byte a parameter")
        if self.verdict.above(found):
            return found
        race = Int8Race(self.verdict, drawn, clock, self.only)
        size_open = False
        if not self.profiles or any(c.name == "size_bytes" for c in self.verdict.limits):
            smallest, largest = race.sizes()
            if self.verdict.above(smallest):
                return smallest
            size_open = self.verdict.violated(smallest) or self.verdict.violated(largest)
            if not self.profiles and not size_open:
                return smallest
        if self.verdict.limits_of("latency_ms", clock):
            bound = race.bound()
            if bound is not None:  # the bound on the size is none where a size is at least to be so much
                return [*(m for m in found if m.name != "size_bytes"), bound]
        plan, brief = race.fastest(stop=not size_open and not self.verdict.whole)
        found = race.counted(plan)
        if self.verdict.violated(found):
            return found
        others = [p for p in self.profiles if p.name != clock.name]
        own = self._settled(self.verdict.folder / f"{plan}.onnx", clock, brief, plan=plan)
        if self.verdict.violated(own):
            return found + own
        return found + own + self._timed(self.verdict.folder / f"{plan}.onnx", others, plan=plan)

    def _timed(self, file: Path, profiles: Sequence[HardwareProfile], **extra: Any) -> list[Measurement]:
        """Profile after profile, up to the first violation."""
        found: list[Measurement] = []
        for profile in profiles:
            found += self._settled(file, profile, self.verdict.brief(file, profile), **extra)
            if self.verdict.violated(found):
                break
        return found

    def _settled(self, file: Path, profile: HardwareProfile, brief: Measurement, **extra: Any) -> list[Measurement]:
        """The brief timing where it decides, else a quick one, which looks at the memory too."""
        remembers = ("peak_memory_bytes", profile.name) in self.verdict.bench.remembered
        near = bool(self.verdict.limits_of("latency_ms", profile)) and not (
            self.verdict.clearly(True, brief) or self.verdict.clearly(False, brief)
        )
        if self.quick or near or (remembers and not self.verdict.clearly(False, brief)):
            timed = self.verdict.bench.meter.measure(file, profile.name, QUICK)
            return timed_costs(timed, profile, timing="quick", **extra)
        return [
            Measurement(brief.metric, brief.value, brief.unit, brief.profile, brief.spread, {**brief.extra, **extra})
        ]
