"""Quality metrics against scikit-learn, their standard errors against fresh samples, and what cannot be computed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from autokd.config.objectives import METRICS
from autokd.errors import ConfigError, StageFailure
from autokd.evaluation.metrics import confusion, quality, softmax


def sample(n: int = 600, classes: int = 4, seed: int = 0, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(classes, size=n)
    scores = rng.normal(size=(n, classes)).astype(np.float32)
    scores[np.arange(n), targets] += skill
    return scores, targets


def reference(name: str, scores: np.ndarray, targets: np.ndarray) -> float:
    probabilities, predicted = softmax(scores), scores.argmax(axis=1)
    labels = range(scores.shape[1])
    if name == "auroc":
        if scores.shape[1] == 2:
            return float(sk.roc_auc_score(targets, probabilities[:, 1]))
        return float(sk.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro", labels=list(labels)))
    return {
        "accuracy": lambda: sk.accuracy_score(targets, predicted),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(targets, predicted),
        "recall_min": lambda: min(sk.recall_score(targets, predicted, average=None)),
        "f1_macro": lambda: sk.f1_score(targets, predicted, average="macro"),
        "log_loss": lambda: sk.log_loss(targets, probabilities, labels=list(labels)),
    }[name]()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "recall_min", "f1_macro", "auroc", "log_loss"])
@pytest.mark.parametrize("classes", [2, 4, 30])
def test_values_equal_scikit_learns(name: str, classes: int) -> None:
    scores, targets = sample(classes=classes)
    scores = np.round(scores, 1)  # with ties
    assert quality(name, scores, targets)[0] == pytest.approx(reference(name, scores, targets), abs=1e-9)


@pytest.mark.parametrize(
    "name", ["accuracy", "balanced_accuracy", "recall_min", "f1_macro", "auroc", "log_loss", "ece"]
)
@pytest.mark.parametrize("classes", [2, 5])
def test_standard_errors_equal_the_spread_over_fresh_samples(name: str, classes: int) -> None:
    fresh = [quality(name, *sample(400, classes, seed)) for seed in range(120)]
    values, errors = np.array(fresh, dtype=float).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.25)


def test_accuracy_and_its_binomial_error_golden() -> None:
    scores = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    assert quality("accuracy", scores, np.array([0, 0, 0, 0])) == (0.75, pytest.approx((0.75 * 0.25 / 4) ** 0.5))


def test_ece_golden() -> None:
    """Two bins: confidence .8 at accuracy .5 and confidence .6 at accuracy 1, half the samples each."""
    confidence = np.array([0.8, 0.8, 0.6, 0.6])
    scores = np.log(np.column_stack([confidence, 1 - confidence]))
    assert quality("ece", scores, np.array([0, 1, 0, 0]))[0] == pytest.approx((0.3 + 0.4) / 2)


def test_ece_of_a_calibrated_model_is_small_and_of_an_overconfident_one_large() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5000, 3)) * 2
    targets = np.array([rng.choice(3, p=p) for p in softmax(scores)])
    assert quality("ece", scores, targets)[0] < 0.03 < 0.15 < quality("ece", scores * 5, targets)[0]


def test_agreement_compares_choices_with_the_teacher() -> None:
    scores, targets = sample()
    assert quality("agreement", scores, targets, scores * 3 + 1) == (1.0, 0.0)
    other = np.roll(scores, 1, axis=1)
    value, error = quality("agreement", scores, targets, other)
    assert value == 0.0 and error == 0.0
    with pytest.raises(StageFailure, match="teacher"):
        quality("agreement", scores, targets)


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.needs_training])
def test_every_quality_metric_of_the_table_is_computed_and_repeatable(name: str) -> None:
    scores, targets = sample()
    first = quality(name, scores, targets, scores[::-1])
    assert first == quality(name, scores, targets, scores[::-1])
    assert np.isfinite(first).all() and first[1] is not None and first[1] >= 0


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.needs_training])
def test_a_class_that_is_absent_from_the_split_is_no_trouble(name: str) -> None:
    scores, targets = sample(classes=4)
    keep = targets != 2
    value, _ = quality(name, scores[keep], targets[keep], scores[keep])
    assert np.isfinite(value)


def test_auroc_leaves_absent_classes_out_and_says_when_none_is_left() -> None:
    scores, targets = sample(classes=3)
    keep = targets != 2
    curves = [sk.roc_auc_score(targets[keep] == c, softmax(scores)[keep, c]) for c in (0, 1)]
    assert quality("auroc", scores[keep], targets[keep])[0] == pytest.approx(np.mean(curves))
    with pytest.raises(StageFailure, match="two classes"):
        quality("auroc", scores[:5], np.zeros(5, dtype=int))


def test_huge_logits_neither_overflow_nor_lose_the_loss() -> None:
    scores = np.array([[3e38, -3e38], [1e4, 0.0]], dtype=np.float32)
    with np.errstate(over="raise", invalid="raise"):
        value, _ = quality("log_loss", scores[1:], np.array([1]))
        assert value == pytest.approx(1e4)
        assert quality("ece", scores, np.array([0, 0]))[0] == pytest.approx(0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_a_diverged_candidate(bad: float) -> None:
    scores, targets = sample()
    scores[3, 1] = bad
    with pytest.raises(StageFailure) as caught:
        quality("accuracy", scores, targets)
    assert (caught.value.stage, caught.value.cause) == ("measure", "diverged")


def test_scores_and_targets_must_belong_together() -> None:
    scores, targets = sample()
    with pytest.raises(StageFailure, match="N targets"):
        quality("accuracy", scores, targets[:-1])


@pytest.fixture
def user_metric(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], str]:
    """Makes a function importable as a metric of the user's and gives its name."""

    def make(function: Callable[..., Any]) -> str:
        module = types.ModuleType("my_metrics")
        module.metric = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "my_metrics", module)
        return "my_metrics:metric"

    return make


def test_a_metric_of_the_users_gets_targets_and_probabilities(user_metric) -> None:  # type: ignore[no-untyped-def]
    scores, targets = sample(classes=2)

    def brier(targets: np.ndarray, probabilities: np.ndarray) -> float:
        assert np.allclose(probabilities.sum(axis=1), 1)
        return float(np.mean((probabilities[:, 1] - targets) ** 2))

    value, error = quality(user_metric(brier), scores, targets)
    assert value == pytest.approx(sk.brier_score_loss(targets, softmax(scores)[:, 1]))
    assert error is not None and 0.001 < error < 0.05


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        (lambda t, p: 1 / 0, "ZeroDivisionError"),
        (lambda t, p: float("nan"), "finite"),
        (lambda t, p: "good", "ValueError"),
        (lambda t: 1.0, "TypeError"),
    ],
)
def test_a_metric_of_the_users_that_fails_fails_the_trial(user_metric, function, detail: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StageFailure, match=detail) as caught:
        quality(user_metric(function), *sample())
    assert (caught.value.stage, caught.value.cause) == ("measure", "error")


def test_a_metric_that_cannot_be_resampled_has_no_error(user_metric) -> None:  # type: ignore[no-untyped-def]
    scores, targets = sample()

    def picky(t: np.ndarray, p: np.ndarray) -> float:
        if not np.array_equal(t, targets):
            raise RuntimeError("only the original will do")
        return 0.5

    assert quality(user_metric(picky), scores, targets) == (0.5, None)


def test_a_metric_that_is_not_there_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="importable"):
        quality("no_such_module_anywhere:metric", *sample())


def test_confusion_counts_true_by_predicted() -> None:
    scores, targets = sample()
    assert np.array_equal(confusion(scores, targets, 4), sk.confusion_matrix(targets, scores.argmax(axis=1)))
    assert confusion(scores, targets, 4).dtype == np.int64
