"""What a scheme is to the trainer: who trains with whom, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from torch import Tensor, nn

from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.taps import Batch, Tapped, Taps
from autokd.errors import ConfigError

STUDENT = "student"
Ask = Callable[[Tensor], Taps]
"""The teacher's answer to inputs that no bank holds."""


class Scheme:
    """Who trains with whom and when. The trainer keeps order, pace, precision, clipping, curves, checkpoints and rests.

    ``step`` is a generator: it yields the name of a net and a loss, the trainer updates that net, and comes back for the next.
    ``live`` says that it makes inputs of its own, so that the teacher's cached outputs cannot serve it; ``teacher = False`` that
    its nets teach each other.

    A student that learns from a twin of its own, each in its turn:

    >>> import torch
    >>> from autokd.distillation.knowledge.kd import KD
    >>> from autokd.distillation.schemes import Scheme
    >>> from autokd.distillation.taps import Batch, Tapped
    >>> class Twins(Scheme):
    ...     teacher = False
    ...     def nets(self, make):
    ...         return {"twin": make(1)}
    ...     def step(self, nets, knowledge, batch, ask):
    ...         said = {name: net(batch.inputs) for name, net in nets.items()}
    ...         for name, other in (("student", "twin"), ("twin", "student")):
    ...             yield name, knowledge(said[name], said[other], batch)
    >>> nets = {name: Tapped(torch.nn.Linear(4, 3)) for name in ("student", "twin")}
    >>> x, y = torch.ones(2, 4), torch.tensor([0, 1])
    >>> [name for name, loss in Twins().step(nets, KD(), Batch(x, y, y), ask=None)]
    ['student', 'twin']
    """

    revision: ClassVar[int] = 1
    live: bool = False
    teacher: bool = True
    """Whether what a knowledge reads of a teacher is said by one outside; else the scheme's own nets say it."""

    def nets(self, make: Callable[[int], nn.Module]) -> Mapping[str, nn.Module]:
        """Nets beside the student, by name; ``make(i)`` gives an untrained twin of the student from seed ``i``."""
        return {}

    def step(
        self, nets: Mapping[str, Tapped], knowledge: Knowledge, batch: Batch, ask: Ask
    ) -> Iterator[tuple[str, Tensor]]:
        """Losses of one batch, each with the net that it updates.

        Args:
            nets: ``"student"`` and the nets of :meth:`nets`; called with inputs and tap names they answer with the taps.
            knowledge: What is transferred.
            batch: The data's part of it, and what the teacher said.
            ask: The teacher itself, for a scheme that is ``live``.
        """
        raise NotImplementedError


def as_scheme(made: object, name: str) -> Scheme:
    """What a factory of schemes made, as a scheme.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(made, Scheme):
        return made
    law = f"scheme {name!r} must make an autokd.distillation.schemes.Scheme"
    raise ConfigError(law, type(made).__name__, "Derive from it and give it step(nets, knowledge, batch, ask).")
