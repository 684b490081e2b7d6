"""Create or open a study, search, choose, take its students home."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autokd.study.study import Student as Student
    from autokd.study.study import Study as Study

__all__ = ["Student", "Study"]

# Resolved on first use: whoever imports one module of this package loads no other.
_WHERE = {"Student": "autokd.study.study", "Study": "autokd.study.study"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'autokd.study' has no attribute {name!r}")
