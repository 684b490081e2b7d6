"""Neural architecture search with knowledge distillation: students scored by the ONNX file that would ship."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autokd.version import __version__

if TYPE_CHECKING:
    from autokd.api import open_study as open_study
    from autokd.api import search as search
    from autokd.study.study import Student, Study

__all__ = ["Student", "Study", "__version__", "open_study", "search"]

# Resolved on first use: importing autokd loads neither torch nor ray nor optuna.
_WHERE = {"search": "autokd.api", "open_study": "autokd.api", "Study": "autokd.study", "Student": "autokd.study"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'autokd' has no attribute {name!r}")
