"""The sliders of the front: at most so slow, at most so large, at least so accurate; moving one picks a student."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective, metric_of
from autokd.dashboard.analysis import selection
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.source import View
from autokd.figures import axes, label
from autokd.formatting import number


@dataclass(frozen=True)
class Range:
    """What a quality's slider spans, in the unit that is shown (percent of a ratio), in steps that tell students apart."""

    low: float
    high: float
    places: int
    factor: float

    @property
    def step(self) -> float:
        return float(10.0**-self.places)


def sliders(view: View, rows: pd.DataFrame, goals: Sequence[Objective]) -> None:
    """Draw them; moving one chooses the best student inside all of them."""
    costs, quality = bounded(view, rows, goals)
    places = st.columns(len(costs) + 1)

    def moved() -> None:
        if (found := selection.best(inside(view, rows, goals), quality, costs[0] if costs else quality)) is not None:
            view.choose(found)

    for place, cost in zip(places, costs, strict=False):
        steps, key = selection.grid(rows[cost.name]), _key(view, cost)
        _keep(key, steps[-1], st.session_state.get(key) in steps)
        unit = metric_of(cost.metric).unit
        place.select_slider(
            f"At most: {plain(without_unit(cost))}", steps, key=key, on_change=moved,
            format_func=lambda v, unit=unit: number(v, unit),
        )  # fmt: skip
    span = quality_range(rows[quality.name], quality)
    if span is not None and quality.scale == "linear":
        key, up = _key(view, quality), quality.direction == "maximize"
        loosest = span.low if up else span.high
        _keep(key, loosest, span.low <= st.session_state.get(key, math.nan) <= span.high)
        words = f"{'At least' if up else 'At most'}: {plain(label(quality))}"
        places[-1].slider(
            words, span.low, span.high, key=key, step=span.step, on_change=moved, format=f"%.{span.places}f"
        )


def without_unit(goal: Objective) -> str:
    """A cost's label; the slider's values say their unit, which changes with their size."""
    unit = metric_of(goal.metric).unit
    return label(goal).replace(f"({unit}, ", "(").replace(f" ({unit})", "")


def inside(view: View, rows: pd.DataFrame, goals: Sequence[Objective]) -> pd.DataFrame:
    """The students inside the sliders' limits."""
    costs, quality = bounded(view, rows, goals)
    state = st.session_state
    found = selection.within(rows, {o.name: state[_key(view, o)] for o in costs if _key(view, o) in state}, {})
    span, key = quality_range(rows[quality.name], quality), _key(view, quality)
    if span is None or key not in state or quality.scale != "linear":
        return found
    values, near = span.factor * found[quality.name].to_numpy(dtype=float), 1e-9 * max(1.0, abs(state[key]))
    keep = values >= state[key] - near if quality.direction == "maximize" else values <= state[key] + near
    return found[keep]


def bounded(view: View, rows: pd.DataFrame, goals: Sequence[Objective]) -> tuple[list[Objective], Objective]:
    """The costs that have a slider, and the quality."""
    x, y = axes(goals)
    quality = y if y.scale == "linear" else next((o for o in view.objectives if o.scale == "linear"), y)
    latency = next((o for o in view.objectives if o.metric == "latency_ms"), None)
    if latency is None and view.plan.profiles:
        latency = Objective("minimize", "latency_ms", view.profile or view.plan.profiles[0].name)
    wanted = [o for o in (latency, Objective("minimize", "size_bytes"), x if x.scale == "log" else None) if o]
    known = [o for o in dict.fromkeys(wanted) if o.name in rows.columns and rows[o.name].notna().all()]
    return [o for o in known if selection.grid(rows[o.name])], quality


def quality_range(column: pd.Series, quality: Objective) -> Range | None:
    """The span of a quality's values; ``None`` when they are all the same."""
    factor = 100.0 if metric_of(quality.metric).unit == "ratio" else 1.0
    values = factor * column.to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if not len(values) or not values.max() > values.min():
        return None
    places = 1 if factor == 100.0 else max(0, 2 - math.floor(math.log10(float(values.max() - values.min()))))
    step = 10.0**-places
    low = round(math.floor(float(values.min()) / step) * step, places)
    high = round(math.ceil(float(values.max()) / step) * step, places)
    return Range(low, high, places, factor) if high > low else None


def _key(view: View, goal: Objective) -> str:
    return f"limit {view.name} {goal.name}"


def _keep(key: str, loosest: float, possible: bool) -> None:
    """A limit that nobody set, or that is none any more, is the loosest: it follows a study that grows."""
    state = st.session_state
    if not possible or state[key] == state.get(f"{key} loosest"):
        state[key] = loosest
    state[f"{key} loosest"] = loosest
