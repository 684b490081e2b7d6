"""The contract of a data source: ``check_source(load)`` raises AssertionError with what is wrong, or returns the data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autokd.data.check import checked
from autokd.protocols import DataOptions, RawData

RULES = ("none", "optional", "required")


def check_source(
    load: Callable[[DataOptions], RawData], path: Path | None = None, options: Mapping[str, Any] | None = None
) -> RawData:
    """Hold a data source to its contract; returns the data, as a study sees it before splitting.

    Args:
        load: The source.
        path: ``data.path``, for a source that needs one.
        options: Its own keys of the ``data:`` block.

    Raises:
        AssertionError: The first clause that does not hold.
        DataError: The data cannot be used; the message says why.
    """
    rule, known = getattr(load, "path", "optional"), getattr(load, "options", None)
    assert rule in RULES, f"load.path must be one of {', '.join(RULES)}, but got {rule!r}"
    assert known is None or all(isinstance(name, str) for name in known), "load.options must be names"
    assert rule != "required" or path is not None, "this source needs a path: give check_source one"
    own = dict(options or {})
    with tempfile.TemporaryDirectory(prefix="autokd-source-") as folder:

        def loaded(place: str) -> RawData:
            request = DataOptions(path, own, 0, Path(folder) / place)
            request.cache_dir.mkdir()
            return checked(load(request), getattr(load, "__name__", "source"))

        first, again = loaded("first"), loaded("again")
        assert own == dict(options or {}), "the options must stay as they were"
        assert first.classes == again.classes, "the same request must give the same classes"
        for name in ("inputs", "targets", "test", "validation"):
            one, two = getattr(first, name), getattr(again, name)
            same = one is two or (one is not None and two is not None and _equal(one, two))
            assert same, f"the same request must give the same {name}"
        seen = set(np.unique(first.targets).tolist())
        assert seen == set(range(len(first.classes))), "every class must occur: splits hold some of each"
        return first


def _equal(one: np.ndarray, two: np.ndarray) -> bool:
    return np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
