"""Seeded views: the same pixels for the same (seed, view, position), whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest

from autokd.data.augment import SeededViews, names
from autokd.errors import ConfigError
from autokd.protocols import Dataset, InputSpec, Splits

IMAGE = [n for n in names("image") if n != "none"]


def images(dtype: str = "uint8", shape: tuple[int, ...] = (3, 12, 10), n: int = 40) -> Dataset:
    values = np.random.default_rng(0).integers(20, 200, (n, *shape)).astype(dtype)
    c = shape[0]
    spec = InputSpec("image", shape, dtype, (100.0,) * c, (50.0,) * c, low=0.0, high=255.0)
    return dataset(values, spec)


def table() -> Dataset:
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    values[:, 1] = np.arange(40) % 4
    values[5, 0] = np.nan
    spec = InputSpec("tabular", (3,), "float32", (0.0,) * 3, (1.0, 1.0, 2.0), facts={"cardinalities": (0, 4, 0)})
    return dataset(values, spec)


def dataset(values: np.ndarray, spec: InputSpec) -> Dataset:
    n = len(values)
    splits = Splits(np.arange(0, n - 9), np.arange(n - 9, n - 6), np.arange(n - 6, n - 3), np.arange(n - 3, n))
    return Dataset("test", values, np.arange(n) % 2, ("a", "b"), spec, splits, "print")


@pytest.mark.parametrize("augment", IMAGE)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10), (1, 3, 3)], ids=str)
def test_pixels_do_not_depend_on_the_batch(augment: str, dtype: str, shape: tuple[int, ...]) -> None:
    data = images(dtype, shape)
    views = SeededViews(data, augment, seed=1, count=4)
    every = views.batch(np.arange(views.size), 2)
    some = np.array([7, 3, 30, 3])
    assert every.dtype == data.inputs.dtype
    assert every.shape == (views.size, *shape)
    assert np.array_equal(views.batch(some, 2), every[some])
    assert np.array_equal(SeededViews(data, augment, 1, 4).batch(some, 6), every[some])  # views are counted modulo 4
    assert data.spec.low <= every.min() <= every.max() <= data.spec.high


@pytest.mark.parametrize("augment", IMAGE)
def test_views_and_seeds_differ(augment: str) -> None:
    data, every = images(), np.arange(31)
    first = SeededViews(data, augment, 0, 4)
    seen = [first.batch(every, v) for v in range(4)] + [SeededViews(data, augment, 1, 4).batch(every, 0)]
    assert all(not np.array_equal(seen[i], seen[j]) for i in range(5) for j in range(i))


def test_the_data_itself_is_never_changed() -> None:
    data = images()
    before = data.inputs.copy()
    for augment in names("image"):
        SeededViews(data, augment, 0, 2).batch(np.arange(31), 0)[:] = 0
    assert np.array_equal(data.inputs, before)


def test_a_shift_moves_the_image_and_fills_with_the_lowest_value() -> None:
    values = np.full((40, 1, 8, 8), 9, np.uint8)
    spec = InputSpec("image", (1, 8, 8), "uint8", (9.0,), (1.0,), low=3.0, high=255.0)
    out = SeededViews(dataset(values, spec), "shift", 0, 1).batch(np.arange(31), 0)
    assert set(np.unique(out)) == {3, 9}
    kept = (out == 9).sum(axis=(1, 2, 3))
    assert set(kept) <= {64, 56, 49}  # at most one pixel a side


def test_flips_happen_half_of_the_time() -> None:
    ramp = np.tile(np.arange(2, dtype=np.uint8), (400, 1, 2, 1))  # too small to move: only mirrored
    spec = InputSpec("image", (1, 2, 2), "uint8", (0.5,), (0.5,), high=255.0)
    out = SeededViews(dataset(ramp, spec), "shift_flip", 0, 1).batch(np.arange(391), 0)
    assert 150 < (out[:, 0, 0, 0] == 1).sum() < 240


def test_noise_leaves_categories_and_missing_values_alone() -> None:
    data = table()
    views = SeededViews(data, "noise", 0, 3)
    clean = data.inputs[:31]
    out = views.batch(np.arange(31), 0)
    assert np.array_equal(out[:, 1], clean[:, 1])
    assert np.isnan(out[5, 0])
    assert 0.1 < np.std(out[:, 2] - clean[:, 2]) < 0.3  # a tenth of the feature's 2.0
    assert np.array_equal(views.batch(np.array([9, 4]), 0), out[[9, 4]])


@pytest.mark.parametrize(("kind", "auto"), [("image", "shift"), ("tabular", "none")])
def test_auto_is_one_of_the_named(kind: str, auto: str) -> None:
    data = images() if kind == "image" else table()
    chosen, named = SeededViews(data, "auto", 0, 2), SeededViews(data, auto, 0, 2)
    assert chosen.fingerprint == named.fingerprint
    assert chosen.fingerprint != SeededViews(data, auto, 1, 2).fingerprint


def test_what_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'shift'"):
        SeededViews(images(), "shfit", 0, 1)
    with pytest.raises(ConfigError, match=r"tabular"):
        SeededViews(table(), "crop_flip", 0, 1)
    with pytest.raises(ConfigError, match=r"at least 1"):
        SeededViews(images(), "shift", 0, 0)
