"""Methods of the form that came before :class:`Knowledge`: ``needs`` and ``loss(student, teacher, targets)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.taps import Batch, Taps
from autokd.errors import ConfigError
from autokd.protocols import DistillationMethod


class Adapted(Knowledge):
    """A classic method as a knowledge."""

    def __init__(self, method: DistillationMethod) -> None:
        super().__init__()
        self.method = method
        self.teacher = frozenset(method.needs)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        return self.method.loss(student, teacher, batch.targets)


def as_knowledge(made: Any, name: str) -> Knowledge:
    """What a factory of methods made, as a knowledge.

    Raises:
        ConfigError: It is neither a knowledge nor a classic method.
    """
    if isinstance(made, Knowledge):
        return made
    if isinstance(made, DistillationMethod):
        return Adapted(made)
    raise ConfigError(
        f"method {name!r} must make an autokd.distillation.knowledge.Knowledge",
        type(made).__name__,
        "Derive from it and give it forward(student, teacher, batch); `needs` and loss(student, teacher, targets) will do too.",
    )
