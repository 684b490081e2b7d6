"""The nets of a training, each with its optimizer; the student's also moves what the knowledge trains of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autokd.distillation import optim
from autokd.distillation.contexts import channels_last, computing_in
from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.lesson import Lesson
from autokd.distillation.schemes.scheme import STUDENT
from autokd.distillation.taps import Tapped, shapes_of
from autokd.errors import ConfigError

KNOWLEDGE = "knowledge"
MAX_NORM = 5.0  # of the gradient


@dataclass(frozen=True)
class Learners:
    """Nets by name, their optimizers, and the nets as a scheme calls them."""

    nets: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    weights: Mapping[str, list[nn.Parameter]]
    tapped: Mapping[str, Tapped]
    knowledge: Knowledge

    @classmethod
    @contextmanager
    def ready(cls, model: nn.Module, lesson: Lesson, device: str, first: Callable[[], Tensor]) -> Iterator[Learners]:
        """Every net on the device, laid out for speed and in training mode; afterwards on the CPU again, ready to export.

        Args:
            model: The student.
            lesson: Names scheme and knowledge.
            device: ``"cpu"`` or ``"cuda"``.
            first: Gives a few samples as the student reads them; shapes of taps are taken from them.

        Raises:
            ConfigError: The scheme needs twins and nobody makes them, or an impossible recipe.
        """
        nets = {STUDENT: model, **lesson.scheme.nets(lesson.twin or _no_twins(lesson))}
        with ExitStack() as stack:
            casts: dict[str, Callable[[], AbstractContextManager[Any]]] = {}
            for name, net in nets.items():
                stack.enter_context(channels_last(net, device))
                casts[name] = stack.enter_context(computing_in(lesson.recipe.precision, net, device))
                net.train()
            fit_knowledge(lesson, model, first)
            knowledge = lesson.knowledge.to(device).train()
            moved = dict(nets)
            if any(True for _ in knowledge.parameters()):
                moved[STUDENT] = nn.ModuleList([model, knowledge])
            optimizers = {name: optim.build(net, lesson.recipe) for name, net in moved.items()}
            weights = {name: [p for p in net.parameters() if p.requires_grad] for name, net in moved.items()}
            tapped = {name: Tapped(net, casts[name]) for name, net in nets.items()}
            yield cls(nets, optimizers, weights, tapped, knowledge)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint keeps the weights of."""
        return {**self.nets, **({KNOWLEDGE: self.knowledge} if self.knowledge.state_dict() else {})}

    def update(self, name: str, loss: Tensor, rate: float) -> None:
        """One step of one net."""
        optimizer = self.optimizers[name]
        optim.set_rate(optimizer, rate)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights[name], MAX_NORM)
        optimizer.step()
        self.forget()

    def forget(self) -> None:
        """No gradients anywhere: a loss of one net may have reached another."""
        for other in self.optimizers.values():
            other.zero_grad(set_to_none=True)

    def finite(self) -> bool:
        """Whether every weight and running statistic is a number."""
        return all(bool(torch.isfinite(v).all()) for net in self.modules.values() for v in net.state_dict().values())


def fit_knowledge(lesson: Lesson, model: nn.Module, first: Callable[[], Tensor]) -> None:
    """Let a knowledge that trains something of its own build it."""
    knowledge = lesson.knowledge
    if type(knowledge).fit_to is Knowledge.fit_to:
        return
    inputs = first()
    said: dict[str, tuple[int, ...]] = {}
    if not lesson.scheme.teacher:  # nets like the student
        said = shapes_of(model, inputs, knowledge.teacher)
    elif lesson.cached is not None:
        found = lesson.cached.taps(np.zeros(1, dtype=np.int64), 0, knowledge.teacher)
        said = {name: tuple(value.shape[1:]) for name, value in found.items()}
    elif lesson.ask is not None:
        said = {name: tuple(value.shape[1:]) for name, value in lesson.ask(inputs).items()}
    knowledge.fit_to(shapes_of(model, inputs, knowledge.student), said)


def _no_twins(lesson: Lesson) -> Callable[[int], nn.Module]:
    def make(seed: int) -> nn.Module:
        raise ConfigError(f"{type(lesson.scheme).__name__} must be given twins of the student", "none can be made here")

    return make
