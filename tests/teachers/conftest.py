"""Digits, and the options a teacher loader is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from autokd.protocols import InputSpec, TeacherOptions


@dataclass(frozen=True)
class Digits:
    """Raw images ``(N, 1, 8, 8) float32`` in 0..16; the last 400 are held out."""

    inputs: np.ndarray
    targets: np.ndarray

    @property
    def flat(self) -> np.ndarray:
        return self.inputs.reshape(len(self.inputs), -1)

    @property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs[-400:], self.targets[-400:]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small problems; more threads only wait for each other on a busy machine."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def digits() -> Digits:
    x, y = load_digits(return_X_y=True)
    return Digits(x.reshape(-1, 1, 8, 8).astype(np.float32), y.astype(np.int64))


@pytest.fixture
def options(digits: Digits, tmp_path: Path) -> Callable[..., TeacherOptions]:
    """Makes ``TeacherOptions`` for the digits (or any ``sample``) from the keys of the ``teacher:`` block."""

    def make(*, sample: np.ndarray | None = None, classes: int = 10, **block: object) -> TeacherOptions:
        raw = digits.inputs[:8] if sample is None else sample
        kind, channels = ("image" if raw.ndim == 4 else "tabular"), raw.shape[1]
        spec = InputSpec(kind, raw.shape[1:], str(raw.dtype), (0.0,) * channels, (1.0,) * channels)
        return TeacherOptions(block, spec, classes, raw, "cpu", tmp_path / "teacher")

    return make
