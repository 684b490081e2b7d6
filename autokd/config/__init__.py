"""What a person may write, and what follows from it: study files, search spaces, objectives, plans."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autokd.config.load import from_dict as from_dict
    from autokd.config.load import from_yaml as from_yaml
    from autokd.config.study_file import StudyConfig as StudyConfig

__all__ = ["StudyConfig", "from_dict", "from_yaml"]

# Resolved on first use: whoever imports one module of this package loads no other.
_WHERE = {
    "StudyConfig": "autokd.config.study_file",
    "from_dict": "autokd.config.load",
    "from_yaml": "autokd.config.load",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'autokd.config' has no attribute {name!r}")
