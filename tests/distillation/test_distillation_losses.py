"""Golden numbers, gradients and the shipped contract of the distillation losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autokd import registry
from autokd.distillation.knowledge.kd import KD
from autokd.distillation.knowledge.labels import Labels
from autokd.distillation.taps import Batch
from autokd.errors import ConfigError
from autokd.testing.methods import check_method

torch.set_num_threads(1)

STUDENT = np.array([[2.0, -1.0, 0.5], [0.0, 0.3, -0.7], [1.0, 1.0, 4.0]])
TEACHER = np.array([[3.0, 0.0, -2.0], [-1.0, 2.0, 0.5], [0.2, -0.4, 5.0]])
TARGETS = np.array([0, 1, 1])


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))


def expected(alpha: float, temperature: float, smoothing: float) -> float:
    """The published formula in float64, sample by sample."""
    log_p = log_softmax(STUDENT)
    soft_s, soft_t = log_softmax(STUDENT / temperature), log_softmax(TEACHER / temperature)
    total = 0.0
    for i, y in enumerate(TARGETS):
        q = [smoothing / 3 + (1 - smoothing) * (k == y) for k in range(3)]
        hard = -sum(q[k] * log_p[i, k] for k in range(3))
        soft = sum(math.exp(soft_t[i, k]) * (soft_t[i, k] - soft_s[i, k]) for k in range(3))
        total += (1 - alpha) * hard + alpha * temperature**2 * soft
    return total / len(TARGETS)


def loss_of(method: KD | Labels, student: torch.Tensor, teacher: torch.Tensor | None = None) -> torch.Tensor:
    wanted = torch.tensor(TEACHER) if teacher is None else teacher
    return method({"logits": student}, {"logits": wanted}, batch_of(torch.tensor(TARGETS)))


def batch_of(targets: torch.Tensor) -> Batch:
    return Batch(torch.zeros(len(targets), 1), targets, torch.arange(len(targets)))


@pytest.mark.parametrize(
    ("alpha", "temperature", "smoothing"),
    [(0.9, 4.0, 0.0), (0.5, 1.0, 0.0), (1.0, 3.0, 0.0), (0.0, 2.0, 0.1), (0.3, 8.0, 0.2)],
)
def test_kd_is_the_published_formula(alpha: float, temperature: float, smoothing: float) -> None:
    got = loss_of(KD(alpha, temperature, smoothing), torch.tensor(STUDENT)).item()
    assert got == pytest.approx(expected(alpha, temperature, smoothing), rel=1e-12)


def test_kd_golden_number() -> None:
    """By hand: p(s) = (3/4, 1/4), p(t) = (1/2, 1/2), so KL = ln(1/2) - (ln(3/4) + ln(1/4)) / 2 = ln(2 / sqrt 3)."""
    s, t = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    got = KD(alpha=1.0, temperature=1.0)({"logits": s}, {"logits": t}, batch_of(torch.tensor([0]))).item()
    assert got == pytest.approx(math.log(2 / math.sqrt(3)), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_plain_loss_is_cross_entropy(smoothing: float) -> None:
    got = loss_of(Labels(smoothing), torch.tensor(STUDENT)).item()
    assert got == pytest.approx(expected(0.0, 1.0, smoothing), rel=1e-12)


@pytest.mark.parametrize("method", [KD(), KD(0.5, 2.0, 0.1), Labels(0.1)], ids=repr)
def test_gradients_match_finite_differences(method: KD | Labels) -> None:
    student = torch.tensor(STUDENT, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: loss_of(method, s), (student,))


def test_soft_gradient_is_the_difference_of_probabilities() -> None:
    """d/ds of T^2 KL is T (p(s/T) - p(t/T)), per sample."""
    student = torch.tensor(STUDENT, requires_grad=True)
    loss_of(KD(alpha=1.0, temperature=3.0), student).backward()
    want = 3.0 * (np.exp(log_softmax(STUDENT / 3)) - np.exp(log_softmax(TEACHER / 3))) / len(TARGETS)
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), want, rtol=1e-10)


def test_t_squared_keeps_the_gradient_when_the_temperature_grows() -> None:
    norms = []
    for temperature in (20.0, 80.0):
        student = torch.tensor(STUDENT, requires_grad=True)
        loss_of(KD(alpha=1.0, temperature=temperature), student).backward()
        assert student.grad is not None
        norms.append(student.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_agreeing_student_pays_only_for_the_labels() -> None:
    student = torch.tensor(STUDENT)
    assert loss_of(KD(alpha=1.0), student, student).item() == pytest.approx(0.0, abs=1e-12)
    assert loss_of(KD(alpha=0.25), student, student).item() == pytest.approx(0.75 * expected(0.0, 1.0, 0.0))


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.tensor(TEACHER, requires_grad=True)
    loss_of(KD(), torch.tensor(STUDENT, requires_grad=True), teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"alpha": "much"},
        {"alpha": True},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"label_smoothing": 1.0},
        {"label_smoothing": -1},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        KD(**arguments)


@pytest.mark.parametrize("name", registry.names("methods"))
def test_contract_of_everything_registered(name: str) -> None:
    check_method(registry.load("methods", name))


class Broken(KD):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, student, teacher, batch):  # type: ignore[no-untyped-def]
        if self.how == "vector":
            return (student["logits"] - teacher["logits"]).square().mean(1)
        if self.how == "mutates":
            with torch.no_grad():
                teacher["logits"].mul_(0.5)
        if self.how == "no gradient":
            return super().forward({"logits": student["logits"].detach().requires_grad_()}, teacher, batch)
        if self.how == "order":
            weight = torch.arange(1.0, len(batch.targets) + 1)
            return (weight * (student["logits"] - teacher["logits"]).square().mean(1)).sum()
        if self.how == "overflow":
            return (student["logits"].exp() - teacher["logits"].exp()).square().mean()
        if self.how == "repels":
            return 100 - (student["logits"].softmax(1) - teacher["logits"].softmax(1)).square().sum(1).mean()
        return super().forward(student, teacher, batch)


def test_contract_passes_what_it_should() -> None:
    check_method(lambda: Broken("not at all"))


@pytest.mark.parametrize("how", ["vector", "mutates", "no gradient", "order", "overflow", "repels"])
def test_contract_notices(how: str) -> None:
    with pytest.raises(AssertionError):
        check_method(lambda: Broken(how))
