"""Taps: named places of a net whose values a knowledge compares.

``"logits"`` is what a net returns. Every other name is a role that the net offers (``taps() -> {"embedding": module}``) or the
path of a module in it, and stands for what that module puts out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autokd.errors import ConfigError, nearest

LOGITS = "logits"
Taps = Mapping[str, Tensor]
"""Values by tap, float32, the batch first."""
Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of one sample by tap."""


@dataclass(frozen=True)
class Batch:
    """One step of a training. Whoever brings a new kind of method adds no argument to the loop.

    Args:
        inputs: Raw samples ``(B, *shape)`` as the student reads them.
        targets: ``(B,) int64``.
        index: Positions in the train split, ``(B,) int64``.
        teacher: What the teacher said of these very inputs, by tap; empty without a teacher.
        weights: How often each sample counts in the loss, ``(B,) float32``, once on average over the train split; ``None``: once
            each.
    """

    inputs: Tensor
    targets: Tensor
    index: Tensor
    teacher: Taps = field(default_factory=dict)
    weights: Tensor | None = None


@contextmanager
def recording(net: nn.Module, names: frozenset[str]) -> Iterator[dict[str, Tensor]]:
    """What the named taps of a net put out in the next forward pass; ``"logits"`` needs no hook and is not among them.

    Raises:
        ConfigError: The net has no such tap.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, given, made: seen.__setitem__(name, made)

    hooks = [module_of(net, name).register_forward_hook(keep(name)) for name in sorted(names - {LOGITS})]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def module_of(net: nn.Module, name: str) -> nn.Module:
    """The module behind a tap: a role that the net or the net inside it offers, else the module of that path.

    Raises:
        ConfigError: There is none; the nearest name is offered.
    """
    inner = getattr(net, "model", net)
    known: dict[str, nn.Module] = {}
    for owner in (net, inner):
        known |= dict(owner.named_modules())
    for owner in (net, inner):
        offered = getattr(owner, "taps", None)
        known |= offered() if callable(offered) else {}
    known.pop("", None)
    if name not in known:
        law = "a tap must be `logits`, a role that the net offers or the path of one of its modules"
        raise ConfigError(law, repr(name), nearest(name, known))
    return known[name]


class Tapped:
    """A net that answers with the taps that it is asked for, in float32.

    Args:
        net: Reads raw samples, returns logits ``(B, classes)``.
        cast: Entered around a forward pass; the trainer's precision.
    """

    def __init__(self, net: nn.Module, cast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        self.net, self.cast = net, cast

    def __call__(self, inputs: Tensor, names: frozenset[str] = frozenset({LOGITS})) -> dict[str, Tensor]:
        """Values of the taps ``names`` on ``inputs``, and the logits whether they are asked for or not."""
        if names <= {LOGITS}:  # nearly every training: no hooks
            with self.cast():
                logits = self.net(inputs)
            return {LOGITS: logits.float()}
        with recording(self.net, names) as seen, self.cast():
            logits = self.net(inputs)
        return {name: value.float() for name, value in seen.items()} | {LOGITS: logits.float()}


def shapes_of(net: nn.Module, inputs: Tensor, names: frozenset[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of one sample by tap, from a pass over a few ``inputs`` that leaves the net as it was."""
    was_training = net.training
    net.eval()
    with torch.no_grad():
        found = Tapped(net)(inputs, names)
    net.train(was_training)
    return {name: tuple(value.shape[1:]) for name, value in found.items()}
