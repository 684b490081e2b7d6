"""What each torch operator becomes in a sketch, one handler an operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autokd.deployment.tape import ELEMENT, Value, array, only, pin, records
from autokd.deployment.widths import CannotSketch, Channels, Weight


def _pair(value: Any) -> tuple[int, int]:
    a, b = (value, value) if isinstance(value, int) else value
    return int(a), int(b)


def _slid(size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[int, ...]:
    steps = zip(size, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), strict=True)
    found = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps)
    only(min(found) > 0, "a window larger than its map")
    return found


@records(torch.conv2d)
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
    only(not isinstance(padding, str) and x.repeat == 1 and len(x.space) == 2, "convolution")
    only(x.channels.count == inside * groups and x.dtype == torch.float32, "convolution")
    depthwise = groups > 1 and groups == outputs and inside == 1
    only(groups == 1 or depthwise, "grouped convolution")
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


@records(F.linear)
def _linear(x: Value, weight: torch.Tensor, bias: Any = None) -> Value:
    outputs, inside = weight.shape
    only(not x.space and x.channels.count * x.repeat == inside and x.dtype == torch.float32, "linear")
    made = Channels(outputs)
    shape = Weight(made, x.channels, x.repeat, transposed=bias is None, bias=bias is not None)
    out = Value(x.tape, made, (), x.dtype)
    if bias is None:
        return x.tape.layer("MatMul", x, shape, weight, out)
    return x.tape.layer("Gemm", x, shape, weight, out, alpha=1.0, beta=1.0, transB=1)


@records(F.batch_norm)
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
    only(x.repeat == 1 and x.dtype == torch.float32 and not training, "batch norm")
    if running_mean is None or running_var is None or weight is None or bias is None:
        raise CannotSketch("batch norm without statistics or without scale")
    numbers = [weight, bias, running_mean, running_var]
    trained = any(isinstance(n, nn.Parameter) for n in numbers)
    out = Value(x.tape, x.channels, x.space, x.dtype)
    given: list[Value | np.ndarray | None] = [x] if trained else [x, *map(array, numbers)]
    x.tape.add("BatchNormalization", given, out, epsilon=eps, momentum=1 - momentum, training_mode=0)
    if trained:
        x.tape.ops[-1].norm = x.channels
    return out


def _same(kind: str) -> Callable[..., Value]:
    """An operator on each number by itself."""

    def handle(x: Value, inplace: bool = False) -> Value:
        return x.tape.add(kind, [x], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))

    return handle


records(F.relu, torch.relu)(_same("Relu"))
records(F.hardswish)(_same("HardSwish"))


@records(F.hardtanh)
def _hardtanh(x: Value, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    bounds = [np.array(min_val, np.float32), np.array(max_val, np.float32)]
    return x.tape.add("Clip", [x, *bounds], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))


@records(F.relu6)
def _relu6(x: Value, inplace: bool = False) -> Value:
    return _hardtanh(x, 0.0, 6.0)


@records(F.dropout)
def _dropout(x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    only(not training, "dropout while training")
    return x


@records(torch.add)
def _add(x: Value, y: Any, alpha: Any = 1) -> Value:
    only(isinstance(y, Value) and alpha == 1, "addition of a constant")
    only((x.space, x.repeat, x.dtype) == (y.space, y.repeat, y.dtype), "broadcasting addition")
    x.channels.join(y.channels)
    return x.tape.add("Add", [x, y], Value(x.tape, x.channels, x.space, x.dtype, x.repeat))


def _constant(kind: str, x: Value, other: Any, dtype: torch.dtype | None = None) -> Value:
    """An operator between a table's columns and a number for each."""
    only(isinstance(other, torch.Tensor) and not x.space and x.repeat == 1, kind)
    values = array(other)
    only(values.shape == (x.channels.count,), f"{kind} with a broadcast constant")
    pin(x)
    return x.tape.add(kind, [x, values], Value(x.tape, x.channels, (), dtype or x.dtype))


@records(torch.sub)
def _sub(x: Value, other: Any) -> Value:
    return _constant("Sub", x, other)


@records(torch.mul)
def _mul(x: Value, other: Any) -> Value:
    return _constant("Mul", x, other)


@records(torch.eq)
def _equal(x: Value, other: Any) -> Value:
    return _constant("Equal", x, other, torch.bool)


@records(torch.isnan)
def _is_nan(x: Value) -> Value:
    return x.tape.add("IsNaN", [x], Value(x.tape, x.channels, x.space, torch.bool, x.repeat))


@records(torch.where)
def _where(condition: Value, x: Any, y: Value) -> Value:
    only(isinstance(x, torch.Tensor) and x.dim() == 0 and isinstance(y, Value), "where")
    condition.channels.join(y.channels)
    out = Value(y.tape, y.channels, y.space, y.dtype, y.repeat)
    return y.tape.add("Where", [condition, array(x), y], out)


@records(torch.cat)
def _cat(tensors: Sequence[Value], dim: int = 0) -> Value:
    only(dim == 1 and all(isinstance(x, Value) and not x.space and x.repeat == 1 for x in tensors), "concatenation")
    for x in tensors:
        pin(x)
    made = Channels(sum(x.channels.count for x in tensors), fixed=True)
    return tensors[0].tape.add("Concat", tensors, Value(tensors[0].tape, made, (), tensors[0].dtype), axis=1)


@records(torch.Tensor.to)
def _cast(x: Value, dtype: torch.dtype) -> Value:
    only(dtype in ELEMENT and dtype != x.dtype, "a cast")
    return x.tape.add("Cast", [x], Value(x.tape, x.channels, x.space, dtype, x.repeat), to=ELEMENT[dtype])


@records(torch.flatten)
def _flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    only(start_dim == 1 and end_dim == -1 and bool(x.space), "flatten")
    out = Value(x.tape, x.channels, (), x.dtype, x.repeat * math.prod(x.space))
    return x.tape.add("Flatten", [x], out, axis=1)


@records(F.max_pool2d, torch.max_pool2d)
def _max_pool(
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    **more: Any,
) -> Value:
    only(not ceil_mode and not more.get("return_indices") and len(x.space) == 2, "max pool")
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


@records(F.avg_pool2d)
def _avg_pool(x: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, *more: Any, **named: Any) -> Value:
    only(_pair(padding) == (0, 0) and not more and not named and len(x.space) == 2, "average pool")
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


@records(F.adaptive_avg_pool2d)
def _adaptive_avg_pool(x: Value, output_size: Any) -> Value:
    only(_pair(output_size) == (1, 1) and len(x.space) == 2, "adaptive average pool")
    return x.tape.add("GlobalAveragePool", [x], Value(x.tape, x.channels, (1, 1), x.dtype))


@records(F.interpolate)
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
    only(plain and recompute_scale_factor is False and len(x.space) == 2, "interpolation")
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
