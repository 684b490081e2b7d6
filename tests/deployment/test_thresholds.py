"""Decision thresholds: the best of all cuts, told with what they reach."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from autokd.deployment.thresholds import Threshold, thresholds


def rare(n: int = 300, share: float = 0.1, seed: int = 0, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, 2) that know something of a rare class 1."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < share).astype(int)
    scores = rng.normal(size=(n, 2))
    scores[:, 1] += 2.0 * targets - 2.0
    return (scores if digits is None else scores.round(digits)).astype(np.float32), targets


def by_goal(found: list[Threshold]) -> dict[str, Threshold]:
    return {t.goal: t for t in found}


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("digits", [None, 0], ids=["different scores", "ties"])
def test_no_other_cut_is_better(positive: int, digits: int | None) -> None:
    scores, targets = rare(digits=digits)
    found = by_goal(thresholds(scores, targets, positive))
    margin = scores[:, positive].astype(float) - scores[:, 1 - positive]
    truth = targets == positive
    cuts = np.unique(np.concatenate([margin, margin + 1e-9]))
    assert found["f1"].f1 == pytest.approx(max(sk.f1_score(truth, margin >= c) for c in cuts))
    best = max(sk.balanced_accuracy_score(truth, margin >= c) for c in cuts)
    assert found["balanced_accuracy"].balanced_accuracy == pytest.approx(best)


@pytest.mark.parametrize("positive", [0, 1])
def test_what_it_says_is_what_its_rule_gives(positive: int) -> None:
    scores, targets = rare(digits=1)
    margin, truth = scores[:, positive].astype(float) - scores[:, 1 - positive], targets == positive
    for found in thresholds(scores, targets, positive):
        said = margin >= found.score_difference
        assert found.f1 == pytest.approx(sk.f1_score(truth, said))
        assert found.recall == pytest.approx(sk.recall_score(truth, said))
        assert found.precision == pytest.approx(sk.precision_score(truth, said))
        table = sk.confusion_matrix(truth, said)
        counts = [[found.true_negatives, found.false_positives], [found.false_negatives, found.true_positives]]
        assert counts == table.tolist()
        assert found.probability == pytest.approx(1 / (1 + np.exp(-found.score_difference)))


@pytest.mark.parametrize("positive", [0, 1])
def test_the_first_is_the_file_s_own_decision(positive: int) -> None:
    scores, targets = rare(digits=0)  # with equal scores of both classes
    first = thresholds(scores, targets, positive)[0]
    said = scores.argmax(axis=1) == positive
    assert first.goal == "largest_score" and first.probability == 0.5
    assert first.true_positives + first.false_positives == said.sum()


def test_a_rare_class_is_found_below_one_half() -> None:
    found = by_goal(thresholds(*rare(2000), 1))
    assert found["balanced_accuracy"].probability < 0.5
    assert found["balanced_accuracy"].recall > found["largest_score"].recall
    assert found["f1"].f1 >= found["largest_score"].f1


def test_of_equally_good_ones_the_nearest_to_the_file_s_own_in_the_middle_of_its_gap() -> None:
    scores = np.array([[0.0, 3.0], [0.0, 1.0], [0.0, -2.0], [0.0, -4.0]], dtype=np.float32)
    found = by_goal(thresholds(scores, np.array([1, 1, 0, 0]), 1))
    assert found["f1"].f1 == found["balanced_accuracy"].balanced_accuracy == 1.0
    assert found["f1"].score_difference == -0.5  # between 1 and -2


def test_scores_that_say_nothing_and_huge_ones() -> None:
    targets = np.array([0, 0, 1])
    same = by_goal(thresholds(np.zeros((3, 2), dtype=np.float32), targets, 1))
    assert same["f1"].recall == 1.0 and same["largest_score"].precision is None
    huge = np.array([[3e38, -3e38], [-3e38, 3e38], [-3e38, 3e38]], dtype=np.float32)
    assert all(np.isfinite([t.score_difference, t.probability]).all() for t in thresholds(huge, targets, 0))


@pytest.mark.parametrize(
    ("scores", "targets", "law"),
    [
        (np.zeros((3, 3)), np.array([0, 1, 2]), r"scores \(N, 2\)"),
        (np.zeros((3, 2)), np.array([0, 1]), r"N targets"),
        (np.zeros((2, 2)), np.array([1, 1]), "one of them only"),
    ],
)
def test_what_has_no_threshold(scores: np.ndarray, targets: np.ndarray, law: str) -> None:
    with pytest.raises(ValueError, match=law):
        thresholds(scores, targets, 1)
