"""Small convolutional pyramids: plain, depthwise separable or inverted residual blocks, chosen stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autokd.protocols import InputSpec
from autokd.students.blocks import Block, ConvNet, Inverted, Plain, Separable, Stride, halving, shrink
from autokd.students.params import FLAG, OneOf, Real, Rule, Settings, Whole, check_task
from autokd.students.resize import resized
from autokd.students.shorter import fewer_blocks, fewer_pixels
from autokd.trial import ParamValue

_STAGES = range(1, 6)
_RULES: dict[str, Rule] = {
    "resolution": Whole(0, 1024),
    "stem_stride": OneOf((1, 2)),
    "stem_width": Whole(2, 1024),
    "stages": Whole(1, 5),
    "residual": FLAG,
}
for _i in _STAGES:
    _RULES |= {
        f"width_{_i}": Whole(2, 2048),
        f"depth_{_i}": Whole(1, 16),
        f"kernel_{_i}": OneOf((3, 5)),
        f"expansion_{_i}": Real(1, 8),
        f"block_{_i}": OneOf(("plain", "inverted", "separable")),
    }


class MobileNet:
    """Small pyramid of plain, separable or inverted residual blocks.

    ``resolution`` is the shorter side after resizing inside the graph (0: as it is). Stage 1 keeps the stem's size;
    each further stage halves the map, except along a side that has fewer than 4 pixels left. The first block of a stage
    has no shortcut, so a stage's channels are its own and it can be pruned by itself; a separable block never has one.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    defaults: ClassVar[Mapping[str, ParamValue]] = {
        "resolution": 0,
        "stem_stride": 2,
        "stem_width": 16,
        "stages": 3,
        "residual": True,
        **{f"width_{i}": w for i, w in zip(_STAGES, (32, 64, 128, 256, 256), strict=True)},
        **{f"depth_{i}": 2 if i <= 2 else 1 for i in _STAGES},
        **{f"kernel_{i}": 3 for i in _STAGES},
        **{f"expansion_{i}": 3 for i in _STAGES},
        **{f"block_{i}": "plain" for i in _STAGES},
    }

    roots: ClassVar[tuple[Mapping[str, ParamValue], ...]] = tuple(
        # Plain pyramids whose widths double while the map halves: the best students per microsecond on a desktop core. From
        # cheap to dear: at the lowest resolution of a space, where one is trained in seconds, then at the largest.
        {"resolution": resolution, "stem_stride": 2, "stem_width": stem, "stages": 3, "residual": True}
        | {f"width_{i}": width * 2 ** (i - 1) for i in (1, 2, 3)}
        | {f"depth_{i}": depth for i in (1, 2, 3)}
        | {f"kernel_{i}": 3 for i in (1, 2, 3)}
        | {f"block_{i}": "plain" for i in (1, 2, 3)}
        for resolution, stem, width, depth in ((4, 16, 16, 1), (4, 16, 32, 1), (1024, 16, 32, 1), (1024, 32, 32, 2))
    )

    def build(self, params: Mapping[str, ParamValue], spec: InputSpec, classes: int) -> ConvNet:
        """An untrained net for ``spec``.

        Raises:
            ConfigError: Unknown parameter, forbidden value, or data that are not images.
        """
        check_task("mobilenet", self.kinds, spec, classes)
        s = Settings("mobilenet", self.defaults, _RULES, params)
        channels, *raw = spec.shape
        height, width = raw
        size = start = resized((height, width), s.whole("resolution"))
        stem = Plain(channels, s.whole("stem_width"), 3, halving(size) if s.whole("stem_stride") == 2 else (1, 1))
        size = shrink(size, stem.stride)
        stages, inputs = [], s.whole("stem_width")
        for number in range(1, s.whole("stages") + 1):
            stride = halving(size) if number > 1 else (1, 1)
            stages.append(_stage(s, number, inputs, stride))
            size, inputs = shrink(size, stride), s.whole(f"width_{number}")
        return ConvNet((height, width), start, stem, stages, classes)

    def shorter(self, params: Mapping[str, ParamValue], spec: InputSpec) -> dict[str, dict[str, ParamValue]]:
        """See :class:`autokd.protocols.Shortens`: a block less in a stage, or fewer pixels."""
        s = Settings("mobilenet", self.defaults, _RULES, params)
        depths = {f"depth_{i}": s.whole(f"depth_{i}") for i in range(1, s.whole("stages") + 1)}
        return fewer_blocks(depths) | fewer_pixels(s.whole("resolution"), spec)


def _stage(s: Settings, number: int, inputs: int, stride: Stride) -> list[Block]:
    outputs, kernel = s.whole(f"width_{number}"), s.whole(f"kernel_{number}")
    kind, expansion = s.word(f"block_{number}"), s.real(f"expansion_{number}")
    blocks: list[Block] = []
    for position in range(s.whole(f"depth_{number}")):
        residual = s.flag("residual") and position > 0
        if kind == "plain":
            blocks.append(Plain(inputs, outputs, kernel, stride, residual))
        elif kind == "separable":
            blocks.append(Separable(inputs, outputs, kernel, stride))
        else:
            blocks.append(Inverted(inputs, outputs, kernel, stride, expansion, residual))
        inputs, stride = outputs, (1, 1)
    return blocks
