"""The contract of a scheme of distillation, as a test that any plug-in can run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autokd.distillation.knowledge.kd import KD
from autokd.distillation.schemes import Scheme
from autokd.distillation.schemes.scheme import STUDENT
from autokd.distillation.taps import LOGITS, Batch, Tapped

CLASSES, WIDTH, SIZE = 5, 12, 8


def check_scheme(factory: Callable[[], Scheme]) -> None:
    """Checks what the trainer relies on.

    Nets beside the student have names of their own; a step yields at least one loss of the student and names only nets that
    exist; every loss is a finite scalar whose gradient reaches the net that it names; the batch stays as it was; an equal start
    gives equal steps; and it may be updated between two losses.

    Args:
        factory: Makes an instance with default arguments.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    scheme = factory()
    _hold(isinstance(scheme, Scheme), "a scheme must be an autokd.distillation.schemes.Scheme")
    _hold(isinstance(scheme.revision, int), "revision must be a whole number: it enters every key")
    first, again = _walk(factory()), _walk(factory())
    _hold(first == again, "an equal start must give equal steps")
    _hold(any(name == STUDENT for name, _ in first), "a step must yield a loss of the student")


def _walk(scheme: Scheme) -> list[tuple[str, float]]:
    torch.manual_seed(0)
    beside = dict(scheme.nets(_net))
    _hold(STUDENT not in beside, f"nets beside the student must not be called {STUDENT!r}")
    nets = {STUDENT: _net(0), **beside}
    random = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(SIZE, WIDTH, generator=random), torch.arange(SIZE) % CLASSES
    said = {LOGITS: torch.randn(SIZE, CLASSES, generator=random)}
    batch = Batch(inputs, targets, torch.arange(SIZE), said if scheme.teacher and not scheme.live else {})
    before = [inputs.clone(), targets.clone(), said[LOGITS].clone()]
    teacher = _net(7).requires_grad_(False)

    def ask(x: Tensor) -> dict[str, Tensor]:
        return {LOGITS: teacher(x)}

    found = []
    for name, loss in scheme.step({n: Tapped(net) for n, net in nets.items()}, KD(), batch, ask):
        _hold(name in nets, f"a step must name one of its nets, but got {name!r}")
        _hold(loss.ndim == 0 and bool(torch.isfinite(loss)), "every loss must be a finite scalar")
        for net in nets.values():
            net.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in nets[name].parameters() if p.grad is not None]
        _hold(any(bool(g.abs().sum() > 0) for g in gradients), f"a gradient, not 0, must reach {name!r}")
        with torch.no_grad():
            for p in nets[name].parameters():
                if p.grad is not None:
                    p.sub_(0.01 * p.grad)
        found.append((name, loss.item()))
    after = [inputs, targets, said[LOGITS]]
    _hold(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the batch must not be changed")
    return found


def _net(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def _hold(fact: bool, law: str) -> None:
    if not fact:
        raise AssertionError(law)
