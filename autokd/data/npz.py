"""Arrays of a NumPy ``.npz`` file: images or a table of numbers."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from autokd.data.labels import class_names, encode
from autokd.data.source import needed_path, source
from autokd.errors import ConfigError, DataError, nearest
from autokd.protocols import DataOptions, RawData

X_KEYS = ("x", "X", "inputs", "images", "data", "x_train", "X_train")
Y_KEYS = ("y", "Y", "labels", "targets", "target", "y_train", "Y_train")
LAYOUTS = {"NHW": 3, "NHWC": 4, "NCHW": 4, "NF": 2}

_PARTS = {"test": ("test",), "validation": ("val", "validation", "valid")}


@source("required", "x", "y", "layout", "classes")
def load(options: DataOptions) -> RawData:
    """Arrays from a NumPy .npz file: x images or a table, y labels; optional x_test, y_test, x_val, y_val.

    Options: ``x`` and ``y`` name the arrays; ``layout`` is NHW, NHWC, NCHW or NF (else told from the shape);
    ``classes`` are the names in index order. ``inputs``: uint8 stays; floats become float32; other integers uint8 where
    they fit, else float32.

    Raises:
        ConfigError: An option that cannot be.
        DataError: The file is missing, damaged, holds pickled objects, or arrays that do not fit each other.
    """
    opts = options.options
    layout, classes = opts.get("layout"), class_names(opts.get("classes"))
    if layout is not None and layout not in LAYOUTS:
        raise ConfigError("`data.layout` must be NHW, NHWC, NCHW or NF", repr(layout), nearest(str(layout), LAYOUTS))
    path = needed_path(options)
    arrays = _read(path)
    pairs = [_pair(arrays, path, opts)]
    split: dict[str, np.ndarray] = {}
    for part, suffixes in _PARTS.items():
        extra = _extra(arrays, path, suffixes)
        if extra is not None:
            start = sum(len(x) for x, _ in pairs)
            split[part] = np.arange(start, start + len(extra[0]))
            pairs.append(extra)
    xs = [x for x, _ in pairs]
    if len({x.shape[1:] for x in xs}) != 1:
        raise DataError(f"the samples of all splits in {path} must have one shape", [x.shape[1:] for x in xs])
    try:
        inputs = _layout(_values(np.concatenate(xs)), layout)
        targets, names = encode(np.concatenate([y for _, y in pairs]), classes)
    except DataError as error:
        raise DataError(f"{path}: {error.law}", error.value, error.mend) from error
    kind, (low, high) = ("image", _range(inputs)) if inputs.ndim == 4 else ("tabular", (0.0, 1.0))
    return RawData(
        inputs, targets, names, kind, test=split.get("test"), validation=split.get("validation"), low=low, high=high
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError("data source 'npz': `data.path` must be a file", f"{str(path)!r}", "Correct it.")
    mend = "Write it with numpy.savez(path, x=..., y=...)."
    arrays = {}
    try:
        # Opened here: NumPy leaves its own handle open when the archive is damaged.
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path} must be an .npz archive", "a single array", mend)
            for name in file.files:
                try:
                    arrays[name] = file[name]
                except ValueError as error:
                    if "pickle" not in str(error).lower():
                        raise
                    # Only a fault if it is asked for: archives carry odd extras.
                    arrays[name] = np.empty(0, dtype=object)
            file.close()
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        # NumPy takes any unknown bytes for a pickle, and would advise to load it unsafely.
        found = "bytes of no known format" if "allow_pickle" in str(error) else error
        raise DataError(f"{path} must be a whole .npz file without pickled objects", found, mend) from error
    return arrays


def _pair(arrays: dict[str, np.ndarray], path: Path, opts: Any) -> tuple[np.ndarray, np.ndarray]:
    return _together(_named(arrays, path, "x", opts, X_KEYS), _named(arrays, path, "y", opts, Y_KEYS), path)


def _named(arrays: dict[str, np.ndarray], path: Path, role: str, opts: Any, keys: tuple[str, ...]) -> np.ndarray:
    name = opts.get(role)
    if name is not None:
        if name not in arrays:
            raise DataError(f"{path} must hold the array `data.{role}` names", repr(name), nearest(str(name), arrays))
    else:
        name = next((k for k in keys if k in arrays), None)
        if name is None:
            law = f"{path} must hold an array named {', '.join(keys[:-2])}"
            raise DataError(law, ", ".join(arrays) or "none", f"Name yours with `data.{role}`.")
    return _no_objects(arrays[name], name, path)


def _extra(
    arrays: dict[str, np.ndarray], path: Path, suffixes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray] | None:
    for suffix in suffixes:
        found = [next((k for k in (f"{c}_{suffix}", f"{c.upper()}_{suffix}") if k in arrays), None) for c in "xy"]
        if found == [None, None]:
            continue
        x, y = found
        if x is None or y is None:
            raise DataError(f"{path} must hold x_{suffix} and y_{suffix} together", f"only {x or y}")
        return _together(_no_objects(arrays[x], x, path), _no_objects(arrays[y], y, path), path)
    return None


def _no_objects(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if array.dtype.kind == "O":
        mend = "Store numbers, or texts as numpy.array(words, dtype=str)."
        raise DataError(f"the arrays of {path} must not be pickled objects", f"array {name!r}", mend)
    return array


def _together(x: np.ndarray, y: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(f"inputs and labels of {path} must have the same length", f"shapes {x.shape} and {y.shape}")
    return x, y


def _values(x: np.ndarray) -> np.ndarray:
    """The same values as uint8 or float32."""
    if x.dtype == np.uint8 or x.dtype == np.float32:
        return x
    if x.dtype.kind == "b":
        return x.astype(np.uint8)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused with its row
            return x.astype(np.float32)
    if x.dtype.kind not in "iu":
        raise DataError("inputs must be numbers", f"values of type {x.dtype}")
    fits = x.size and x.min() >= 0 and x.max() <= 255
    return x.astype(np.uint8 if fits else np.float32)


def _layout(x: np.ndarray, layout: str | None) -> np.ndarray:
    """``(N, C, H, W)`` or ``(N, F)``, contiguous."""
    name = layout or _guess(x.shape)
    if x.ndim != LAYOUTS[name]:
        raise DataError(f"inputs of layout {name} must have {LAYOUTS[name]} dimensions", f"shape {x.shape}")
    if name == "NHW":
        x = x[:, None]
    elif name == "NHWC":
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x)


def _guess(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return "NF"
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise DataError("inputs must be (N, F), (N, H, W), (N, H, W, C) or (N, C, H, W)", f"shape {shape}")
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if first == last:
        found = f"shape {shape}, which could be both" if first else f"shape {shape}"
        raise DataError("the layout of 4-dimensional inputs must be clear", found, "Set `data.layout` to NHWC or NCHW.")
    return "NCHW" if first else "NHWC"


def _range(x: np.ndarray) -> tuple[float, float]:
    if x.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    # One value everywhere, or NaN, is refused or told by the checks that follow every source.
    return (low, high) if low < high and np.isfinite([low, high]).all() else (0.0, 1.0)
