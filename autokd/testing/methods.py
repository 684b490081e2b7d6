"""The contract of a distillation method, as a test that any plug-in can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from autokd.distillation.knowledge import Knowledge
from autokd.distillation.knowledge.classic import as_knowledge
from autokd.distillation.taps import LOGITS, Batch

SHAPES = ((1, 2), (8, 10), (4, 1000))  # (B, classes)
STUDENT, TEACHER = (6, 4, 4), (10, 4, 4)
"""Shapes of one sample that student and teacher put out at every tap but their logits."""


def check_method(
    factory: Callable[[], Any], student: Mapping[str, tuple[int, ...]] | None = None,
    teacher: Mapping[str, tuple[int, ...]] | None = None,
) -> None:  # fmt: skip
    """Checks what the trainer relies on, for several batch sizes and numbers of classes.

    The loss is a finite scalar (also for very large logits); its gradient reaches the student, and whatever the knowledge trains
    of its own, and is finite; the inputs stay as they were; the order of the batch does not matter; equal calls give equal losses;
    where it reads nothing but logits, agreeing with the teacher costs no more than disagreeing; and one that says that it heeds
    class weights (``weighted``) does.

    Args:
        factory: Makes an instance with default arguments: a :class:`Knowledge`, or a method of the older form.
        student: Shape of one sample by tap, where the student's taps must be other than ``(6, 4, 4)``.
        teacher: Likewise of the teacher, ``(10, 4, 4)``.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    first = as_knowledge(factory(), str(factory))
    _hold(isinstance(first.student, frozenset), "student must be a frozenset of tap names")
    _hold(isinstance(first.teacher, frozenset), "teacher must be a frozenset of tap names")
    _hold(isinstance(first.revision, int), "revision must be a whole number: it enters every key")
    for batch, classes in SHAPES:
        torch.manual_seed(0)
        knowledge = as_knowledge(factory(), str(factory))
        own = dict.fromkeys(knowledge.student, STUDENT) | dict(student or {}) | {LOGITS: (classes,)}
        said = dict.fromkeys(knowledge.teacher, TEACHER) | dict(teacher or {})
        said |= {LOGITS: (classes,)} if LOGITS in knowledge.teacher else {}
        knowledge.fit_to(own, said)
        _check_shape(knowledge, batch, classes, own, said)


def _check_shape(
    knowledge: Knowledge,
    size: int,
    classes: int,
    own: Mapping[str, tuple[int, ...]],
    said: Mapping[str, tuple[int, ...]],
) -> None:
    random = torch.Generator().manual_seed(size)
    taps = {name: torch.randn(size, *shape, generator=random).requires_grad_() for name, shape in sorted(own.items())}
    wanted = {n: (2 * torch.randn(size, *s, generator=random)) for n, s in sorted(said.items())}
    targets = torch.randint(classes, (size,), generator=random)
    before = [t.detach().clone() for t in (*taps.values(), targets, *wanted.values())]

    def value(student: Mapping[str, Tensor], given: Mapping[str, Tensor], truth: Tensor) -> float:
        with torch.no_grad():
            return knowledge(student, given, _batch(truth)).item()

    loss = knowledge(taps, wanted, _batch(targets))
    _hold(loss.ndim == 0, f"the loss must be a scalar, but got shape {tuple(loss.shape)}")
    _hold(bool(torch.isfinite(loss)), f"the loss must be finite, but got {loss.item()}")
    loss.backward()
    _check_gradients(knowledge, taps)
    after = [t.detach() for t in (*taps.values(), targets, *wanted.values())]
    _hold(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the inputs must not be changed")

    taps = {name: t.detach() for name, t in taps.items()}
    wanted = {name: t.detach() for name, t in wanted.items()}
    _hold(value(taps, wanted, targets) == loss.item(), "equal calls must give equal losses")
    order = torch.randperm(size, generator=random)
    shuffled = value({k: v[order] for k, v in taps.items()}, {k: v[order] for k, v in wanted.items()}, targets[order])
    _hold(abs(shuffled - loss.item()) <= 1e-4 * (1 + abs(loss.item())), "the order of the batch must not matter")
    large = {k: 1e3 * v if k == LOGITS else v for k, v in taps.items()}
    far = value(large, {k: 1e3 * v if k == LOGITS else v for k, v in wanted.items()}, targets)
    _hold(abs(far) < float("inf"), "the loss must stay finite for logits in the thousands")
    if knowledge.weighted:
        _check_weights(knowledge, taps, wanted, targets)
    if knowledge.teacher == {LOGITS} == knowledge.student:
        agreeing = value(taps, {LOGITS: taps[LOGITS]}, targets)
        _hold(agreeing <= loss.item() + 1e-5, "agreeing with the teacher must cost no more than disagreeing")


def _check_weights(
    knowledge: Knowledge, taps: Mapping[str, Tensor], wanted: Mapping[str, Tensor], targets: Tensor
) -> None:
    size = len(targets)
    with torch.no_grad():
        plain, ones, twos = (
            knowledge(taps, wanted, _batch(targets, weights)).item()
            for weights in (None, torch.ones(size), torch.full((size,), 2.0))
        )
    _hold(abs(ones - plain) <= 1e-4 * (1 + abs(plain)), "weights of 1 must give the loss without weights")
    _hold(abs(twos - plain) > 1e-6, "a knowledge that says `weighted` must heed `batch.weights`")


def _check_gradients(knowledge: Knowledge, taps: Mapping[str, Tensor]) -> None:
    reached = [t.grad for t in taps.values() if t.grad is not None]
    _hold(bool(reached) and any(bool(g.abs().sum() > 0) for g in reached), "a gradient, not 0, must reach the student")
    trained = [p.grad for p in knowledge.parameters() if p.requires_grad]
    _hold(all(g is not None for g in trained), "a gradient must reach all that the knowledge trains of its own")
    everywhere = [*reached, *(g for g in trained if g is not None)]
    _hold(all(bool(torch.isfinite(g).all()) for g in everywhere), "every gradient must be finite")


def _batch(targets: Tensor, weights: Tensor | None = None) -> Batch:
    return Batch(torch.zeros(len(targets), 1), targets, torch.arange(len(targets)), weights=weights)


def _hold(fact: bool, law: str) -> None:
    if not fact:
        raise AssertionError(law)
