"""Class weights in a training: rare classes are found more often, and what does not heed them is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from support import PlainViews
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.data.class_weights import sample_weights
from autokd.distillation.knowledge import Knowledge
from autokd.distillation.knowledge.kd import KD
from autokd.distillation.knowledge.labels import Labels
from autokd.distillation.knowledge.weighted import cross_entropy
from autokd.distillation.lesson import Lesson, Session
from autokd.distillation.taps import Batch, Taps
from autokd.distillation.trainer import fit
from autokd.errors import ConfigError
from autokd.protocols import CurvePoint, Recipe
from autokd.storage.by_class import ByClass
from autokd.testing.methods import check_method

NAMES = tuple(str(digit) for digit in range(10))
RARE = (1, 3, 8, 9)
RECIPE = Recipe(samples=9_000, batch_size=32, lr=0.05, views=1)


class Wise:
    """A teacher that is right most of the time, and surer of frequent classes."""

    names = frozenset({"logits"})

    def __init__(self, targets: np.ndarray) -> None:
        noise = np.random.default_rng(0).normal(size=(len(targets), 10))
        self.said = (5 * np.eye(10)[targets] + noise + [0.0 if c in RARE else 1.5 for c in range(10)]).astype(
            np.float32
        )

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        return {"logits": self.said[positions]}


@pytest.fixture(scope="module")
def unbalanced() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits of which four classes have 8 samples to train with and six some 90; the other half is for judging."""
    digits = load_digits()
    inputs, targets = (digits.data / 8 - 1).astype(np.float32), digits.target.astype(np.int64)
    kept = [np.flatnonzero(targets[:900] == c)[: 8 if c in RARE else None] for c in range(10)]
    train = np.sort(np.concatenate(kept))
    return inputs[train], targets[train], inputs[900:], targets[900:]


def recalls(data: tuple[np.ndarray, ...], knowledge: Knowledge, stated: str | None, seed: int = 0) -> np.ndarray:
    """Recall of each class after a training, ``(10,)``."""
    torch.set_num_threads(1)
    x, y, other, truth = data
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    weights = sample_weights(stated, y, NAMES)
    fit(net, Lesson(PlainViews(x), y, (other, truth), RECIPE, knowledge, seed, Wise(y), weights=weights))
    with torch.no_grad():
        found = ByClass.count(net(torch.from_numpy(other)).numpy(), truth)
    return np.array([found.recall(c) for c in range(10)])


@pytest.mark.parametrize("knowledge", [Labels(), KD(alpha=0.9)], ids=["labels", "kd"])
def test_weights_raise_the_recall_of_rare_classes(knowledge: Knowledge, unbalanced: tuple[np.ndarray, ...]) -> None:
    seeds = range(3)
    plain = np.mean([recalls(unbalanced, knowledge, None, seed) for seed in seeds], axis=0)
    weighed = np.mean([recalls(unbalanced, knowledge, "auto", seed) for seed in seeds], axis=0)
    rare = list(RARE)
    assert weighed[rare].mean() > plain[rare].mean() + 0.03
    assert weighed.mean() > plain.mean(), "and balanced accuracy with it"


def batch(weights: Tensor | None) -> tuple[Tensor, Batch]:
    logits, targets = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 1])
    return logits, Batch(logits, targets, torch.arange(6), {}, weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_sample_of_weight_2_counts_twice(smoothing: float) -> None:
    logits, given = batch(torch.tensor([2.0, 1, 1, 1, 1, 1]))
    each = F.cross_entropy(logits, given.targets, label_smoothing=smoothing, reduction="none")
    assert cross_entropy(logits, given, smoothing) == pytest.approx(float((each.sum() + each[0]) / 6))


@pytest.mark.parametrize("knowledge", [Labels(0.1), KD()], ids=["labels", "kd"])
def test_weights_of_1_and_none_are_the_same_loss(knowledge: Knowledge) -> None:
    logits, without = batch(None)
    _, ones = batch(torch.ones(6))
    said = {"logits": logits.flip(1)}
    assert knowledge({"logits": logits}, said, ones) == pytest.approx(
        knowledge({"logits": logits}, said, without).item()
    )


class Own(Knowledge):
    """Heeds no weights, and does not say that it does."""

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        return F.cross_entropy(student["logits"], batch.targets)


def test_a_knowledge_that_does_not_heed_them_is_refused(unbalanced: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ConfigError, match=r"heeds `batch.weights`.*'Own'"):
        recalls(unbalanced, Own(), "auto")


def test_weights_must_be_one_a_sample(unbalanced: tuple[np.ndarray, ...]) -> None:
    x, y, other, truth = unbalanced
    weights = np.ones(len(y) - 1, dtype=np.float32)
    lesson = Lesson(PlainViews(x), y, (other, truth), RECIPE, Labels(), 0, weights=weights)
    with pytest.raises(ValueError, match="weights and views must be aligned"):
        fit(nn.Linear(64, 10), lesson)


def test_a_checkpoint_of_other_weights_is_not_gone_on_from(unbalanced: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    x, y, other, truth = unbalanced

    def points(stated: str | None, until: float | None) -> int:
        """Points of the learning curve that were made in this call, not found in the checkpoint."""
        made: list[CurvePoint] = []
        torch.manual_seed(0)
        recipe = Recipe(samples=len(y) * 4, batch_size=32, lr=0.05, views=1)
        weights = sample_weights(stated, y, NAMES)
        lesson = Lesson(PlainViews(x), y, (other, truth), recipe, Labels(), 0, weights=weights)
        fit(nn.Linear(64, 10), lesson, Session(checkpoint=tmp_path / "checkpoint", until=until, report=made.append))
        return len(made)

    rested = points("auto", 0.3)
    assert points(None, 0.3) == rested, "of other weights: it began anew"
    points("auto", 0.3)
    whole = rested + points("auto", None)
    (tmp_path / "checkpoint").unlink()
    assert points("auto", None) == whole, "of the same ones: it went on"


class Liar(Own):
    """Says that it heeds them."""

    weighted = True


def test_the_contract_tells_who_only_says_so() -> None:
    check_method(KD)
    with pytest.raises(AssertionError, match=r"must heed `batch\.weights`"):
        check_method(Liar)
