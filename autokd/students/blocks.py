"""Convolution blocks and the chain that strings them into a classifier; shared by the convolutional families."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from autokd.students.resize import Resize, Size

Stride = tuple[int, int]


class ConvBn(nn.Module):
    """Convolution with "same" padding, then batch norm; the exporter folds the two into one Conv."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: Stride = (1, 1), depthwise: bool = False
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


class Block(nn.Module):
    """One step of a stage: ``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``."""

    kind = ""
    residual = False

    def __init__(self, kernel: int, stride: Stride) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def convs(self) -> list[nn.Conv2d]:
        """The convolutions that decide the number of channels, in order; a depthwise one only follows its input."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Kind and shape, read from the weights: a pruned block tells its new widths."""
        height, width = self.stride
        return {
            "kind": self.kind,
            "in": self.inputs(),
            "out": self.convs()[-1].out_channels,
            "kernel": self.kernel,
            "stride": height if height == width else [height, width],
            "residual": self.residual,
        }

    def inputs(self) -> int:
        """Channels read."""
        return self.convs()[0].in_channels


class Plain(Block):
    """``relu(bn(conv(x)))``, or ``relu(bn(conv(x)) + x)``: an identity that a folded kernel can absorb."""

    kind = "plain"

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Stride, residual: bool = False) -> None:
        super().__init__(kernel, stride)
        self.body = ConvBn(inputs, outputs, kernel, stride)
        self.residual = residual and inputs == outputs and stride == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        return F.relu(out + x if self.residual else out, inplace=True)

    def convs(self) -> list[nn.Conv2d]:
        return [self.body.conv]


class Separable(Block):
    """Depthwise then pointwise convolution, each with batch norm and ReLU (Howard et al. 2017, MobileNets)."""

    kind = "separable"

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Stride) -> None:
        super().__init__(kernel, stride)
        self.depthwise = ConvBn(inputs, inputs, kernel, stride, depthwise=True)
        self.pointwise = ConvBn(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pointwise(F.relu(self.depthwise(x), inplace=True)), inplace=True)

    def convs(self) -> list[nn.Conv2d]:
        return [self.pointwise.conv]


class Inverted(Block):
    """Expand, depthwise, project (Sandler et al. 2018, MobileNetV2), with ReLU, which int8 runtimes fold for free."""

    kind = "inverted"

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: Stride, expansion: float, residual: bool = False
    ) -> None:
        super().__init__(kernel, stride)
        hidden = max(inputs, round(inputs * expansion))
        self.expand = ConvBn(inputs, hidden, 1) if hidden > inputs else None
        self.depthwise = ConvBn(hidden, hidden, kernel, stride, depthwise=True)
        self.project = ConvBn(hidden, outputs, 1)
        self.residual = residual and inputs == outputs and stride == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else F.relu(self.expand(x), inplace=True)
        out: Tensor = self.project(F.relu(self.depthwise(hidden), inplace=True))
        return out + x if self.residual else out

    def convs(self) -> list[nn.Conv2d]:
        return [*([] if self.expand is None else [self.expand.conv]), self.project.conv]

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"hidden": self.depthwise.conv.out_channels}


class Basic(Block):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, Deep Residual Learning)."""

    kind = "basic"
    residual = True

    def __init__(self, inputs: int, outputs: int, stride: Stride, project: bool) -> None:
        super().__init__(3, stride)
        self.first = ConvBn(inputs, outputs, 3, stride)
        self.second = ConvBn(outputs, outputs, 3)
        self.shortcut = ConvBn(inputs, outputs, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(out + (x if self.shortcut is None else self.shortcut(x)), inplace=True)

    def convs(self) -> list[nn.Conv2d]:
        shortcut = [] if self.shortcut is None else [self.shortcut.conv]
        return [self.first.conv, *shortcut, self.second.conv]


class ConvNet(nn.Module):
    """Resize, stem, stages, global average pooling, linear classifier.

    Args:
        raw: ``(H, W)`` of the input.
        size: ``(H, W)`` the stem sees; a resize node appears only where it differs from ``raw``.
        stem: First block.
        stages: Blocks by stage.
        classes: Number of classes.
        pool_stem: Halve the stem's output once more by a 3x3 max pool, for large images.
        stem_group: Pruning group of the stem; ``"1"`` when a shortcut ties it to the first stage.
    """

    def __init__(
        self,
        raw: Size,
        size: Size,
        stem: Block,
        stages: Sequence[Sequence[Block]],
        classes: int,
        pool_stem: bool = False,
        stem_group: str = "stem",
    ) -> None:
        super().__init__()
        self.input_size, self.stem_group = size, stem_group
        self.resize = Resize(raw, size) if size != raw else None
        self.stem = stem
        self.pool = nn.MaxPool2d(3, 2, 1) if pool_stem else None
        self.stages = nn.ModuleList(nn.ModuleList(stage) for stage in stages)
        self.head = nn.Linear(stages[-1][-1].convs()[-1].out_channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` normalised float32 to ``(N, classes)`` logits."""
        if self.resize is not None:
            x = self.resize(x)
        x = self.stem(x)
        if self.pool is not None:
            x = self.pool(x)
        for block in self._chain():
            x = block(x)
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits

    def prune_groups(self) -> dict[str, list[nn.Module]]:
        """The convolutions whose output channels each ``prune_<group>`` ratio may cut; never the classifier."""
        groups: dict[str, list[nn.Module]] = {self.stem_group: [*self.stem.convs()]}
        for number, stage in enumerate(self._stages(), start=1):
            groups.setdefault(str(number), []).extend(conv for block in stage for conv in block.convs())
        return groups

    def blocks(self) -> list[dict[str, Any]]:
        """What the net is made of, in order; ``size`` is ``[H, W]`` of the output. Plain JSON values."""
        size, rows = self.input_size, []
        if self.resize is not None:
            rows.append(
                {"name": "resize", "kind": "resize", "in": self.stem.inputs(), "out": self.stem.inputs()} | _of(size)
            )
        size = shrink(size, self.stem.stride)
        rows.append({"name": "stem"} | self.stem.describe() | _of(size))
        if self.pool is not None:
            size = shrink(size, (2, 2))
            width = self.stem.convs()[-1].out_channels
            rows.append(
                {"name": "pool", "kind": "max_pool", "in": width, "out": width, "kernel": 3, "stride": 2} | _of(size)
            )
        for number, stage in enumerate(self._stages(), start=1):
            for position, block in enumerate(stage, start=1):
                size = shrink(size, block.stride)
                rows.append({"name": f"{number}.{position}"} | block.describe() | _of(size))
        rows.append({"name": "head", "kind": "linear", "in": self.head.in_features, "out": self.head.out_features})
        return rows

    def _stages(self) -> list[list[Block]]:
        return [list(cast(Iterable[Block], stage)) for stage in self.stages]

    def _chain(self) -> list[Block]:
        return [block for stage in self._stages() for block in stage]


def shrink(size: Size, stride: Stride) -> Size:
    """``(H, W)`` after a convolution with "same" padding."""
    return (size[0] - 1) // stride[0] + 1, (size[1] - 1) // stride[1] + 1


def halving(size: Size) -> Stride:
    """Stride 2 along each side of 4 pixels or more: no map shrinks below 2 pixels."""
    return (2 if size[0] >= 4 else 1), (2 if size[1] >= 4 else 1)


def initialise(model: nn.Module) -> None:
    """Kaiming-normal convolutions, fan-out (He et al. 2015); norms and classifier as torch makes them, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _of(size: Size) -> dict[str, Any]:
    return {"size": list(size)}
