"""Splits: disjoint, seeded, stratified, official ones kept; the fingerprint sees a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autokd.data.fingerprint import data_fingerprint
from autokd.data.splits import allocate, limit_train, make_splits
from autokd.errors import ConfigError, DataError
from autokd.modalities.arrays import by_channel, mean_std
from autokd.modalities.tabular import Tabular
from autokd.protocols import Dataset, RawData, Splits

NAMES = ("train", "validation", "calibration", "test")


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


def parts(splits: Splits) -> list[np.ndarray]:
    return [getattr(splits, n) for n in NAMES]


@pytest.mark.parametrize("counts", [(500, 300, 200), (900, 60, 3), (2, 40, 40), (5,) * 200], ids=str)
def test_splits_are_disjoint_complete_and_keep_every_class_in_train(counts: tuple[int, ...]) -> None:
    targets = labels(*counts)
    splits = make_splits(len(targets), targets, 0)
    assert np.array_equal(np.sort(np.concatenate(parts(splits))), np.arange(len(targets)))
    assert set(targets[splits.train]) == set(targets[splits.validation]) == set(range(len(counts)))


def test_shares_of_every_class_are_those_asked_for() -> None:
    targets = labels(1000, 400, 100)
    splits = make_splits(1500, targets, 3, validation_fraction=0.2, test_fraction=0.1)
    assert np.bincount(targets[splits.validation]).tolist() == [200, 80, 20]
    assert np.bincount(targets[splits.test]).tolist() == [100, 40, 10]


def test_the_seed_alone_decides() -> None:
    targets = labels(200, 200)
    a, b, c = (make_splits(400, targets, s) for s in (7, 7, 8))
    assert all(np.array_equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))
    assert not np.array_equal(a.test, c.test)


def test_official_splits_are_kept_and_nothing_else_is_cut() -> None:
    targets = labels(100, 100)
    test, validation = np.arange(150, 200), np.arange(100, 150)
    splits = make_splits(200, targets, 0, test=test, validation=validation)
    assert np.array_equal(splits.test, test)
    assert np.array_equal(splits.validation, validation)
    assert max(splits.train.max(), splits.calibration.max()) < 100


@pytest.mark.parametrize(
    ("official", "law"),
    [
        ({"test": np.array([0, 0])}, "distinct"),
        ({"test": np.array([40])}, "below 40"),
        ({"test": np.array([], int)}, "distinct"),
        ({"test": np.arange(5), "validation": np.arange(4, 9)}, "disjoint"),
    ],
    ids=["twice", "outside", "empty", "overlap"],
)
def test_official_splits_that_cannot_be_are_refused(official: dict[str, np.ndarray], law: str) -> None:
    with pytest.raises(DataError, match=law):
        make_splits(40, labels(20, 20), 0, **official)


def test_a_class_with_too_few_samples_is_named() -> None:
    with pytest.raises(DataError, match=r"at least 2 samples.*'rare' with 1"):
        make_splits(51, labels(50, 1), 0, classes=("common", "rare"))
    with pytest.raises(DataError, match=r"class 'ghost' with 0"):
        make_splits(50, labels(50), 0, classes=("common", "ghost"))


def test_calibration_stays_small() -> None:
    assert len(make_splits(400, labels(200, 200), 0).calibration) <= 0.05 * 400
    assert len(make_splits(40_000, labels(20_000, 20_000), 0, calibration=100).calibration) == 100


def test_limit_keeps_every_class_and_the_share() -> None:
    targets = labels(900, 90, 10)
    kept = limit_train(np.arange(1000), targets, 100, 0, "abc")
    assert np.bincount(targets[kept]).tolist() == [90, 9, 1]
    with pytest.raises(DataError, match=r"at least one training sample"):
        limit_train(np.arange(1000), targets, 2, 0, "abc")


@pytest.mark.parametrize("total", [0, 1, 7, 50, 1000])
def test_allocate_gives_what_it_can_and_keeps_the_rest(total: int) -> None:
    counts = np.array([40, 3, 1, 0, 12])
    take = allocate(counts, total, keep=1)
    assert take.sum() == min(total, 39 + 2 + 11)
    assert (take <= np.maximum(counts - 1, 0)).all()


def test_mean_and_std_are_those_of_numpy_on_train_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4)).astype(np.uint8)
    train = np.arange(30)
    mean, std = mean_std(images, train, by_channel)
    assert np.allclose(mean, images[:30].mean(axis=(0, 2, 3)))
    assert np.allclose(std, images[:30].std(axis=(0, 2, 3)))


def test_missing_numbers_and_categories_do_not_count() -> None:
    table = np.array([[1.0, 2.0, 5.0], [np.nan, 0.0, 5.0], [3.0, 1.0, 5.0]], np.float32)
    facts = {"cardinalities": (0, 3, 0)}
    mean, std = Tabular().moments(RawData(table, np.arange(3), ("a", "b"), "tabular", facts=facts), np.arange(3))
    assert mean == (2.0, 0.0, 5.0)
    assert std == (1.0, 1.0, 1.0)


def test_the_fingerprint_changes_with_one_pixel_and_with_the_splits() -> None:
    targets = labels(20, 20)
    inputs = np.zeros((40, 1, 4, 4), np.uint8)
    raw = RawData(inputs, targets, ("a", "b"), "image", high=255.0)
    splits = make_splits(40, targets, 0)
    before = data_fingerprint(raw, splits)
    touched = inputs.copy()
    touched[39, 0, 3, 3] = 1
    assert data_fingerprint(replace(raw, inputs=touched), splits) != before
    assert data_fingerprint(raw, make_splits(40, targets, 1)) != before
    assert data_fingerprint(replace(raw, inputs=inputs.copy()), splits) == before


@pytest.mark.parametrize(
    "options", [{"validation_fraction": 1.5}, {"test_fraction": True}, {"limit": 0}, {"calibration": 2.5}], ids=str
)
def test_split_options_out_of_range_are_refused(load: Callable[..., Dataset], options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        load("digits", **options)
