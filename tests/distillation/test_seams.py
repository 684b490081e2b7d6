"""Knowledge and schemes of every kind through the trainer, which knows none of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from support import PlainViews
from torch import Tensor, nn
from torch.nn import functional as F

from autokd import registry
from autokd.distillation import trainer
from autokd.distillation.knowledge import Knowledge
from autokd.distillation.knowledge.classic import as_knowledge
from autokd.distillation.knowledge.kd import KD
from autokd.distillation.knowledge.labels import Labels
from autokd.distillation.lesson import Lesson, Session
from autokd.distillation.schemes import Scheme
from autokd.distillation.taps import Batch, Tapped, module_of, shapes_of
from autokd.errors import ConfigError
from autokd.protocols import Recipe
from autokd.testing.methods import check_method
from autokd.testing.schemes import check_scheme

LOGITS = frozenset({"logits"})
SHORT = Recipe(samples=12000, batch_size=64, lr=0.1)


class Net(nn.Module):
    """Reads raw digits; offers a role."""

    def __init__(self, width: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one, self.two, self.head = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)

    def taps(self) -> dict[str, nn.Module]:
        return {"embedding": self.two}

    def forward(self, raw: Tensor) -> Tensor:
        x = raw.float().flatten(1) / 16 - 0.3
        return self.head(F.relu(self.two(F.relu(self.one(x)))))


@dataclass
class Said:
    """A teacher's taps, computed once as a bank would."""

    values: Mapping[str, np.ndarray]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.values)

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        return {name: self.values[name][positions] for name in names}


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    torch.set_num_threads(1)
    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 1, 8, 8).astype(np.uint8), y.astype(np.int64)
    plain = Lesson(
        PlainViews(x[:1200]), y[:1200], (x[1200:1600], y[1200:1600]), replace(SHORT, samples=12000), Labels(), 0
    )
    teacher = Net(96, seed=5)
    trainer.fit(teacher, plain)
    with torch.no_grad():
        said = Tapped(teacher)(torch.from_numpy(x[:1200]), frozenset({"embedding"}))
    values = {name: value.numpy() for name, value in said.items()}
    return replace(
        plain,
        recipe=SHORT,
        teacher=Said(values),
        twin=lambda seed: Net(12, 100 + seed),
        ask=lambda raw: Tapped(teacher)(raw),
    )


class FitNets(Knowledge):
    """A regressor of its own between two embeddings."""

    student = teacher = frozenset({"logits", "embedding"})

    def fit_to(self, student: Mapping[str, tuple[int, ...]], teacher: Mapping[str, tuple[int, ...]]) -> None:
        self.regress = nn.Conv2d(student["embedding"][0], teacher["embedding"][0], 1)

    def forward(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], batch: Batch) -> Tensor:
        own, said = (t.flatten(2) if t.ndim > 2 else t[..., None] for t in (student["embedding"], teacher["embedding"]))
        hint = F.mse_loss(self.regress(own[..., None])[..., 0], said.detach())
        return F.cross_entropy(student["logits"], batch.targets) + hint


class RKD(Knowledge):
    """Distances between samples; no parameters, any widths."""

    student = teacher = frozenset({"logits", "embedding"})

    def forward(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], batch: Batch) -> Tensor:
        def distances(x: Tensor) -> Tensor:
            found = (x.flatten(1)[:, None] - x.flatten(1)[None]).square().sum(-1)
            return found / found.mean().clamp_min(1e-6)

        apart = F.smooth_l1_loss(distances(student["embedding"]), distances(teacher["embedding"].detach()))
        return F.cross_entropy(student["logits"], batch.targets) + apart


class Mutual(Scheme):
    """Deep mutual learning: peers that are each other's teachers."""

    teacher = False

    def nets(self, make: Callable[[int], nn.Module]) -> Mapping[str, nn.Module]:
        return {"peer 1": make(1), "peer 2": make(2)}

    def step(
        self, nets: Mapping[str, Tapped], knowledge: Knowledge, batch: Batch, ask: Any
    ) -> Iterator[tuple[str, Tensor]]:
        seen = {name: net(batch.inputs, knowledge.student) for name, net in nets.items()}
        for name in nets:
            others = [seen[other] for other in nets if other != name]
            mean = {tap: torch.stack([o[tap].detach() for o in others]).mean(0) for tap in knowledge.teacher}
            yield name, knowledge(seen[name], mean, batch)


class DataFree(Scheme):
    """A generator that looks for inputs on which student and teacher disagree."""

    live = True

    def nets(self, make: Callable[[int], nn.Module]) -> Mapping[str, nn.Module]:
        return {"generator": nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())}

    def step(
        self, nets: Mapping[str, Tapped], knowledge: Knowledge, batch: Batch, ask: Any
    ) -> Iterator[tuple[str, Tensor]]:
        def made() -> Tensor:
            raw = nets["generator"].net(torch.randn(len(batch.targets), 16)) * 16
            return (
                raw.reshape(-1, *batch.inputs.shape[1:]) if batch.inputs.ndim > 2 else raw[:, : batch.inputs.shape[1]]
            )

        def gap(raw: Tensor) -> Tensor:
            return F.l1_loss(nets["student"](raw)["logits"], ask(raw)["logits"])

        yield "generator", -gap(made())
        for _ in range(3):
            yield "student", gap(made().detach())


def train(lesson: Lesson, seed: int = 0, session: Session | None = None, **changes: Any) -> tuple[nn.Module, float]:
    model = Net(12, seed)
    result = trainer.fit(model, replace(lesson, **changes), session)
    return model, result.curve[-1].validation_accuracy


@pytest.mark.parametrize("knowledge", [Labels, KD, FitNets, RKD])
def test_every_kind_of_knowledge_is_learnt(lesson: Lesson, knowledge: type[Knowledge]) -> None:
    made = knowledge()
    model, accuracy = train(lesson, knowledge=made)
    assert accuracy > 0.7
    again, _ = train(lesson, knowledge=knowledge())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not any(m._forward_hooks for m in model.modules()), "the model is as it was"


def test_what_a_knowledge_trains_of_its_own_is_trained(lesson: Lesson) -> None:
    made = FitNets()
    train(lesson, knowledge=made)
    fresh = FitNets()
    torch.manual_seed(0)
    fresh.fit_to({"embedding": (12,)}, {"embedding": (96,)})
    assert made.regress.weight.shape == fresh.regress.weight.shape
    assert not torch.equal(made.regress.weight, fresh.regress.weight)


@pytest.mark.parametrize("scheme", [Mutual, DataFree])
def test_every_scheme_runs_through_the_same_loop(lesson: Lesson, scheme: type[Scheme]) -> None:
    recipe = replace(SHORT, samples=12000 if scheme is Mutual else 60000)
    _, accuracy = train(lesson, scheme=scheme(), knowledge=KD(0.5, 1.0), recipe=recipe)
    assert accuracy > 0.4  # noise alone gives 0.1
    check_scheme(scheme)


def test_peers_need_no_teacher(lesson: Lesson) -> None:
    _, accuracy = train(lesson, scheme=Mutual(), knowledge=KD(0.5, 1.0), teacher=None, ask=None)
    assert accuracy > 0.4


def test_peers_and_regressors_are_kept_in_checkpoints(lesson: Lesson, tmp_path: Path) -> None:
    whole, _ = train(lesson, scheme=Mutual(), knowledge=FitNets())
    file = tmp_path / "checkpoint"
    left = [25]

    @contextlib.contextmanager
    def pace() -> Iterator[None]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "SAVE_EVERY_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            train(lesson, session=Session(pace=pace, checkpoint=file), scheme=Mutual(), knowledge=FitNets())
        resumed, _ = train(lesson, 9, Session(checkpoint=file), scheme=Mutual(), knowledge=FitNets())
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": None, "knowledge": KD()}, "KD must have a teacher"),
        ({"teacher": Said({"logits": np.zeros((1200, 10))}), "knowledge": RKD()}, "embedding"),
        ({"scheme": DataFree(), "ask": None}, "DataFree must ask the teacher itself"),
        ({"scheme": Mutual(), "twin": None}, "Mutual must be given twins"),
    ],
    ids=["no teacher", "no tap", "not live", "no twins"],
)
def test_what_cannot_be_taught_is_refused(lesson: Lesson, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train(lesson, **changes)


def test_a_scheme_that_is_not_live_cannot_ask(lesson: Lesson) -> None:
    class Sly(Scheme):
        def step(self, nets: Any, knowledge: Any, batch: Batch, ask: Any) -> Iterator[tuple[str, Tensor]]:
            yield "student", F.mse_loss(nets["student"](batch.inputs)["logits"], ask(batch.inputs)["logits"])

    with pytest.raises(ConfigError, match="must be `live`"):
        train(lesson, scheme=Sly(), ask=None)


def test_a_tap_is_a_role_or_the_path_of_a_module() -> None:
    net = Net(6)
    assert module_of(net, "embedding") is net.two and module_of(net, "one") is net.one
    with pytest.raises(ConfigError, match="Did you mean 'embedding'"):
        module_of(net, "embeding")
    raw = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert shapes_of(net, raw, frozenset({"embedding", "one"})) == {"embedding": (6,), "one": (6,), "logits": (10,)}
    assert set(Tapped(net)(raw, LOGITS)) == {"logits"} and net.training


@pytest.mark.parametrize("knowledge", [FitNets, RKD])
def test_the_contract_holds_for_other_taps(knowledge: type[Knowledge]) -> None:
    check_method(knowledge)


@pytest.mark.parametrize("name", registry.names("schemes"))
def test_contract_of_every_registered_scheme(name: str) -> None:
    check_scheme(registry.load("schemes", name))


class OldForm:
    """As a person wrote it for version 0.1."""

    def __init__(self, power: float = 2.0) -> None:
        self.needs, self.power = frozenset({"logits"}), power

    def loss(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        return (student["logits"] - teacher["logits"]).abs().pow(self.power).mean()


def test_a_method_of_the_old_form_goes_on_working(lesson: Lesson) -> None:
    _, accuracy = train(lesson, knowledge=as_knowledge(OldForm(), "mine:OldForm"))
    assert accuracy > 0.5
    with pytest.raises(ConfigError, match="must make an autokd"):
        as_knowledge(object(), "mine:thing")


GOLDEN = {"kd": (1, 0.7060998524052611), "none": (1, 1.2331218905954087)}
"""Revision and loss of fixed numbers, from the published formula in float64. Another loss is another method to whoever finds old
students under its key: raise the revision."""


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_revision_names_the_loss(name: str) -> None:
    student = {"logits": torch.linspace(-2, 2, 12).reshape(4, 3)}
    teacher = {"logits": torch.linspace(3, -1, 12).reshape(4, 3).square()}
    targets = torch.tensor([0, 2, 1, 0])
    made = registry.load("methods", name)()
    assert (made.revision, made(student, teacher, Batch(targets, targets, targets)).item()) == (
        GOLDEN[name][0],
        pytest.approx(GOLDEN[name][1], rel=1e-5),
    )
    assert registry.identity("methods", name) == f"{name}@{made.revision}"


def test_every_registered_method_and_scheme_of_ours_has_a_golden_number() -> None:
    assert set(GOLDEN) == set(registry.names("methods"))
