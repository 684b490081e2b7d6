"""What surrounds a training: a random state of its own, weights laid out for speed, memory errors by one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from autokd.errors import StageFailure, first_line

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Torch's random state starts from ``seed`` inside; the caller's comes back afterwards."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def memory_errors_named() -> Iterator[None]:
    """Turns "no memory left", however a runtime words it, into a :class:`StageFailure` that may be retried."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or any(hint in text.lower() for hint in _NO_MEMORY):
            raise StageFailure("distill", "out_of_memory", first_line(error, 200)) from error
        raise


@contextmanager
def computing_in(precision: str, model: nn.Module, device: str) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """What to enter around a forward pass; ``"bfloat16"`` is PyTorch's autocast.

    On a processor grouped convolutions stay float32 in it: in bfloat16 depthwise ones take two to three times as long.
    """
    wanted = precision == "bfloat16"
    grouped = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) and m.groups > 1]
    apart = [(m, vars(m).get("forward")) for m in grouped] if wanted and device == "cpu" else []
    for layer, _ in apart:
        layer.forward = partial(_in_float32, layer.forward)  # type: ignore[method-assign]
    try:
        yield lambda: torch.autocast(device, torch.bfloat16, enabled=wanted)
    finally:
        for layer, own in apart:
            del layer.forward  # the class's is there again
            if own is not None:
                layer.forward = own  # type: ignore[method-assign]


def _in_float32(own: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return own(x.float())


@contextmanager
def channels_last(model: nn.Module, device: str) -> Iterator[None]:
    """The model on ``device``, convolutions 1.1-1.6 times faster; then on the CPU, contiguous, in eval mode again."""
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.zero_grad(set_to_none=True)
        model.eval()
