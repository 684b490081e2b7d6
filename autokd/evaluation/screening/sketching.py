"""What a student that nobody has trained costs, to choose among variants."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from autokd.deployment.sketch import CannotSketch
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.screening.exported import exported_costs
from autokd.evaluation.screening.screen import Screening, draw
from autokd.evaluation.screening.verdict import Verdict
from autokd.hardware.profile import HardwareProfile
from autokd.students.blueprint import Blueprint
from autokd.trial import Measurement


def sketch_costs(
    bench: Bench,
    family: str,
    student: Blueprint | nn.Module,
    ratios: Mapping[str, float],
    bits: int,
    profiles: Sequence[HardwareProfile],
    quick: bool = False,
    only: str = "",
) -> dict[str, Measurement]:
    """Costs of a student, in some 20 ms (int8: so much for each plan).

    Args:
        bench: Data, clock and meter.
        family: The student's family.
        student: A blueprint, or a module that reads raw input; a restored one brings its pruned widths.
        ratios: Channels to cut by group, beside what the module has lost.
        bits: 32 or 8, which is the fastest plan.
        profiles: Where to time; none: what needs no clock.
        quick: Time longer, as before a verdict.
        only: The int8 plan to look at, where it is known which is the fastest.

    Returns:
        Measurements by name; the latency's ``extra["timing"]`` is ``"brief"`` or ``"quick"``.

    Raises:
        StageFailure: It cannot be exported or timed.
        ConfigError: The family refuses a parameter.
    """
    with tempfile.TemporaryDirectory(prefix="autokd-") as name:
        try:
            with bench.pace():
                module = student.outline if isinstance(student, Blueprint) else student
                drawn = draw(bench, family, module, ratios)
            screening = Screening(Verdict(bench, Path(name)), profiles, quick=quick, only=only)
            found = screening.costs(drawn, bits)
        except CannotSketch:
            with bench.pace():
                module = student.build() if isinstance(student, Blueprint) else copy.deepcopy(student)
            found = exported_costs(Path(name), bench, family, module, ratios, bits, profiles)
    return {m.name: m for m in found}
