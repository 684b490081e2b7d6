"""What an untrained student costs, by the long way: exported, cut and quantized as it would ship, then timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from autokd.compression.importance import L1
from autokd.compression.quantization import quantize as quantize_file
from autokd.effort import QUICK
from autokd.evaluation.costs import file_costs
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.stages.export import to_onnx
from autokd.evaluation.stages.prune import cut_channels
from autokd.evaluation.stages.quantize import comparison
from autokd.hardware.profile import HardwareProfile
from autokd.trial import Measurement


def exported_costs(
    folder: Path,
    bench: Bench,
    family: str,
    student: nn.Module,
    ratios: Mapping[str, float],
    bits: int,
    profiles: Sequence[HardwareProfile],
) -> list[Measurement]:
    """Its costs as measurements.

    Args:
        folder: Where its files are for a while.
        bench: Data, clock and meter.
        family: Its family's name.
        student: With real weights, not cut yet; cut in place, by L1: which channels go does not change its shape.
        ratios: Channels to cut by group.
        bits: 32 or 8.
        profiles: Where to time it.
    """
    data = bench.data
    with bench.pace():
        if any(ratios.values()):
            cut_channels(student, data, ratios, L1())
        file = folder / "untrained.onnx"
        to_onnx(student, data.spec, data.classes, family, file)
    if bits == 8:
        quantized = folder / "untrained.int8.onnx"
        samples = np.asarray(data.inputs[data.splits.calibration[:8]])
        quantize_file(file, samples, quantized, comparison(bench.meter, bench.clock))
        file = quantized
    found = file_costs(file, profiles, bench.meter, QUICK)
    for left_over in folder.glob("*.onnx"):
        left_over.unlink()  # only the numbers are wanted
    return found
