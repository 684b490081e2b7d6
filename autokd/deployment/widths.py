"""How wide a recorded net is: channels that are cut together, and the shapes of weights that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


class CannotSketch(Exception):
    """The module does something that only the exporter can express."""


class Channels:
    """The channels of one or several values that can only be cut together.

    Args:
        count: How many there are.
        fixed: They are the input's or the classes, and stay.
    """

    def __init__(self, count: int, fixed: bool = False) -> None:
        self._count, self.fixed = count, fixed
        self._same: Channels = self
        self.layers: list[nn.Module] = []

    @property
    def root(self) -> Channels:
        here = self
        while here._same is not here:
            here = here._same
        return here

    @property
    def count(self) -> int:
        return self.root._count

    def cut(self, count: int) -> None:
        self.root._count = count

    def join(self, other: Channels) -> None:
        """From now on the two are cut together.

        Raises:
            CannotSketch: There are not equally many: something is broadcast.
        """
        a, b = self.root, other.root
        if a is b:
            return
        if a._count != b._count:
            raise CannotSketch(f"{a._count} channels meet {b._count}")
        b._same = a
        a.layers += b.layers
        a.fixed |= b.fixed


@dataclass(eq=False)
class Weight:
    """Trained numbers of a layer, of which only the shape counts.

    Args:
        outputs: Its output channels; the bias, if there is one, is as long.
        inputs: Its input channels; ``None`` for a depthwise convolution.
        repeat: Values that each input channel contributes (pixels of a flattened map).
        kernel: Spatial shape, empty for matrices.
        transposed: Whether a matrix is stored ``(inputs, outputs)``.
        bias: Whether there is one.
    """

    outputs: Channels
    inputs: Channels | None
    repeat: int = 1
    kernel: tuple[int, ...] = ()
    transposed: bool = False
    bias: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        inside = 1 if self.inputs is None else self.inputs.count * self.repeat
        pair = (inside, self.outputs.count) if self.transposed else (self.outputs.count, inside)
        return (*pair, *self.kernel)
