"""The fastest of an int8 candidate's files, of which no more are made and timed than the limits need.

The float32 sketch is timed first, then one plan after another: where what was timed is slower than the plans to come could ever
make up for, they are not made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from autokd.compression.int8_sketch import Int8Sketches
from autokd.compression.plans import GAINS, INT8_GAIN, ORDER
from autokd.compression.quantization import TIE
from autokd.deployment.sketch import CannotSketch, Sketch
from autokd.effort import ROUGHLY
from autokd.evaluation.costs import static_costs
from autokd.evaluation.screening.verdict import Verdict
from autokd.hardware.comparison import compare
from autokd.hardware.profile import HardwareProfile
from autokd.trial import Measurement


@dataclass
class Int8Race:
    """The plans of one sketch.

    Args:
        verdict: Times, writes and knows the limits.
        drawn: The float32 sketch.
        clock: The profile on which plans are compared.
        only: The one plan to look at, where the net has it; "": all.

    Raises:
        CannotSketch: The runtime's quantizer refuses the sketch, or finds nothing to quantize; by whatever asks for a plan first.
    """

    verdict: Verdict
    drawn: Sketch
    clock: HardwareProfile
    only: str = ""
    timings: dict[str, Measurement] = field(default_factory=dict)

    @cached_property
    def _files(self) -> Int8Sketches:
        return Int8Sketches(self.drawn.model, self.drawn.types)

    @cached_property
    def order(self) -> list[str]:
        """The plans, those that win most often first."""
        with self._quantizing():
            names = self._files.plans
        if not names:
            raise CannotSketch("nothing to quantize")  # the long way says so in its own words
        return [self.only] if self.only in names else sorted(names, key=ORDER.index)

    def file(self, plan: str) -> bytes:
        """A plan's file."""
        with self._quantizing():
            return self._files[plan]

    def sizes(self) -> tuple[list[Measurement], list[Measurement]]:
        """What needs no clock, of the smallest and of the largest plan's file."""
        by_size = sorted(self.order, key=lambda plan: len(self.file(plan)))
        return self.counted(by_size[0]), self.counted(by_size[-1])

    def counted(self, plan: str) -> list[Measurement]:
        """What needs no clock, of a plan's file."""
        return static_costs(len(self.file(plan)), self.drawn.macs, self.drawn.params, plan=plan)

    def bound(self) -> Measurement | None:
        """A latency that no plan goes below and that is clearly above a limit; ``None`` where no such thing is found."""
        judge = self.verdict
        # Behind the first plan it only matters whether it is above that plan's bound: a few blocks of calls are enough.
        first = fastest = judge.brief(judge.write("float32", self.drawn.data), self.clock, GAINS[0])
        bound = _divided(first, INT8_GAIN, first)
        if judge.refuses(bound):
            return bound
        for plan, gain in zip(self.order[:-1], GAINS, strict=False):  # behind the last nothing is open
            timed = self._time(plan, gain)
            if judge.clearly(True, timed):
                return None
            fastest = min(fastest, timed, key=lambda m: m.value)
            bound = _divided(fastest, gain, first)
            if judge.refuses(bound):
                return bound
        return None

    def fastest(self, stop: bool) -> tuple[str, Measurement]:
        """The fastest plan, the smaller one where two are about as fast, and its brief timing.

        Args:
            stop: Go no further than to the first plan that clearly meets the limits, where there are any.
        """
        judge = self.verdict
        limited, clear = bool(judge.limits_of("latency_ms", self.clock)), False
        for plan in self.order:
            timed = self._time(plan)
            clear = stop and limited and judge.clearly(True, timed)
            if clear:
                break
        found = {plan: m.value for plan, m in self.timings.items()}
        near = [plan for plan, ms in found.items() if ms <= min(found.values()) * (1 + ROUGHLY)]
        if (
            limited and not (clear or judge.whole) and len(near) > 1
        ):  # timed for the limits alone, too roughly to choose by
            files = [judge.folder / f"{plan}.onnx" for plan in near]
            found = dict(zip(near, compare(judge.bench.meter, files, profile=self.clock.name), strict=True))
        most = min(found.values()) * TIE
        best = min((plan for plan, ms in found.items() if ms <= most), key=lambda p: len(self.file(p)))
        return best, self.timings[best]

    def _time(self, plan: str, gain: float = 1.0) -> Measurement:
        if plan not in self.timings:
            self.timings[plan] = self.verdict.brief(self.verdict.write(plan, self.file(plan)), self.clock, gain)
        return self.timings[plan]

    @contextlib.contextmanager
    def _quantizing(self) -> Iterator[None]:
        with self.verdict.bench.pace():
            try:
                yield
            except Exception as error:  # the quantizer raises whatever comes
                raise CannotSketch(f"{type(error).__name__}: {error}") from error


def _divided(measured: Measurement, gain: float, first: Measurement) -> Measurement:
    """A latency that no int8 file of the net goes below; ``first`` is its float32 file's."""
    extra = {**measured.extra, "timing": "bound", "float32_ms": first.value, "gain": gain}
    return Measurement(measured.metric, measured.value / gain, measured.unit, measured.profile, measured.spread, extra)
