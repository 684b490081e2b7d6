"""Resizing inside the graph, so that a student may look at fewer pixels than the source has."""

from __future__ import annotations

import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.errors import ConfigError

Size = tuple[int, int]


class Resize(nn.Module):
    """``(N, C, H, W)`` to a fixed smaller or larger size: at most one AveragePool and one Resize node.

    A shrink by 2 or more first averages whole squares, so that no pixel goes unseen; the rest is bilinear. An edge of
    fewer than ``pool`` pixels, which fills no square, is left out.

    Args:
        raw: ``(H, W)`` of the input.
        size: ``(H, W)`` of the output.
    """

    def __init__(self, raw: Size, size: Size) -> None:
        super().__init__()
        self.size = size
        self.pool = max(1, min(r // s for r, s in zip(raw, size, strict=True)))
        between = (raw[0] // self.pool, raw[1] // self.pool)
        # fixed factors, not sizes: an exported size would drag Shape, Slice and Concat nodes behind it
        self.factors = None if between == size else [_factor(b, s) for b, s in zip(between, size, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        if self.factors is not None:
            x = F.interpolate(
                x, scale_factor=self.factors, mode="bilinear", align_corners=False, recompute_scale_factor=False
            )
        return x


def resized(raw: Size, resolution: int) -> Size:
    """``(H, W)`` whose shorter side is ``resolution``, aspect kept; 0 stands for the raw size.

    Raises:
        ConfigError: ``resolution`` is 1, 2 or 3.
    """
    if resolution == 0:
        return raw
    if resolution < 4:
        raise ConfigError("resolution must be 0 (as it is) or at least 4 pixels", resolution)
    short = min(raw)
    return (
        max(1, math.floor(raw[0] * resolution / short + 0.5)),
        max(1, math.floor(raw[1] * resolution / short + 0.5)),
    )


def _factor(old: int, new: int) -> float:
    """A float32 factor with ``floor(old * factor) == new`` in float32 and in float64, as torch and runtimes reckon."""
    factor = np.float32(new / old)
    while math.floor(old * float(factor)) < new or np.floor(np.float32(old) * factor) < new:
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)
