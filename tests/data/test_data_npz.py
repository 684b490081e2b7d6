"""The npz source, digits, and what every source has in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd import registry
from autokd.errors import ConfigError, DataError
from autokd.protocols import Dataset

Load = Callable[..., Dataset]
N = 40
Y = np.arange(N) % 2


def pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (N, *shape)).astype(dtype)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def call(**arrays: Any) -> Path:
        np.savez(tmp_path / "d.npz", **arrays)
        return tmp_path / "d.npz"

    return call


@pytest.mark.parametrize(
    ("x", "options", "shape", "dtype"),
    [
        (pixels(6, 5), {}, (1, 6, 5), "uint8"),
        (pixels(6, 5, 3), {}, (3, 6, 5), "uint8"),
        (pixels(3, 6, 5), {}, (3, 6, 5), "uint8"),
        (pixels(7), {}, (7,), "uint8"),
        (pixels(7, dtype="float64"), {}, (7,), "float32"),
        (pixels(6, 5, dtype="float16"), {}, (1, 6, 5), "float32"),
        (pixels(6, 5, dtype="int64"), {}, (1, 6, 5), "uint8"),
        (pixels(6, 5, dtype="int32") - 50, {}, (1, 6, 5), "float32"),
        (pixels(3, 5, 3), {"layout": "NHWC"}, (3, 3, 5), "uint8"),
        (pixels(3, 5, 2), {"layout": "NCHW"}, (3, 5, 2), "uint8"),
    ],
    ids=["NHW", "NHWC", "NCHW", "NF", "NF64", "half", "int_fits", "int_wide", "said_NHWC", "said_NCHW"],
)
def test_layouts_and_types(
    load: Load, write: Callable[..., Path], x: np.ndarray, options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    data = load("npz", write(x=x, y=Y), **options)
    assert (data.spec.shape, data.spec.dtype) == (shape, dtype)
    assert data.spec.kind == ("image" if len(shape) == 3 else "tabular")
    if data.spec.kind == "image":
        wanted = (0.0, 255.0) if dtype == "uint8" else (data.inputs.min(), data.inputs.max())
        assert (data.spec.low, data.spec.high) == wanted


def test_channels_last_are_brought_forward(load: Load, write: Callable[..., Path]) -> None:
    x = pixels(6, 5, 3)
    assert np.array_equal(load("npz", write(x=x, y=Y)).inputs, x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("y", "options", "classes"),
    [
        (Y, {}, ("0", "1")),
        (Y * 5 - 3, {}, ("-3", "2")),
        (Y + 9, {}, ("9", "10")),
        (np.array(["dog", "cat"])[Y], {}, ("cat", "dog")),
        (Y.astype(float), {}, ("0", "1")),
        (Y.astype(bool), {}, ("0", "1")),
        (Y[:, None], {}, ("0", "1")),
        (Y, {"classes": ["no", "yes"]}, ("no", "yes")),
        (Y + 1, {"classes": ["one", "two"]}, ("one", "two")),
        (np.array(["dog", "cat"])[Y], {"classes": ["dog", "cat"]}, ("dog", "cat")),
    ],
    ids=["int", "gaps", "numeric_order", "texts", "floats", "bools", "column", "named", "from_one", "named_texts"],
)
def test_labels(
    load: Load, write: Callable[..., Path], y: np.ndarray, options: dict[str, Any], classes: tuple[str, ...]
) -> None:
    data = load("npz", write(x=pixels(4), y=y), **options)
    assert data.classes == classes
    if y.dtype.kind == "U":
        assert [data.classes[t] for t in data.targets] == y.tolist()
    else:
        assert np.array_equal(data.targets, Y)


def test_other_names_and_official_splits(load: Load, write: Callable[..., Path]) -> None:
    x = pixels(6, 5)
    path = write(pics=x, kinds=Y, X_test=x[:10], y_test=Y[:10], x_val=x[:6], y_val=Y[:6])
    data = load("npz", path, x="pics", y="kinds")
    assert np.array_equal(data.splits.test, np.arange(40, 50))
    assert np.array_equal(data.splits.validation, np.arange(50, 56))
    assert np.array_equal(data.inputs[50:, 0], x[:6])


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no_x": ({"foo": pixels(4), "y": Y}, {}, "must hold an array named x.*foo"),
    "wrong_name": ({"pics": pixels(4), "y": Y}, {"x": "pisc"}, "Did you mean 'pics'"),
    "lengths": ({"x": pixels(4), "y": Y[:-1]}, {}, "same length"),
    "objects": ({"x": pixels(4), "y": np.array([None] * N)}, {}, "pickled objects"),
    "texts_in": ({"x": np.full((N, 3), "a"), "y": Y}, {}, "must be numbers"),
    "real_labels": ({"x": pixels(4), "y": Y + 0.5}, {}, "integers or texts"),
    "one_hot": ({"x": pixels(4), "y": np.eye(2)[Y]}, {}, "argmax"),
    "unclear": ({"x": pixels(3, 5, 3), "y": Y}, {}, "Set `data.layout`"),
    "not_said": ({"x": pixels(4, 5), "y": Y}, {"layout": "NHWC"}, "4 dimensions"),
    "names": ({"x": pixels(4), "y": Y * 7}, {"classes": ["a", "b", "c"]}, "must name every class"),
    "word": ({"x": pixels(4), "y": np.array(["a", "b"])[Y]}, {"classes": ["a", "c"]}, "one of `data.classes`"),
    "half_test": ({"x": pixels(4), "y": Y, "x_test": pixels(4)}, {}, "together"),
    "test_shape": ({"x": pixels(4), "y": Y, "x_test": pixels(5), "y_test": Y}, {}, "one shape"),
    "nan": ({"x": np.full((N, 2, 2), np.nan), "y": Y}, {}, "finite"),
    "one_class": ({"x": pixels(4), "y": Y * 0}, {}, "at least 2 classes"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_cannot_be_used(load: Load, write: Callable[..., Path], case: str) -> None:
    arrays, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        load("npz", write(**arrays), **options)


@pytest.mark.parametrize("case", ["cut", "flipped", "text", "empty", "npy", "absent"])
def test_damaged_files_are_named(load: Load, write: Callable[..., Path], tmp_path: Path, case: str) -> None:
    path = write(x=pixels(6, 5), y=Y)
    raw = bytearray(path.read_bytes())
    if case == "cut":
        path.write_bytes(raw[:500])
    elif case == "flipped":
        raw[400] ^= 255
        path.write_bytes(raw)
    elif case == "text":
        path.write_bytes(b"what is this? " * 9)
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "npy":
        with path.open("wb") as file:
            np.save(file, pixels(4))
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"d\.npz") as caught:
        load("npz", path)
    assert "unsafely" not in str(caught.value)


def test_layout_and_classes_are_checked(load: Load, write: Callable[..., Path]) -> None:
    path = write(x=pixels(4), y=Y)
    with pytest.raises(ConfigError, match=r"must be NHW, NHWC, NCHW or NF.*NHCW"):
        load("npz", path, layout="NHCW")
    with pytest.raises(ConfigError, match=r"must be a list of names"):
        load("npz", path, classes="a,b")


def test_digits_are_raw(load: Load) -> None:
    data = load("digits")
    assert (data.inputs.shape, data.inputs.dtype) == ((1797, 1, 8, 8), np.float32)
    assert (data.spec.low, data.spec.high) == (0.0, 16.0)
    assert len(data.classes) == 10


OURS = ("digits", "fashion_mnist", "image_folder", "npz", "csv")


@pytest.mark.parametrize("name", OURS)
def test_every_source_declares_itself(name: str) -> None:
    loader = registry.load("data", name)
    assert loader.path in ("none", "optional", "required")
    assert isinstance(loader.options, frozenset)
    assert len((loader.__doc__ or "").splitlines()[0]) > 20


@pytest.mark.parametrize("name", OURS)
def test_an_unknown_option_offers_the_nearest(load: Load, name: str, tmp_path: Path) -> None:
    path = None if registry.load("data", name).path == "none" else tmp_path
    with pytest.raises(ConfigError, match=r"Did you mean 'calibration'"):
        load(name, path, calibratoin=3)


def test_a_path_where_none_is_taken_and_none_where_one_is_needed(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes no `data.path`"):
        load("digits", tmp_path)
    for name in ("npz", "csv", "image_folder"):
        with pytest.raises(ConfigError, match=r"needs `data.path`"):
            load(name)


@pytest.mark.parametrize("name", ["npz", "csv", "image_folder", "fashion_mnist"])
def test_a_path_that_does_not_exist_is_shown(load: Load, name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere"):
        load(name, tmp_path / "nowhere")
