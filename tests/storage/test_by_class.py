"""Right answers by class: counted, kept, read again, and the worst one found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from autokd.evaluation.metrics import quality
from autokd.storage.by_class import ByClass

FOUND = ByClass((9, 0, 1, 0), (10, 3, 2, 0))


def test_recalls_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(200, 5)).astype(np.float32), rng.integers(4, size=200)  # class 4 never occurs
    found = ByClass.count(scores, targets)
    wanted = sk.recall_score(targets, scores.argmax(1), average=None, labels=range(4))
    assert [found.recall(c) for c in range(4)] == pytest.approx(wanted) and found.recall(4) is None
    assert quality("recall_min", scores, targets)[0] == pytest.approx(min(wanted)) == found.recall(found.worst)


def test_it_survives_a_record() -> None:
    assert ByClass.read(json.loads(json.dumps(FOUND.to_notes()))) == FOUND


@pytest.mark.parametrize(
    "told", [None, 3, [], {}, {"right": [1]}, {"right": [1], "of": [1, 2]}, {"right": [3], "of": [2]},
             {"right": ["x"], "of": [1]}, {"right": [], "of": []}, {"right": [0], "of": [0]}],
    ids=str,
)  # fmt: skip
def test_a_damaged_record_says_nothing(told: object) -> None:
    assert ByClass.read(told) is None


def test_the_worst_class_is_one_that_the_split_has() -> None:
    assert FOUND.order == [1, 2, 0] and FOUND.worst == 1
    assert FOUND.error(3) is None and FOUND.error(2) == pytest.approx((0.25 / 6) ** 0.5)
    assert FOUND.to_dict()["recall"] == [0.9, 0.0, 0.5, None]


def test_a_few_samples_that_are_all_wrong_are_not_sure() -> None:
    error = FOUND.error(1)
    assert error is not None and error > 0.1
    large = ByClass((800, 1), (1000, 1)).error(0)
    assert large == pytest.approx((0.8 * 0.2 / 1000) ** 0.5, rel=0.01)


def test_of_equally_bad_classes_the_one_with_most_samples_is_the_worst() -> None:
    assert ByClass((0, 0, 2), (2, 9, 2)).worst == 1


@pytest.mark.parametrize(("of", "said"), [((10, 6), False), ((10, 5), True), ((10, 0, 9), False)])
def test_unbalanced_is_twice_as_many(of: tuple[int, ...], said: bool) -> None:
    assert ByClass((0,) * len(of), of).unbalanced is said
