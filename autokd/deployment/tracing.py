"""What a module does to one input, recorded without computing anything: the operators, their wiring and their widths.

The module runs once on a :class:`Value` instead of a tensor. A value has a shape, a type and no numbers; torch hands every function
that meets one to :func:`_record` (``__torch_function__``). So nothing is allocated, and the module may live on torch's meta device.
What is recorded is what PyTorch's exporter would write after :mod:`autokd.deployment.graph` has tidied it; whatever has no entry in
the table below raises :class:`CannotSketch`, and the caller exports instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from autokd.deployment.widths import CannotSketch, Channels, Weight
from autokd.protocols import InputSpec

ELEMENT = {
    torch.float32: onnx.TensorProto.FLOAT,
    torch.uint8: onnx.TensorProto.UINT8,
    torch.bool: onnx.TensorProto.BOOL,
}


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
        return _record(func, args, kwargs or {})

    def dim(self) -> int:
        return 2 + len(self.space)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Value:
        return _flatten(self, start_dim, end_dim)

    def to(self, dtype: torch.dtype) -> Value:
        return _cast(self, dtype)

    def float(self) -> Value:
        return _cast(self, torch.float32)

    def index_select(self, dim: int, index: torch.Tensor) -> Value:
        _only(dim == 1 and not self.space and self.repeat == 1, "index_select")
        chosen = Channels(len(index), fixed=True)
        _pin(self)
        return self.tape.add("Gather", [self, _array(index)], Value(self.tape, chosen, (), self.dtype), axis=1)

    def __add__(self, other: Any) -> Value:
        return _add(self, other)

    def __sub__(self, other: Any) -> Value:
        return _constant("Sub", self, other)

    def __mul__(self, other: Any) -> Value:
        return _constant("Mul", self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # as a tensor's
        return _constant("Equal", self, other, torch.bool)


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


def record(module: nn.Module, spec: InputSpec) -> tuple[Tape, Value, Value]:
    """Run ``module``, in evaluation mode, on a value of the raw input; its tape, the input and the output.

    Raises:
        CannotSketch: It does what the table below does not know.
    """
    owners = {id(m.weight): m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    tape = Tape(owners)
    channels, *space = spec.shape
    source = Value(tape, Channels(channels, fixed=True), tuple(space), getattr(torch, spec.dtype))
    try:
        scores = module(source)
    except CannotSketch:
        raise
    except Exception as error:  # a module may do anything to what it takes for a tensor
        raise CannotSketch(f"{type(error).__name__}: {error}") from error
    if not isinstance(scores, Value) or scores.space or scores.dtype != torch.float32:
        raise CannotSketch("the module must return one (N, classes) tensor")
    _pin(scores)
    return tape, source, scores


# ------------------------------------------------------------------------------------------------ the operators


def _record(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
    handler = HANDLERS.get(func)
    if handler is None:
        raise CannotSketch(f"no entry for {getattr(func, '__name__', func)}")
    return handler(*args, **kwargs)


def _only(holds: bool, what: str) -> None:
    if not holds:
        raise CannotSketch(f"{what} in a way that is not in the table")


def _pin(x: Value) -> None:
    x.channels.root.fixed = True


def _array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.device.type == "meta":
        raise CannotSketch("a constant whose value is not there")
    return tensor.detach().cpu().numpy()


def _pair(value: Any) -> tuple[int, int]:
    a, b = (value, value) if isinstance(value, int) else value
    return int(a), int(b)


def _slid(size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[int, ...]:
    steps = zip(size, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), strict=True)
    found = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps)
    _only(min(found) > 0, "a window larger than its map")
    return found


def _conv2d(
    x: Value,
    weight: torch.Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    outputs, inside, *kernel = weight.shape
    _only(not isinstance(padding, str) and x.repeat == 1 and len(x.space) == 2, "convolution")
    _only(x.channels.count == inside * groups and x.dtype == torch.float32, "convolution")
    depthwise = groups > 1 and groups == outputs and inside == 1
    _only(groups == 1 or depthwise, "grouped convolution")
    made = x.channels if depthwise else Channels(outputs)
    shape = Weight(made, None if depthwise else x.channels, 1, tuple(kernel), bias=bias is not None)
    space = _slid(x.space, tuple(kernel), stride, padding, dilation)
    attributes = {
        "dilations": list(_pair(dilation)),
        "group": groups,
        "kernel_shape": list(kernel),
        "pads": list(_pair(padding)) * 2,
        "strides": list(_pair(stride)),
    }
    return x.tape.layer("Conv", x, shape, weight, Value(x.tape, made, space, x.dtype), **attributes)


def _linear(x: Value, weight: torch.Tensor, bias: Any = None) -> Value:
    outputs, inside = weight.shape
    _only(not x.space and x.channels.count * x.repeat == inside and x.dtype == torch.float32, "linear")
    made = Channels(outputs)
    shape = Weight(made, x.channels, x.repeat, transposed=bias is None, bias=bias is not None)
    out = Value(x.tape, made, (), x.dtype)
    if bias is None:
        return x.tape.layer("MatMul", x, shape, weight, out)
    return x.tape.layer("Gemm", x, shape, weight, out, alpha=1.0, beta=1.0, transB=1)


def _batch_norm(
    x: Value,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    _only(x.repeat == 1 and x.dtype == torch.float32 and not training, "batch norm")
    if running_mean is None or running_var is None or weight is None or bias is None:
        raise CannotSketch("batch norm without statistics or without scale")
    numbers = [weight, bias, running_mean, running_var]
    trained = any(isinstance(n, nn.Parameter) for n in numbers)
    out = Value(x.tape, x.channels, x.space, x.dtype)
    given: list[Value | np.ndarray | None] = [x] if trained else [x, *map(_array, numbers)]
    x.tape.add("BatchNormalization", given, out, epsilon=eps, momentum=1 - momentum, training_mode=0)
    if trained:
        x.tape.ops[-1].norm = x.channels
    return out


def _same(kind: str) -> Callable[..., Value]:
    """An operator on each number by itself."""

    def handle(x: Value, inplace: bool = False) -> Value:
        return x.tape.add(kind, [x], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))

    return handle


def _hardtanh(x: Value, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    bounds = [np.array(min_val, np.float32), np.array(max_val, np.float32)]
    return x.tape.add("Clip", [x, *bounds], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))


def _relu6(x: Value, inplace: bool = False) -> Value:
    return _hardtanh(x, 0.0, 6.0)


def _dropout(x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    _only(not training, "dropout while training")
    return x


def _add(x: Value, y: Any, alpha: Any = 1) -> Value:
    _only(isinstance(y, Value) and alpha == 1, "addition of a constant")
    _only((x.space, x.repeat, x.dtype) == (y.space, y.repeat, y.dtype), "broadcasting addition")
    x.channels.join(y.channels)
    return x.tape.add("Add", [x, y], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))


def _constant(kind: str, x: Value, other: Any, dtype: torch.dtype | None = None) -> Value:
    """An operator between a table's columns and a number for each."""
    _only(isinstance(other, torch.Tensor) and not x.space and x.repeat == 1, kind)
    values = _array(other)
    _only(values.shape == (x.channels.count,), f"{kind} with a broadcast constant")
    _pin(x)
    return x.tape.add(kind, [x, values], Value(x.tape, x.channels, (), dtype or x.dtype))


def _is_nan(x: Value) -> Value:
    return x.tape.add("IsNaN", [x], Value(x.tape, x.channels, x.space, torch.bool, x.repeat))


def _where(condition: Value, x: Any, y: Value) -> Value:
    _only(isinstance(x, torch.Tensor) and x.dim() == 0 and isinstance(y, Value), "where")
    condition.channels.join(y.channels)
    out = Value(y.tape, y.channels, y.space, y.dtype, y.repeat)
    return y.tape.add("Where", [condition, _array(x), y], out)


def _cat(tensors: Sequence[Value], dim: int = 0) -> Value:
    _only(dim == 1 and all(isinstance(x, Value) and not x.space and x.repeat == 1 for x in tensors), "concatenation")
    for x in tensors:
        _pin(x)
    made = Channels(sum(x.channels.count for x in tensors), fixed=True)
    return tensors[0].tape.add("Concat", tensors, Value(tensors[0].tape, made, (), tensors[0].dtype), axis=1)


def _cast(x: Value, dtype: torch.dtype) -> Value:
    _only(dtype in ELEMENT and dtype != x.dtype, "a cast")
    return x.tape.add("Cast", [x], Value(x.tape, x.channels, x.space, dtype, x.repeat), to=ELEMENT[dtype])


def _flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    _only(start_dim == 1 and end_dim == -1 and bool(x.space), "flatten")
    out = Value(x.tape, x.channels, (), x.dtype, x.repeat * math.prod(x.space))
    return x.tape.add("Flatten", [x], out, axis=1)


def _max_pool(
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    **more: Any,
) -> Value:
    _only(not ceil_mode and not more.get("return_indices") and len(x.space) == 2, "max pool")
    stride = kernel_size if stride is None else stride
    attributes = {
        "ceil_mode": 0,
        "dilations": list(_pair(dilation)),
        "kernel_shape": list(_pair(kernel_size)),
        "pads": list(_pair(padding)) * 2,
        "strides": list(_pair(stride)),
    }
    space = _slid(x.space, kernel_size, stride, padding, dilation)
    return x.tape.add("MaxPool", [x], Value(x.tape, x.channels, space, x.dtype), **attributes)


def _avg_pool(x: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, *more: Any, **named: Any) -> Value:
    _only(_pair(padding) == (0, 0) and not more and not named and len(x.space) == 2, "average pool")
    stride = kernel_size if stride is None else stride
    attributes = {
        "ceil_mode": 0,
        "count_include_pad": 1,
        "kernel_shape": list(_pair(kernel_size)),
        "pads": [0] * 4,
        "strides": list(_pair(stride)),
    }
    space = _slid(x.space, kernel_size, stride, 0)
    return x.tape.add("AveragePool", [x], Value(x.tape, x.channels, space, x.dtype), **attributes)


def _adaptive_avg_pool(x: Value, output_size: Any) -> Value:
    _only(_pair(output_size) == (1, 1) and len(x.space) == 2, "adaptive average pool")
    return x.tape.add("GlobalAveragePool", [x], Value(x.tape, x.channels, (1, 1), x.dtype))


def _interpolate(
    x: Value,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Value:
    plain = size is None and mode == "bilinear" and align_corners is False and not antialias
    _only(plain and recompute_scale_factor is False and len(x.space) == 2, "interpolation")
    factors = [float(f) for f in (scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * 2)]
    space = tuple(math.floor(n * f) for n, f in zip(x.space, factors, strict=True))
    scales = np.array([1.0, 1.0, *factors], np.float32)
    attributes = {
        "coordinate_transformation_mode": "half_pixel",
        "cubic_coeff_a": -0.75,
        "mode": "linear",
        "nearest_mode": "floor",
    }
    return x.tape.add("Resize", [x, None, scales], Value(x.tape, x.channels, space, x.dtype), **attributes)


HANDLERS: dict[Any, Callable[..., Value]] = {
    torch.conv2d: _conv2d,
    F.linear: _linear,
    F.batch_norm: _batch_norm,
    F.relu: _same("Relu"),
    torch.relu: _same("Relu"),
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    F.hardswish: _same("HardSwish"),
    F.dropout: _dropout,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _avg_pool,
    F.adaptive_avg_pool2d: _adaptive_avg_pool,
    F.interpolate: _interpolate,
    torch.flatten: _flatten,
    torch.add: _add,
    torch.isnan: _is_nan,
    torch.where: _where,
    torch.cat: _cat,
}
