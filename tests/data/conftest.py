"""Factories that every test of a data source uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autokd.data.dataset import load_dataset
from autokd.protocols import Dataset

Load = Callable[..., Dataset]


@pytest.fixture
def told() -> list[str]:
    """What was said through progress."""
    return []


@pytest.fixture
def load(tmp_path: Path, told: list[str]) -> Load:
    """``load(source, path, **options)``, as a study does it."""

    def call(source: str, path: Path | str | None = None, seed: int = 0, **options: Any) -> Dataset:
        place = None if path is None else str(path)
        return load_dataset(source, place, options, seed=seed, cache_dir=tmp_path / "cache", progress=told.append)

    return call
