"""The contract of a distillation method, as a test that any plug-in can run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from autokd.protocols import DistillationMethod

SHAPES = ((1, 2), (8, 10), (4, 1000))  # (B, classes)


def check_method(factory: Callable[[], DistillationMethod]) -> None:
    """Checks what the trainer relies on, for several batch sizes and numbers of classes.

    The loss is a finite scalar (also for very large logits); its gradient reaches the student and is finite; the inputs
    stay as they were; the order of the batch does not matter; equal calls give equal losses; and, when the method reads
    the teacher's logits, agreeing with the teacher costs no more than disagreeing.

    Args:
        factory: Makes an instance with default arguments.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    method = factory()
    _hold(isinstance(method.needs, frozenset), "needs must be a frozenset of tap names")
    for batch, classes in SHAPES:
        _check_shape(method, batch, classes)


def _check_shape(method: DistillationMethod, batch: int, classes: int) -> None:
    random = torch.Generator().manual_seed(batch)
    logits = torch.randn(batch, classes, generator=random).requires_grad_()
    wanted = {"logits": 2 * torch.randn(batch, classes, generator=random)} if method.needs else {}
    targets = torch.randint(classes, (batch,), generator=random)
    before = [t.detach().clone() for t in (logits, targets, *wanted.values())]

    loss = method.loss({"logits": logits}, wanted, targets)
    _hold(loss.ndim == 0, f"the loss must be a scalar, but got shape {tuple(loss.shape)}")
    _hold(bool(torch.isfinite(loss)), f"the loss must be finite, but got {loss.item()}")
    loss.backward()
    gradient = logits.grad
    if gradient is None or not bool(torch.isfinite(gradient).all()) or not bool(gradient.abs().sum() > 0):
        raise AssertionError("a finite gradient, not 0, must reach the student's logits")
    after = [t.detach() for t in (logits, targets, *wanted.values())]
    _hold(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the inputs must not be changed")

    def value(student: torch.Tensor, given: dict[str, torch.Tensor], truth: torch.Tensor) -> float:
        with torch.no_grad():
            return method.loss({"logits": student}, given, truth).item()

    plain = logits.detach()
    _hold(value(plain, wanted, targets) == loss.item(), "equal calls must give equal losses")
    order = torch.randperm(batch, generator=random)
    shuffled = value(plain[order], {k: v[order] for k, v in wanted.items()}, targets[order])
    _hold(abs(shuffled - loss.item()) <= 1e-4 * (1 + abs(loss.item())), "the order of the batch must not matter")
    far = value(1e3 * plain, {k: 1e3 * v for k, v in wanted.items()}, targets)
    _hold(abs(far) < float("inf"), "the loss must stay finite for logits in the thousands")
    if "logits" in method.needs:
        agreeing = value(plain, {**wanted, "logits": plain}, targets)
        _hold(agreeing <= loss.item() + 1e-5, "agreeing with the teacher must cost no more than disagreeing")


def _hold(fact: bool, law: str) -> None:
    if not fact:
        raise AssertionError(law)
