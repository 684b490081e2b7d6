"""Records the operators that a module calls, on values that have a shape and no numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from autokd.deployment.widths import CannotSketch, Channels, Weight

ELEMENT = {
    torch.float32: onnx.TensorProto.FLOAT,
    torch.uint8: onnx.TensorProto.UINT8,
    torch.bool: onnx.TensorProto.BOOL,
}
HANDLERS: dict[Any, Callable[..., Value]] = {}
"""What each torch function becomes; :mod:`autokd.deployment.operators` fills it."""


def records(*functions: Any) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Decorates the handler of some torch functions."""

    def enter(handler: Callable[..., Value]) -> Callable[..., Value]:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return enter


def call(function: Any, *args: Any, **kwargs: Any) -> Value:
    """Record one call of a torch function.

    Raises:
        CannotSketch: It has no handler, or is called in a way that the handler does not know.
    """
    handler = HANDLERS.get(function)
    if handler is None:
        raise CannotSketch(f"no entry for {getattr(function, '__name__', function)}")
    return handler(*args, **kwargs)


@dataclass(eq=False)
class Op:
    """One ONNX operator: reads values and constants (``None``: an input left out), writes one value."""

    kind: str
    reads: list[Value | np.ndarray | None]
    attributes: dict[str, Any]
    writes: Value
    weight: Weight | None = None
    norm: Channels | None = None  # of a batch norm with trained numbers


class Value:
    """What stands for a tensor ``(N, channels * repeat, *space)`` while a module is recorded."""

    __hash__ = object.__hash__

    def __init__(
        self, tape: Tape, channels: Channels, space: tuple[int, ...], dtype: torch.dtype, repeat: int = 1
    ) -> None:
        self.tape, self.channels, self.space, self.dtype, self.repeat = tape, channels, space, dtype, repeat
        self.device = torch.device("cpu")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Value:
        return call(func, *args, **(kwargs or {}))

    def dim(self) -> int:
        return 2 + len(self.space)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Value:
        return call(torch.flatten, self, start_dim, end_dim)

    def to(self, dtype: torch.dtype) -> Value:
        return call(torch.Tensor.to, self, dtype)

    def float(self) -> Value:
        return call(torch.Tensor.to, self, torch.float32)

    def index_select(self, dim: int, index: torch.Tensor) -> Value:
        only(dim == 1 and not self.space and self.repeat == 1, "index_select")
        chosen = Channels(len(index), fixed=True)
        pin(self)
        return self.tape.add("Gather", [self, array(index)], Value(self.tape, chosen, (), self.dtype), axis=1)

    def __add__(self, other: Any) -> Value:
        return call(torch.add, self, other)

    def __sub__(self, other: Any) -> Value:
        return call(torch.sub, self, other)

    def __mul__(self, other: Any) -> Value:
        return call(torch.mul, self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # as a tensor's
        return call(torch.eq, self, other)


@dataclass(eq=False)
class Tape:
    """The operators in the order in which the module ran them."""

    owners: Mapping[int, nn.Module] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def add(self, kind: str, reads: Sequence[Value | np.ndarray | None], writes: Value, **attributes: Any) -> Value:
        self.ops.append(Op(kind, list(reads), dict(sorted(attributes.items())), writes))
        return writes

    def layer(
        self, kind: str, x: Value, weight: Weight, tensor: torch.Tensor, writes: Value, **attributes: Any
    ) -> Value:
        """An operator with trained numbers."""
        owner = self.owners.get(id(tensor))
        if owner is None or id(tensor) in self.seen:
            raise CannotSketch("a weight must belong to one layer, which runs once")
        self.seen.add(id(tensor))
        weight.outputs.root.layers.append(owner)
        self.add(kind, [x], writes, **attributes)
        self.ops[-1].weight = weight
        return writes


def only(holds: bool, what: str) -> None:
    if not holds:
        raise CannotSketch(f"{what} in a way that is not in the table")


def pin(x: Value) -> None:
    x.channels.root.fixed = True


def array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.device.type == "meta":
        raise CannotSketch("a constant whose value is not there")
    return tensor.detach().cpu().numpy()
