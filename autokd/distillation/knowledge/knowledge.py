"""What a kind of knowledge is to the trainer: a loss over named taps, and perhaps something of its own that is trained with it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from autokd.distillation.taps import LOGITS, Batch, Shapes, Taps


class Knowledge(nn.Module):
    """A loss over named taps of student and teacher; it never sees an architecture.

    It is an ``nn.Module``: what it trains of its own (a regressor, a head) is moved, optimised and kept in checkpoints with the
    student. Keyword arguments of its constructor are the recipe: they stand in ``distillation:`` or are searched. ``revision`` is
    part of every key; raise it when equal arguments give another loss, or old students are taken for new ones.

    A knowledge of one's own is named ``my_package.losses:Margin`` where a study file says ``method``:

    >>> import torch
    >>> from autokd.distillation.knowledge import Knowledge
    >>> from autokd.distillation.taps import Batch
    >>> class Margin(Knowledge):
    ...     '''The student keeps the teacher's distance between classes.'''
    ...     def forward(self, student, teacher, batch):
    ...         return (student["logits"] - teacher["logits"]).diff(dim=1).square().mean()
    >>> logits, targets = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> batch = Batch(inputs=logits, targets=targets, index=targets)
    >>> Margin()({"logits": logits}, {"logits": torch.tensor([[1.0, 0.0]])}, batch).item()
    1.0
    """

    revision: ClassVar[int] = 1
    student: frozenset[str] = frozenset({LOGITS})
    """Taps of the student that it reads."""
    teacher: frozenset[str] = frozenset({LOGITS})
    """Taps of the teacher that it reads; empty: it needs none."""
    weighted: ClassVar[bool] = False
    """Whether it heeds ``batch.weights`` (``training.class_weights``); one that does not is refused where they are asked for."""

    def fit_to(self, student: Shapes, teacher: Shapes) -> None:
        """Build what is trained with it, from the shapes of one sample by tap; called once, before the first step."""

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        """The scalar loss of a batch; gradient flows to the student, and to what is trained with it."""
        raise NotImplementedError
