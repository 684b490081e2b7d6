"""autokd's samplers under other seeds, as ``seeded_samplers:<name>_<seed>``: the data, splits and teacher stay the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autokd import registry

NAMES = {
    "tpe": "optuna:tpe",
    "random": "optuna:random",
    "evolution": "nni:evolution",
    "nsga2": "optuna:nsga2",
    "frontier": "autokd.samplers.frontier:frontier",
}


def __getattr__(name: str) -> Callable[[int, Mapping[str, Any]], Any]:
    short, _, seed = name.rpartition("_")
    if short not in NAMES or not seed.isdigit():
        raise AttributeError(name)

    def factory(given: int, space: Mapping[str, Any]) -> Any:
        return registry.load("samplers", NAMES[short])(given + 7919 * int(seed), space)

    return factory
