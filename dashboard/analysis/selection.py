"""A student by limits, and what a little more of one thing buys of another; columns in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autokd.config.objectives import METRICS, Objective, metric_of
from autokd.storage.results import knee_row

E24 = (
    1.0,
    1.1,
    1.2,
    1.3,
    1.5,
    1.6,
    1.8,
    2.0,
    2.2,
    2.4,
    2.7,
    3.0,
    3.3,
    3.6,
    3.9,
    4.3,
    4.7,
    5.1,
    5.6,
    6.2,
    6.8,
    7.5,
    8.2,
    9.1,
)
"""IEC 60063: 24 steps a decade, about 10 % apart. Limits stand on it, so they stay where they are as a study grows."""


@dataclass(frozen=True)
class Exchange:
    """The next student of the front in one direction, against the chosen one.

    Args:
        number: Its trial.
        cost: What it costs more (less, if negative), in the cost's unit.
        gain: What it is better by (worse, if negative), in the quality's unit.
    """

    number: int
    cost: float
    gain: float


def grid(values: pd.Series) -> list[float]:
    """Limits that a slider offers for a cost: from just above its least value to just above its greatest."""
    known = values[np.isfinite(values.to_numpy(dtype=float)) & (values.to_numpy(dtype=float) > 0)]
    if not len(known):
        return []
    low, high = float(known.min()), float(known.max())
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = [float(f"{step * 10.0**decade:.6g}") for decade in decades for step in E24]
    first = next(i for i, step in enumerate(steps) if step >= low)
    last = next((i for i, step in enumerate(steps) if step >= high), len(steps) - 1)
    return steps[first : last + 1]


def within(rows: pd.DataFrame, at_most: Mapping[str, float], at_least: Mapping[str, float]) -> pd.DataFrame:
    """The rows inside every limit, by column."""
    keep = np.ones(len(rows), dtype=bool)
    for name, limit in at_most.items():
        keep &= rows[name].to_numpy(dtype=float) <= limit
    for name, limit in at_least.items():
        keep &= rows[name].to_numpy(dtype=float) >= limit
    return rows[keep]


def best(rows: pd.DataFrame, quality: Objective, cost: Objective) -> int | None:
    """The trial of the best quality, the cheapest of equals; ``None`` of no rows."""
    if not len(rows):
        return None
    ordered = rows.sort_values(
        [quality.name, cost.name], ascending=[quality.direction == "minimize", True], kind="stable"
    )
    return int(ordered["number"].iloc[0])


def compromise(front: pd.DataFrame, objectives: Sequence[Objective]) -> int | None:
    """The front's knee: where a person who states no limit begins."""
    return int(front["number"].iloc[knee_row(front, objectives)]) if len(front) else None


def exchanges(
    front: pd.DataFrame, chosen: pd.Series, quality: Objective, cost: Objective
) -> tuple[Exchange | None, Exchange | None]:
    """The front's next cheaper and next costlier student, against a chosen one, on a two-objective front or behind it."""
    if quality.name == cost.name:
        return None, None
    ordered = front.sort_values(cost.name, kind="stable").reset_index(drop=True)
    costs, here = ordered[cost.name].to_numpy(dtype=float), float(chosen[cost.name])
    sign = 1.0 if quality.direction == "maximize" else -1.0

    def against(place: int) -> Exchange | None:
        if not 0 <= place < len(ordered):
            return None
        there = ordered.iloc[place]
        gain = sign * (float(there[quality.name]) - float(chosen[quality.name]))
        return Exchange(int(there["number"]), float(costs[place]) - here, gain)

    return against(int(np.searchsorted(costs, here, "left")) - 1), against(int(np.searchsorted(costs, here, "right")))


def choices(frame: pd.DataFrame, stated: Sequence[Objective]) -> list[Objective]:
    """What an axis can show: the study's objectives, then whatever else was measured."""
    found = list(stated)
    for column in frame.columns:
        metric, _, profile = str(column).partition("@")
        if metric in METRICS and metric_of(metric).direction is not None:
            goal = Objective(str(metric_of(metric).direction), metric, profile or None)
            if goal not in found and frame[column].notna().any():
                found.append(goal)
    return found
