"""Whether a candidate fits: limits, and what a measurement with a spread says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autokd.config.objectives import Constraint
from autokd.config.plan import Plan
from autokd.effort import BRIEF, ROUGH
from autokd.evaluation.costs import timed_costs
from autokd.evaluation.screening.bench import Bench
from autokd.hardware.profile import HardwareProfile
from autokd.trial import Measurement

MARGIN = 0.10
"""A brief timing closer to a limit than this, relative, does not decide."""
SPREADS = 4
"""Nor one closer than so many of its own spreads."""


def known_limits(plan: Plan) -> list[Constraint]:
    """The constraints that can be checked before training."""
    return [c for c in plan.constraints if not c.needs_training]


def limited_profiles(plan: Plan) -> list[HardwareProfile]:
    """The profiles that some such constraint is about; halving compares given the objectives' costs, so theirs as well."""
    names = {c.profile for c in known_limits(plan)}
    if plan.config.search.stop_early != "none":
        names |= {o.profile for o in plan.objectives}
    return [p for p in plan.profiles if p.name in names]


@dataclass(frozen=True)
class Verdict:
    """What measurements, bounds and brief timings say about limits.

    Args:
        bench: Its meter times.
        folder: Where files are for a while.
        limits: What must hold; may be none.
        whole: Nothing is timed only as closely as the limits need it.
    """

    bench: Bench
    folder: Path
    limits: Sequence[Constraint] = ()
    whole: bool = False

    def brief(self, file: Path, profile: HardwareProfile, gain: float = 1.0) -> Measurement:
        """A timing that ends even earlier where the file is far above ``gain`` times a limit."""
        tops = [c.limit * gain for c in self.limits_of("latency_ms", profile) if c.op in ("<", "<=")]
        above_ms = (1 + 2 * MARGIN) * min(tops, default=0.0)
        timed = self.bench.meter.measure(
            file, profile.name, ROUGH if above_ms and not self.whole else BRIEF, above_ms=above_ms
        )
        return timed_costs(timed, profile, timing="brief")[0]

    def limits_of(self, metric: str, profile: HardwareProfile) -> list[Constraint]:
        return [c for c in self.limits if c.metric == metric and c.profile == profile.name]

    def clearly(self, holds: bool, measured: Measurement) -> bool:
        """Whether every limit on it is met, or some limit is not, whatever a longer timing would say."""
        margin = max(MARGIN, SPREADS * (measured.spread or 0.0))
        ends = (measured.value * (1 - margin), measured.value * (1 + margin))
        limits = [c for c in self.limits if c.name == measured.name]
        if holds:
            return all(c.holds(value) for c in limits for value in ends)
        return any(not c.holds(ends[0]) and not c.holds(ends[1]) for c in limits)

    def refuses(self, bound: Measurement) -> bool:
        """Whether a value that the truth can only exceed is clearly above a limit."""
        return self.above([bound]) and self.clearly(False, bound)

    def violated(self, found: Sequence[Measurement]) -> bool:
        values = {m.name: m.value for m in found}
        return any(not c.holds(values[c.name]) for c in self.limits if c.name in values)

    def above(self, bounds: Sequence[Measurement]) -> bool:
        """Whether even a value that the truth can only exceed is above a limit."""
        values = {m.name: m.value for m in bounds}
        return any(c.op in ("<", "<=") and not c.holds(values[c.name]) for c in self.limits if c.name in values)

    def write(self, name: str, data: bytes) -> Path:
        file = self.folder / f"{name}.onnx"
        file.write_bytes(data)
        return file


def remembered(plan: Plan, compared: bool) -> frozenset[tuple[str, str | None]]:
    """Metric and profile of constraints, and of objectives where candidates are ``compared``, that a timing could do without."""
    named = {(c.metric, c.profile) for c in plan.constraints}
    return frozenset(named | ({(o.metric, o.profile) for o in plan.objectives} if compared else set())) & {
        ("peak_memory_bytes", p.name) for p in plan.profiles
    }
