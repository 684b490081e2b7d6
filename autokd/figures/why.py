"""What parameters do to an objective, as Plotly figures: importance, slices, with a teacher or without."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autokd.config.objectives import Objective
from autokd.figures.style import GREY, OKABE_ITO, SYMBOLS, axis, layout, plain, value_text
from autokd.formatting import brief

FEW = 12
"""Up to so many different numbers a parameter is drawn value by value."""
MOST_LEVELS = 20
MOST_POINTS = 1500
"""Points drawn beside the front; boxes and medians are of all."""
BOX = {"line": {"color": GREY, "width": 1}, "fillcolor": "rgba(128,128,128,0.12)", "hoverinfo": "skip"}
STUDENT = {"color": OKABE_ITO[0], "size": 6, "opacity": 0.6, "symbol": SYMBOLS[0]}
MEMBER = {"color": OKABE_ITO[1], "size": 11, "symbol": SYMBOLS[2], "line": {"width": 1, "color": GREY}}


@dataclass(frozen=True)
class Levels:
    """A parameter's values one by one.

    Args:
        names: Their texts in order, ``absent`` last; at most 20, of more the most frequent.
        codes: Index into ``names`` of each trial ``(n,) int``; -1 where the value is none of them.
    """

    names: tuple[str, ...]
    codes: np.ndarray


def is_discrete(column: pd.Series) -> bool:
    """Whether a parameter is drawn value by value: names, or few different numbers."""
    return not pd.api.types.is_numeric_dtype(column) or column.nunique() <= FEW


def levels(column: pd.Series) -> Levels:
    """A parameter's values in order: numbers by size, names by alphabet, trials that do not have it last."""
    numeric = pd.api.types.is_numeric_dtype(column)
    counts = column.value_counts().head(MOST_LEVELS - 1)
    kinds = sorted(counts.index, key=(lambda v: v) if numeric else str)
    codes = pd.Index(kinds).get_indexer(column).astype(int) if kinds else np.full(len(column), -1)
    names = [brief(v) for v in kinds]
    absent = column.isna().to_numpy()
    if absent.any():
        codes = np.where(absent, len(names), codes)
        names.append("absent")
    return Levels(tuple(names), codes)


def importance_figure(table: pd.DataFrame, title: str) -> go.Figure:
    """Horizontal bars with their standard deviation, the most important on top.

    Args:
        table: ``parameter``, ``importance`` and ``error`` (shares of the variation), in the order to draw.
        title: Of the x axis.
    """
    figure = go.Figure(
        layout=layout(
            xaxis={"title": {"text": plain(title)}, "tickformat": "~%", "rangemode": "tozero"},
            yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
            showlegend=False,
            bargap=0.35,
            margin={"l": 10, "r": 10, "t": 10, "b": 10},
        )
    )
    text = [
        f"<b>{plain(p)}</b><br>{100 * v:.1f} ± {100 * e:.1f} % of the variation"
        for p, v, e in zip(table["parameter"], table["importance"], table["error"], strict=True)
    ]
    figure.add_bar(
        x=table["importance"], y=[plain(p) for p in table["parameter"]], orientation="h", marker={"color": OKABE_ITO[0]},
        error_x={"type": "data", "array": table["error"], "color": GREY, "thickness": 1.5, "width": 3},
        text=text, textposition="none", hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    return figure


# -------------------------------------------------------------------------------------------------------- slice


def slice_figure(
    rows: pd.DataFrame, best: Collection[int], parameter: str, objective: Objective, log: bool = False
) -> go.Figure:
    """One parameter against one objective: boxes and points by value, or points and their running median.

    Args:
        rows: Measured students: ``number``, ``params_<parameter>`` and the objective's column.
        best: Numbers of the front, marked.
        parameter: Its name.
        objective: On y.
        log: A continuous parameter on a logarithmic axis.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.
    """
    column = rows[f"params_{parameter}"]
    figure = go.Figure(layout=layout(yaxis=axis(objective)))
    title = {"title": {"text": plain(parameter)}}
    if is_discrete(column):
        found = levels(column)
        keep = found.codes >= 0
        rows, codes = rows[keep], found.codes[keep]
        figure.add_trace(_boxes(rows[objective.name].to_numpy(dtype=float), codes, range(len(found.names))))
        counts = np.bincount(codes, minlength=len(found.names))
        ticks = [f"{plain(n)}<br>n = {c}" for n, c in zip(found.names, counts, strict=True)]
        ends = [-0.6, len(found.names) - 0.4]
        figure.update_xaxes(**title, tickvals=list(range(len(ticks))), ticktext=ticks, range=ends, showgrid=False)
        shift = np.random.default_rng(0).uniform(-0.22, 0.22, len(rows))  # so that equal values are seen apart
        _strip(figure, rows, codes + shift, best, objective)
        return figure
    rows = rows[column.notna()]
    x = rows[f"params_{parameter}"].to_numpy(dtype=float)
    y = rows[objective.name].to_numpy(dtype=float)
    figure.update_xaxes(**title, type="log" if log and (x > 0).all() else "linear")
    _strip(figure, rows, x, best, objective)
    if len(x) >= FEW:
        parts = [part for part in np.array_split(np.argsort(x, kind="stable"), min(10, len(x) // 6)) if len(part)]
        figure.add_scatter(
            x=[float(np.median(x[p])) for p in parts], y=[float(np.median(y[p])) for p in parts], mode="lines",
            line={"color": GREY, "width": 2}, name="median of students in order", hoverinfo="skip",
        )  # fmt: skip
    return figure


def _boxes(y: np.ndarray, codes: np.ndarray, places: Collection[int], name: str = "quartiles", **more: Any) -> go.Box:
    """Boxes at numeric places from their quartiles, however many values there are; whiskers end inside 1.5 boxes."""
    there = [k for k in places if (codes == k).any()]
    five = []
    for k in there:
        values = y[codes == k]
        q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
        reach = 1.5 * (q3 - q1)
        five.append((values[values >= q1 - reach].min(), q1, median, q3, values[values <= q3 + reach].max()))
    low, q1, median, q3, high = (list(map(float, column)) for column in zip(*five, strict=True)) if five else [[]] * 5
    return go.Box(
        x=more.pop("x", there), lowerfence=low, q1=q1, median=median, q3=q3, upperfence=high, name=name,
        width=more.pop("width", 0.6), showlegend=False, **(BOX | more),
    )  # fmt: skip


def _strip(figure: go.Figure, rows: pd.DataFrame, x: np.ndarray, best: Collection[int], objective: Objective) -> None:
    """Students as points, a sample of many, and all members of the front."""
    front = rows["number"].isin(list(best)).to_numpy()
    rest = np.flatnonzero(~front)
    if len(rest) > MOST_POINTS:
        rest = np.sort(np.random.default_rng(0).choice(rest, MOST_POINTS, replace=False))
    for name, at, marker in (("student", rest, STUDENT), ("on the front", np.flatnonzero(front), MEMBER)):
        if len(at):
            here = rows.iloc[at]
            y, numbers = here[objective.name].tolist(), here["number"].astype(int).tolist()
            figure.add_scatter(
                x=x[at], y=y, mode="markers", name=name, marker=marker, customdata=[[n] for n in numbers],
                text=[f"<b>trial {n}</b><br>{value_text(objective, v)}" for n, v in zip(numbers, y, strict=True)],
                hovertemplate="%{text}<extra></extra>", selected={"marker": {"opacity": 1.0}},
                unselected={"marker": {"opacity": marker.get("opacity", 1.0)}},
            )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ teacher


def teacher_figure(rows: pd.DataFrame, quality: Objective, bands: Sequence[str], across: str = "") -> go.Figure:
    """Students with and without a teacher, side by side in each band of the cost.

    Args:
        rows: ``number``, ``method``, ``teacher`` (bool), ``band`` (index into ``bands``) and the quality's column.
        quality: On y.
        bands: Texts of the x axis.
        across: Its title.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.
    """
    figure = go.Figure(layout=layout(yaxis=axis(quality)))
    rng = np.random.default_rng(0)
    for name, side, offset, place in (("with a teacher", True, -0.2, 0), ("without", False, 0.2, 1)):
        here = rows[rows["teacher"].to_numpy(dtype=bool) == side]
        if not len(here):
            continue
        y, codes = here[quality.name].to_numpy(dtype=float), here["band"].to_numpy(dtype=int)
        there = [k for k in range(len(bands)) if (codes == k).any()]
        figure.add_trace(_boxes(y, codes, there, name, x=[k + offset for k in there], width=0.34))
        some = rng.choice(len(here), min(len(here), MOST_POINTS // 2), replace=False)
        drawn = here.iloc[some]
        hover = [
            f"<b>trial {n}</b><br>{value_text(quality, v)}<br>method {plain(m)}"
            for n, v, m in zip(drawn["number"], drawn[quality.name], drawn["method"], strict=True)
        ]
        figure.add_scatter(
            x=codes[some] + offset + rng.uniform(-0.13, 0.13, len(some)), y=y[some], mode="markers", name=name,
            marker={"color": OKABE_ITO[place], "symbol": SYMBOLS[place], "size": 7, "opacity": 0.65}, text=hover,
            customdata=[[int(n)] for n in drawn["number"]], hovertemplate="%{text}<extra></extra>",
            selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": 0.65}},
        )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(bands))), ticktext=[plain(b) for b in bands], range=[-0.6, len(bands) - 0.4],
        showgrid=False, title={"text": plain(across)},
    )  # fmt: skip
    return figure
