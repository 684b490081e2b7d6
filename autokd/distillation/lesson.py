"""What a training is given: a lesson, which decides the weights, and a session, which decides only how it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.schemes.offline import Offline
from autokd.distillation.schemes.scheme import Ask, Scheme
from autokd.errors import ConfigError
from autokd.protocols import CurvePoint, Pace, Recipe, TeacherOutputs, Views


@dataclass(frozen=True)
class Lesson:
    """All that a trained student depends on beside its first weights.

    Args:
        views: Seeded views of the train split.
        targets: ``(views.size,) int64``, aligned with the views' positions.
        validation: Raw inputs and targets; see :func:`autokd.distillation.validation.subset`.
        recipe: How to train; ``recipe.label_smoothing`` and ``recipe.augment`` are already in ``knowledge`` and ``views``.
        knowledge: What is transferred.
        seed: Of order and dropout.
        teacher: Cached outputs, needed when ``knowledge.teacher`` names a tap.
        scheme: Who trains with whom.
        seen: Samples the weights were trained with before: the order goes on where that training ended, so that several short
            trainings in a row see the whole split, not its beginning again and again.
        to_input: Turns the raw batch into what the model reads, if that is not the raw batch.
        twin: Makes an untrained net like the student from a seed, for a scheme with peers.
        ask: The teacher itself, for a scheme that is live.
        weights: ``(views.size,) float32``, how often each training sample counts in the loss; ``None``: once each.
    """

    views: Views
    targets: np.ndarray
    validation: tuple[np.ndarray, np.ndarray]
    recipe: Recipe
    knowledge: Knowledge
    seed: int
    teacher: TeacherOutputs | None = None
    scheme: Scheme = field(default_factory=Offline)
    seen: int = 0
    to_input: Callable[[torch.Tensor], torch.Tensor] | None = None
    twin: Callable[[int], nn.Module] | None = None
    ask: Ask | None = None
    weights: np.ndarray | None = None

    @property
    def cached(self) -> TeacherOutputs | None:
        """The cached outputs that each batch brings along; ``None`` where nobody reads them."""
        reads = self.knowledge.teacher and self.scheme.teacher and not self.scheme.live
        return self.teacher if reads else None

    def check(self) -> None:
        """Refuse what cannot be taught.

        Raises:
            ConfigError: A knowledge without the teacher, or the taps, that it needs; a scheme without what it asks for.
            ValueError: Targets and views that do not belong together.
        """
        if len(self.targets) != self.views.size:
            law = "targets and views must be aligned"
            raise ValueError(f"{law}, but got {len(self.targets)} targets and {self.views.size} positions")
        if self.weights is not None:
            if len(self.weights) != self.views.size:
                law = "weights and views must be aligned"
                raise ValueError(f"{law}, but got {len(self.weights)} weights and {self.views.size} positions")
            check_weighted(self.knowledge, type(self.knowledge).__name__)
        name, scheme = type(self.knowledge).__name__, type(self.scheme).__name__
        if self.scheme.live and self.ask is None:
            raise ConfigError(
                f"{scheme} must ask the teacher itself", "cached outputs alone", "Use the scheme 'offline'."
            )
        if not self.knowledge.teacher or self.scheme.live or not self.scheme.teacher:
            return
        if self.teacher is None:
            raise ConfigError(f"{name} must have a teacher", "none", "Use the method 'none' to train without one.")
        if missing := sorted(self.knowledge.teacher - self.teacher.names):
            have = "The teacher has " + ", ".join(sorted(self.teacher.names)) + "."
            raise ConfigError(f"{name} must be given the teacher's taps that it needs", ", ".join(missing), have)


def check_weighted(knowledge: Knowledge, name: str) -> None:
    """Refuse a knowledge that would leave class weights unheeded.

    Raises:
        ConfigError: It does not say that it heeds them.
    """
    if not knowledge.weighted:
        law = "`training.class_weights` needs a method that heeds `batch.weights`"
        mend = "Set `weighted = True` in its class once it does, or use `class_weights: none`."
        raise ConfigError(law, f"{name!r}, which does not say so", mend)


@dataclass(frozen=True)
class Session:
    """How a training runs; none of it changes what is learnt.

    Args:
        pace: Entered around every batch, training and validation alike.
        device: ``"cpu"`` or ``"cuda"``.
        checkpoint: File that keeps an interrupted training, which goes on from it bit for bit. The caller removes it.
        until: Share of the training in (0, 1) at which to rest; needs a checkpoint.
        report: Called with every new point of the learning curve; an exception it raises ends the training.
    """

    pace: Pace = nullcontext
    device: str = "cpu"
    checkpoint: Path | None = None
    until: float | None = None
    report: Callable[[CurvePoint], None] | None = None

    def check(self) -> None:
        """Refuse a rest that nothing could be gone on from."""
        if self.until is not None and self.checkpoint is None:
            raise ValueError("a training that rests must keep a checkpoint, but got none")
