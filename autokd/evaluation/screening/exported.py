"""What an untrained student costs, by the long way: exported, cut and quantized as it would ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from autokd.compression.quantization import quantize as quantize_file
from autokd.effort import QUICK
from autokd.evaluation.costs import file_costs
from autokd.evaluation.parts import Parts
from autokd.evaluation.work import Params, _cut, _export, comparison, ratios
from autokd.hardware.profile import HardwareProfile
from autokd.trial import Measurement


def exported_costs(
    folder: Path,
    parts: Parts,
    student: nn.Module,
    pruning: Params,
    bits: int,
    profiles: Sequence[HardwareProfile],
) -> list[Measurement]:
    """What an untrained student costs, by the long way: exported, cut and quantized as it would ship, then timed.

    Args:
        folder: Where its files are for a while.
        parts: The study's parts.
        student: With real weights, not cut yet; cut in place.
        pruning: The parameters of the prune stage.
        bits: 32 or 8.
        profiles: Where to time it.
    """
    with parts.pace():
        if any(ratios(pruning).values()):
            _cut(student, parts, pruning, trained=False)
        file = folder / "untrained.onnx"
        _export(student, parts, file)
    if bits == 8:
        quantized = folder / "untrained.int8.onnx"
        quantize_file(file, parts.calibration[:8], quantized, comparison(parts))
        file = quantized
    found = file_costs(file, profiles, parts.meter, QUICK)
    for left_over in folder.glob("*.onnx"):
        left_over.unlink()  # only the numbers are wanted
    return found
