"""What a candidate costs before it is trained, for as little work as a decision needs.

The candidate is sketched (:mod:`autokd.deployment.sketch`), not exported. What needs no clock refuses first: size, parameters,
multiply-accumulates. Then a brief timing tells the clear cases apart; only near a limit a longer one follows. An int8 candidate,
whose file is the fastest of several plans, is a race (:mod:`autokd.evaluation.screening.int8_race`). A student
that cannot be sketched is exported, as it would be after training.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from autokd.compression.fold import absorbs_identity
from autokd.compression.plans import GAINS, INT8_GAIN
from autokd.compression.pruning import default_groups, shares, width_left
from autokd.config.objectives import Constraint
from autokd.config.plan import Plan
from autokd.deployment.sketch import CannotSketch, Sketch, sketch
from autokd.effort import QUICK
from autokd.evaluation.costs import static_costs, timed_costs
from autokd.evaluation.parts import Parts
from autokd.evaluation.screening.exported import exported_costs
from autokd.evaluation.screening.int8_race import Int8Race
from autokd.evaluation.screening.verdict import Verdict
from autokd.evaluation.work import Params, clock_profile, ratios
from autokd.hardware.profile import HardwareProfile
from autokd.students.build import prune_groups
from autokd.trial import Measurement


def screen(
    folder: Path,
    parts: Parts,
    shape: Params,
    pruning: Params,
    bits: int,
    limits: Sequence[Constraint] = (),
    profiles: Sequence[HardwareProfile] | None = None,
    outline: nn.Module | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """The stage: a candidate's costs, as far as they are needed to see whether it fits.

    Args:
        folder: Where files are for a while.
        parts: The study's parts.
        shape: The parameters of the build stage.
        pruning: Those of the prune stage.
        bits: 32 or 8.
        limits: What must hold; what comes after the first clear violation is not looked at. Without limits everything is.
        profiles: Where to time; by default all of the study's.
        outline: The student's shapes, where somebody has them already.
        whole: Of an int8 candidate every plan is timed although a limit is met: what it costs is compared with others.
    """
    wanted = parts.plan.profiles if profiles is None else profiles
    family = parts.plan.space.family
    try:
        with parts.pace():
            drawn = draw(parts, outline or parts.outline(family, shape), pruning)
        found = Screening(Verdict(parts, folder, limits, whole), wanted).costs(drawn, bits)
        how = "sketch"
    except CannotSketch as reason:
        with parts.pace():
            student = parts.build(family, shape)
        found = exported_costs(folder, parts, student, pruning, bits, wanted)
        how = f"export: {reason}"
    finally:
        for left_over in folder.glob("*.onnx"):
            left_over.unlink()
    return {"measurements": [asdict(m) for m in found], "how": how}


def screen_reads(
    plan: Plan,
    pruning: Params,
    bits: int,
    limits: Sequence[Constraint] = (),
    profiles: Sequence[HardwareProfile] | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """What the costs of an untrained candidate depend on beside its shape."""
    wanted = plan.profiles if profiles is None else profiles
    return {
        "prune": ratios(pruning),
        "bits": bits,
        "profiles": [asdict(p) for p in wanted],
        "limits": [str(c) for c in limits],
        **({"whole": True} if whole else {}),
        **({"bounds": [INT8_GAIN, *GAINS]} if bits == 8 and limits else {}),
    }


def sketch_costs(
    parts: Parts,
    student: Params | nn.Module,
    pruning: Params | None = None,
    bits: int = 32,
    profiles: Sequence[str] | None = None,
    quick: bool = False,
    only: str = "",
) -> dict[str, Measurement]:
    """What a student that nobody has trained costs, in some 20 ms (int8: so much for each plan): to choose among variants.

    Args:
        parts: The study's parts.
        student: Parameters of the build stage, or a module that reads raw input; a restored one brings its pruned widths.
        pruning: ``{"prune_1": 0.25}``: channels to cut, beside what the module has lost.
        bits: 32 or 8, which is the fastest plan.
        profiles: Names of the profiles to time on; by default all of the study's, empty for none.
        quick: Time longer, as before a verdict.
        only: The int8 plan to look at, where it is known which is the fastest.

    Returns:
        Measurements by name; the latency's ``extra["timing"]`` is ``"brief"`` or ``"quick"``.

    Raises:
        StageFailure: It cannot be exported or timed.
        ConfigError: The family refuses a parameter.
    """
    cuts: Params = pruning or {}
    wanted = [p for p in parts.plan.profiles if profiles is None or p.name in profiles]
    with tempfile.TemporaryDirectory(prefix="autokd-") as name:
        try:
            with parts.pace():
                module = student if isinstance(student, nn.Module) else parts.outline(parts.plan.space.family, student)
                drawn = draw(parts, module, cuts)
            found = Screening(Verdict(parts, Path(name)), wanted, quick=quick, only=only).costs(drawn, bits)
        except CannotSketch:
            with parts.pace():
                module = (
                    copy.deepcopy(student)
                    if isinstance(student, nn.Module)
                    else parts.build(parts.plan.space.family, student)
                )
            found = exported_costs(Path(name), parts, module, cuts, bits, wanted)
    return {m.name: m for m in found}


def draw(parts: Parts, module: nn.Module, pruning: Params) -> Sketch:
    """The sketch of a student, cut and with its residuals folded as its exported file would be.

    Raises:
        CannotSketch: Only the exporter can express it.
        StageFailure: The pruning names an unknown group.
    """
    left = None
    asked = ratios(pruning)
    if any(asked.values()):
        share = shares(prune_groups(module) or default_groups(module), asked)

        def left(layers: Sequence[nn.Module], channels: int) -> int:
            return width_left(share, layers, channels)

    data, family = parts.dataset, parts.plan.space.family
    return sketch(module, data.spec, data.classes, name=family, left=left, absorbs=absorbs_identity)


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
        clock = next(p for p in self.verdict.parts.plan.profiles if p.name == clock_profile(self.verdict.parts.plan))
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
        memory = ("peak_memory_bytes", profile.name)
        plan = self.verdict.parts.plan
        named = {(c.metric, c.profile) for c in plan.constraints}
        remembers = memory in named | (
            {(o.metric, o.profile) for o in plan.objectives} if self.verdict.whole else set()
        )
        near = bool(self.verdict.limits_of("latency_ms", profile)) and not (
            self.verdict.clearly(True, brief) or self.verdict.clearly(False, brief)
        )
        if self.quick or near or (remembers and not self.verdict.clearly(False, brief)):
            timed = self.verdict.parts.meter.measure(file, profile.name, QUICK)
            return timed_costs(timed, profile, timing="quick", **extra)
        return [
            Measurement(brief.metric, brief.value, brief.unit, brief.profile, brief.spread, {**brief.extra, **extra})
        ]
