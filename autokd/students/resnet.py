"""Residual networks of basic blocks: students, and good teachers when wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autokd.protocols import InputSpec
from autokd.students.blocks import Basic, Block, ConvNet, Plain, Stride, halving, shrink
from autokd.students.params import OneOf, Real, Rule, Settings, Whole, check_task
from autokd.students.resize import resized
from autokd.students.shorter import fewer_blocks, fewer_pixels
from autokd.trial import ParamValue

_STAGES = range(1, 5)
_RULES: dict[str, Rule] = {
    "resolution": Whole(0, 1024),
    "stem_stride": OneOf((0, 1, 2, 4)),
    "width": Whole(2, 1024),
    "width_multiplier": Real(0.5, 4),
    "stages": Whole(1, 4),
    **{f"depth_{i}": Whole(1, 64) for i in _STAGES},
}


class ResNet:
    """Residual network of basic blocks (He et al. 2016); with width 64 a strong teacher for small images.

    Stage i has ``width * width_multiplier ** (i - 1)`` channels and ``depth_i`` blocks; each stage after the first
    halves the map, except along a side that has fewer than 4 pixels left. ``stem_stride`` 4 is a stride of 2 and a max
    pool; 0 chooses 1 below 64 pixels, 2 below 128, and 4 from there. The stem is as wide as stage 1 and is pruned with
    it.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    defaults: ClassVar[Mapping[str, ParamValue]] = {
        "resolution": 0,
        "stem_stride": 0,
        "width": 16,
        "width_multiplier": 2.0,
        "stages": 3,
        **{f"depth_{i}": 1 for i in _STAGES},
    }

    roots: ClassVar[tuple[Mapping[str, ParamValue], ...]] = tuple(
        {
            "width": width,
            "width_multiplier": 2.0,
            "stages": 3,
            "stem_stride": 2,
            "depth_1": 1,
            "depth_2": 1,
            "depth_3": 1,
        }
        for width in (16, 32)
    )

    def build(self, params: Mapping[str, ParamValue], spec: InputSpec, classes: int) -> ConvNet:
        """An untrained net for ``spec``.

        Raises:
            ConfigError: Unknown parameter, forbidden value, or data that are not images.
        """
        check_task("resnet", self.kinds, spec, classes)
        s = Settings("resnet", self.defaults, _RULES, params)
        channels, height, width = spec.shape
        size = start = resized((height, width), s.whole("resolution"))
        shrinking = s.whole("stem_stride") or (1 if min(size) < 64 else 2 if min(size) < 128 else 4)
        base = s.whole("width")
        stem = Plain(channels, base, 3, halving(size) if shrinking > 1 else (1, 1))
        size = shrink(size, stem.stride)
        pool = shrinking == 4 and min(size) >= 4
        if pool:
            size = shrink(size, (2, 2))
        stages, inputs = [], base
        for number in range(1, s.whole("stages") + 1):
            outputs = max(2, round(base * s.real("width_multiplier") ** (number - 1)))
            stride = halving(size) if number > 1 else (1, 1)
            # a later stage always projects: an identity would tie its channels to the stage before
            stages.append(_stage(inputs, outputs, s.whole(f"depth_{number}"), stride, project=number > 1))
            size, inputs = shrink(size, stride), outputs
        return ConvNet((height, width), start, stem, stages, classes, pool_stem=pool, stem_group="1")

    def shorter(self, params: Mapping[str, ParamValue], spec: InputSpec) -> dict[str, dict[str, ParamValue]]:
        """See :class:`autokd.protocols.Shortens`: a block less in a stage, or fewer pixels."""
        s = Settings("resnet", self.defaults, _RULES, params)
        depths = {f"depth_{i}": s.whole(f"depth_{i}") for i in range(1, s.whole("stages") + 1)}
        return fewer_blocks(depths) | fewer_pixels(s.whole("resolution"), spec)


def _stage(inputs: int, outputs: int, depth: int, stride: Stride, project: bool) -> list[Block]:
    first: Block = Basic(inputs, outputs, stride, project)
    return [first, *(Basic(outputs, outputs, (1, 1), project=False) for _ in range(depth - 1))]
