"""Parallel coordinates of parameters and objectives, drawn as plain lines: Plotly's own ones need WebGL.

Alfred Inselberg: "The plane with parallel coordinates", The Visual Computer 1, 1985, https://doi.org/10.1007/BF01898350.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from autokd.config.objectives import Objective, metric_of
from autokd.figures.style import GREY, OKABE_ITO, layout, plain, value_text
from autokd.figures.why import is_discrete, levels
from autokd.formatting import prefixed

MOST_OTHERS = 300
MOST_FRONT = 60
SHADES = [[0.0, OKABE_ITO[0]], [1.0, OKABE_ITO[1]]]
"""Blue to orange: both ends are seen on white and on black."""
LONGEST = 14


@dataclass(frozen=True)
class Scale:
    """One axis, from 0 (bottom) to 1.

    Args:
        title: Above it.
        at: Where each trial is ``(n,) float``; NaN where it is nowhere.
        ticks: Places and texts.
        crowded: Many trials share a place: lines are shifted a little to be seen apart.
    """

    title: str
    at: np.ndarray
    ticks: tuple[tuple[float, str], ...]
    crowded: bool


def parallel_figure(
    rows: pd.DataFrame, front: Sequence[int], parameters: Sequence[str], objectives: Sequence[Objective]
) -> go.Figure:
    """One line a student over its parameters and objectives; the front coloured by the last objective, others faint.

    Args:
        rows: Measured students: ``number``, ``params_<name>`` and one column a name of ``objectives``.
        front: Numbers of the front in an order that means something (cheapest first): at most 60, evenly, are drawn.
        parameters: Names, left to right.
        objectives: After the parameters; better is up on each.
    """
    numbers = rows["number"].to_numpy(dtype=int)
    order = {int(n): place for place, n in enumerate(numbers)}
    known = [order[int(n)] for n in front if int(n) in order]
    picked = [known[k] for k in _evenly(len(known), MOST_FRONT)]
    rest = np.setdiff1d(np.arange(len(numbers)), known)
    if len(rest) > MOST_OTHERS:
        rest = np.sort(np.random.default_rng(0).choice(rest, MOST_OTHERS, replace=False))
    scales = [_of_parameter(rows[f"params_{n}"], n) for n in parameters] + [_of_objective(rows, o) for o in objectives]
    rng = np.random.default_rng(0)
    height = np.stack([s.at + (rng.uniform(-0.015, 0.015, len(s.at)) if s.crowded else 0) for s in scales], axis=1)
    figure = go.Figure(layout=_layout(scales))
    x = list(range(len(scales)))
    if len(rest):
        gaps = np.concatenate([height[rest], np.full((len(rest), 1), np.nan)], axis=1).ravel()
        figure.add_scatter(
            x=[*x, None] * len(rest), y=[None if math.isnan(v) else v for v in gaps], mode="lines", name="other students",
            line={"color": "rgba(128,128,128,0.25)", "width": 1}, hoverinfo="skip",
        )  # fmt: skip
    shade = scales[-1].at[picked] if picked else np.zeros(0)
    colours = sample_colorscale(SHADES, np.nan_to_num(shade, nan=0.5).clip(0, 1).tolist()) if picked else []
    for place, colour in zip(picked, colours, strict=True):
        row = rows.iloc[place]
        text = "<br>".join([f"<b>trial {numbers[place]}</b>", *(value_text(o, float(row[o.name])) for o in objectives)])
        figure.add_scatter(
            x=x, y=height[place].tolist(), mode="lines+markers", name="on the front", legendgroup="front",
            showlegend=place == picked[-1], line={"color": colour, "width": 2}, marker={"size": 5, "color": colour},
            text=[text] * len(x), customdata=[[int(numbers[place])]] * len(x), hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    for at, scale in enumerate(scales):
        figure.add_scatter(
            x=[at] * len(scale.ticks), y=[t[0] for t in scale.ticks], text=[f"<b>{t[1]}</b>" for t in scale.ticks],
            mode="markers+text", textposition="top right", marker={"symbol": "line-ew-open", "size": 7, "color": GREY},
            hoverinfo="skip", showlegend=False, cliponaxis=False,
        )  # fmt: skip
    return figure


def _layout(scales: Sequence[Scale]) -> go.Layout:
    line = {"type": "line", "yref": "y", "y0": -0.02, "y1": 1.02, "layer": "below", "line": {"color": GREY, "width": 1}}
    return layout(
        xaxis={
            "tickvals": list(range(len(scales))), "ticktext": [s.title for s in scales], "side": "top", "showgrid": False,
            "range": [-0.4, len(scales) - 0.4], "fixedrange": True, "ticklabeloverflow": "allow",
            "zeroline": False, "ticks": "", "showline": False,
        },
        yaxis={"visible": False, "range": [-0.05, 1.1], "fixedrange": True},
        shapes=[line | {"x0": k, "x1": k} for k in range(len(scales))],
        legend={"orientation": "h", "yanchor": "top", "y": -0.02, "x": 0},
    )  # fmt: skip


def _of_parameter(column: pd.Series, name: str) -> Scale:
    title = _broken(name.replace("_", " "))
    absent = column.isna().to_numpy()
    bottom = 0.14 if absent.any() else 0.0
    if is_discrete(column):
        found = levels(column)
        names = list(found.names)
        known = len(names) - int(absent.any())
        places = np.linspace(bottom, 1, known) if known > 1 else np.array([(bottom + 1) / 2])
        places = np.append(places[:known], [0.0] if absent.any() else [])
        at = np.where(found.codes >= 0, places[found.codes], np.nan)
        ticks = tuple((float(p), plain(_short(n))) for p, n in zip(places, names, strict=True))
        return Scale(title, at, ticks, True)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    spread = bottom + (1 - bottom) * (values - low) / (high - low)
    ticks = tuple((bottom + (1 - bottom) * (t - low) / (high - low), _tick(t)) for t in steps(low, high))
    ticks += ((0.0, "absent"),) if absent.any() else ()
    return Scale(title, np.where(absent, 0.0, spread), ticks, False)


def _of_objective(rows: pd.DataFrame, objective: Objective) -> Scale:
    log, ratio = objective.scale == "log", metric_of(objective.metric).unit == "ratio"
    values = rows[objective.name].to_numpy(dtype=float)
    values = 100 * values if ratio else values
    values = np.where(values > 0, values, np.nan) if log else values
    low, high = float(np.nanmin(values)), float(np.nanmax(values))

    def place(value: np.ndarray | float) -> np.ndarray:
        one, ends = (np.log(value), np.log([low, high])) if log else (np.asarray(value), np.array([low, high]))
        at = (one - ends[0]) / (ends[1] - ends[0]) if high > low else np.where(np.isnan(one), np.nan, 0.5)
        return at if objective.direction == "maximize" else 1 - at

    metric = metric_of(objective.metric)
    name = (objective.metric.removesuffix(f"_{metric.unit}") if metric.unit else objective.metric).replace("_", " ")
    unit = "%" if ratio else metric.unit
    parts = [name + (f" ({unit})" if unit else ""), objective.profile or ""]
    better = "higher" if objective.direction == "maximize" else "lower"
    title = "<br>".join(f"<b>{plain(p)}</b>" for p in parts if p) + f"<br>{better} is better"
    ticks = tuple((float(place(t)), _tick(t)) for t in steps(low, high, log))
    return Scale(title, place(values), ticks, False)


def steps(low: float, high: float, log: bool = False) -> list[float]:
    """Two to seven round numbers from ``low`` to ``high``; the ends themselves where no two round ones lie between."""
    if not high > low:
        return [low]
    if log and high / low >= 4:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for leads in ((1, 2, 5), (1,)):
            found = [lead * 10.0**d for d in decades for lead in leads if low <= lead * 10.0**d <= high]
            if 2 <= len(found) <= 7:
                return found
        return [low, math.sqrt(low * high), high]
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw)
    found = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return found if len(found) > 1 else [low, high]


def _tick(value: float) -> str:
    return prefixed(value, gap=" ", plain_below=1e4)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _broken(name: str) -> str:
    """A long name on two lines."""
    words = name.split()
    half = math.ceil(len(words) / 2)
    if len(name) <= LONGEST or half == len(words):
        return plain(name)
    return plain(" ".join(words[:half])) + "<br>" + plain(" ".join(words[half:]))


def _evenly(n: int, most: int) -> list[int]:
    return list(range(n)) if n <= most else sorted(set(np.linspace(0, n - 1, most).round().astype(int).tolist()))
