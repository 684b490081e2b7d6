"""Who proposes candidates: ordinary Optuna samplers, useful in anybody's study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autokd.samplers.frontier import FrontierSampler as FrontierSampler

__all__ = ["FrontierSampler"]


def __getattr__(name: str) -> Any:
    if name == "FrontierSampler":  # resolved on first use: it loads Optuna and SciPy
        from autokd.samplers.frontier import FrontierSampler

        return FrontierSampler
    raise AttributeError(f"module 'autokd.samplers' has no attribute {name!r}")
