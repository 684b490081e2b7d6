"""What a module does to one input, recorded without computing anything: the operators, their wiring and their widths.

The module runs once on a :class:`autokd.deployment.tape.Value` instead of a tensor. A value has a shape, a type and no numbers;
torch hands every function that meets one to :func:`autokd.deployment.tape.call` (``__torch_function__``). So nothing is allocated,
and the module may live on torch's meta device. What is recorded is what PyTorch's exporter would write after
:mod:`autokd.deployment.graph` has tidied it; whatever has no handler in :mod:`autokd.deployment.operators` raises
:class:`CannotSketch`, and the caller exports instead.
"""

from __future__ import annotations

import torch
from torch import nn

from autokd.deployment import operators
from autokd.deployment.tape import Tape, Value, pin
from autokd.deployment.widths import CannotSketch, Channels
from autokd.protocols import InputSpec

__all__ = ["operators", "record"]  # importing the operators registers them


def record(module: nn.Module, spec: InputSpec) -> tuple[Tape, Value, Value]:
    """Run ``module``, in evaluation mode, on a value of the raw input; its tape, the input and the output.

    Raises:
        CannotSketch: It does what no handler knows.
    """
    owners = {id(m.weight): m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    tape = Tape(owners)
    if len(spec.inputs) != 1 or not spec.shape:
        raise CannotSketch("the raw input must be one array with channels or features")
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
    pin(scores)
    return tape, source, scores
