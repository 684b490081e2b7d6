"""The Pareto front as a Plotly figure: frames in, figures out, for the dashboard and for notebooks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autokd.config.objectives import Objective
from autokd.figures.style import (
    FAINT,
    GREY,
    OKABE_ITO,
    SYMBOLS,
    axis,
    drawable,
    label,
    layout,
    plain,
    value_text,
)
from autokd.formatting import brief
from autokd.pareto import non_dominated
from autokd.trial import ERROR

MOST = 1000
"""Dominated points that are drawn, at most."""
CROWD = 300
"""With more points than that only the front has error bars."""
REJECTED = ("x-thin-open", "cross-thin-open", "line-ns-open", "asterisk-open")
PER_LINE = 3
"""Parameters on a line of a hover label."""


def axes(objectives: Sequence[Objective]) -> tuple[Objective, Objective]:
    """The objectives of the x axis (a cost, if there is one: latency first) and of the y axis (a quality, if any).

    Raises:
        ValueError: Fewer than two objectives.
    """
    if len(objectives) < 2:
        raise ValueError(f"a front needs at least two objectives, but got {len(objectives)}")
    costs = [o for o in objectives if o.scale == "log"]
    x = next((o for o in costs if o.metric == "latency_ms"), costs[0] if costs else objectives[-1])
    rest = [o for o in objectives if o != x]
    return x, next((o for o in rest if o.scale == "linear"), rest[0])


def front_figure(
    frame: pd.DataFrame,
    objectives: Sequence[Objective],
    reference: Sequence[float] | None = None,
    teacher: Mapping[str, float] | None = None,
    colour: str | None = None,
    rejected: pd.DataFrame | None = None,
    most: int = MOST,
) -> go.Figure:
    """All measured trials, cost against quality, with their Pareto front.

    Args:
        frame: One row a trial, from :attr:`autokd.storage.reader.TrialReader.frame` or ``Study.to_dataframe()``. Read are
            ``number``, one column a name of ``objectives`` (in the metric's unit), optionally ``<name>_error`` (half-width,
            the same unit), ``outcome`` (only ``measured`` ones are drawn), ``params_*`` (shown on
            hover) and the column of ``colour``.
            Rows without a finite value of every objective are left out, as a log axis leaves out what is not above 0.
        objectives: Two or three. The first cost goes on x, in logarithm, and a quality on y; with three, the front is
            that of all three and not joined by a line, since it is none in two dimensions.
        reference: The hypervolume's reference point in the order of ``objectives``; hidden until its legend is clicked.
        teacher: Its value by objective name; a star, where x and y are known.
        colour: A column to colour by: up to seven different values by hue and symbol, more numbers by a scale.
        rejected: Rows of the same columns that are no students: infeasible, failed, stopped. One without a value of y (it was
            refused before its training) stands at the lower edge; one without a value of x is not drawn.
        most: Draw at most so many dominated students, always the same ones as the study grows: SVG needs no WebGL, but
            thousands of its points are slow. The front is always whole.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.

    Raises:
        ValueError: Fewer than two objectives, or a column that is not in the frame.
    """
    x, y = axes(objectives)
    figure = go.Figure(layout=_layout(x, y))
    whole = _measured(frame, objectives, x, y)
    missing = [colour] if colour is not None and len(frame) and colour not in frame.columns else []
    if missing:
        raise ValueError(
            f"the frame must have a column {colour!r} to colour by, but has {sorted(map(str, frame.columns))}"
        )
    if len(whole):
        values = whole[[o.name for o in objectives]].to_numpy(dtype=float)
        best = whole[non_dominated(values, [o.direction for o in objectives])]
        if len(objectives) == 2:
            figure.add_trace(_line(best.sort_values(x.name), x, y))
        on_front = set(best["number"])
        drawn = thinned(whole, on_front, most)
        figure.add_traces(list(_points(drawn, on_front, objectives, x, y, colour)))
    if rejected is not None and len(rejected):
        figure.add_traces(list(_rejected(rejected, whole, objectives, x, y, most)))
    if teacher and all(drawable(teacher.get(o.name), o) for o in (x, y)):
        text = "<br>".join(["teacher", *(value_text(o, teacher[o.name]) for o in objectives if o.name in teacher)])
        marker = {"symbol": "star", "size": 17, "color": OKABE_ITO[4], "line": {"width": 1, "color": GREY}}
        figure.add_trace(_single("teacher", teacher[x.name], teacher[y.name], marker, text))
    if reference is not None and len(reference) == len(objectives):
        point = {o.name: float(v) for o, v in zip(objectives, reference, strict=True)}
        text = "<br>".join(["reference point of the hypervolume", *(value_text(o, point[o.name]) for o in objectives)])
        marker = {"symbol": "x-thin-open", "size": 12, "line": {"width": 2}, "color": GREY}
        figure.add_trace(_single("reference point", point[x.name], point[y.name], marker, text, visible="legendonly"))
    return figure


def _measured(frame: pd.DataFrame, objectives: Sequence[Objective], x: Objective, y: Objective) -> pd.DataFrame:
    if not len(frame):
        return frame
    needed = ["number", *(o.name for o in objectives)]
    if "outcome" in frame.columns:
        frame = frame[frame["outcome"] == "measured"]
        if not len(frame):
            return frame
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        raise ValueError(f"the frame must have a column {absent[0]!r}, but has {sorted(map(str, frame.columns))}")
    keep = np.ones(len(frame), dtype=bool)
    for o in objectives:
        keep &= _drawable_rows(frame[o.name], o)
    return frame[keep]


def _drawable_rows(column: pd.Series, objective: Objective) -> np.ndarray:
    """Where a column can be drawn: ``(rows,) bool``."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    fine: np.ndarray = np.isfinite(values)
    return fine & (values > 0) if objective.scale == "log" else fine


def thinned(whole: pd.DataFrame, best: set[int], most: int) -> pd.DataFrame:
    """The front, and at most ``most`` other rows: those whose number hashes lowest, so a growing study keeps its points."""
    if len(whole) - len(best) <= most:
        return whole
    numbers = whole["number"].to_numpy(dtype=np.uint64)
    rest = ~np.isin(numbers, np.fromiter(best, dtype=np.uint64))
    # Knuth's multiplicative hash (The Art of Computer Programming 3, 6.4) scatters consecutive numbers
    scattered = (numbers * np.uint64(2654435761)) % np.uint64(2**32)
    limit = np.partition(scattered[rest], most)[most]
    return whole[~rest | (scattered < limit)]


def _points(
    whole: pd.DataFrame, best: set[int], objectives: Sequence[Objective], x: Objective, y: Objective, colour: str | None
) -> Iterator[go.Scatter]:
    for place, (name, group, shade) in enumerate(_groups(whole, objectives, colour)):
        on_front = [n in best for n in group["number"]]
        marker = {
            "symbol": SYMBOLS[place % len(SYMBOLS)],
            "size": [11 if f else 7 for f in on_front],
            "opacity": [1.0 if f else 0.6 for f in on_front],
            "line": {"width": [1.5 if f else 0 for f in on_front], "color": GREY},
        }
        yield go.Scatter(
            x=group[x.name],
            y=group[y.name],
            error_x=_errors(group, x, on_front),
            error_y=_errors(group, y, on_front),
            mode="markers",
            name=name,
            marker=marker | shade,
            customdata=[[int(n)] for n in group["number"]],
            text=_hovers(group, on_front, objectives),
            hovertemplate="%{text}<extra></extra>",
            selected={"marker": {"opacity": 1.0}},
            unselected={"marker": {"opacity": 0.6}},
        )


def _groups(
    whole: pd.DataFrame, objectives: Sequence[Objective], colour: str | None
) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Name, rows and marker of each trace."""
    if colour is None:
        yield "student", whole, {"color": OKABE_ITO[0]}
        return
    title = plain(next((label(o) for o in objectives if o.name == colour), colour.removeprefix("params_")))
    column = whole[colour]
    kinds = sorted(
        column.dropna().unique(),
        key=lambda v: (0, v, "") if isinstance(v, Real) else (1, 0, str(v)),
    )
    if len(kinds) > len(OKABE_ITO) and pd.api.types.is_numeric_dtype(column):
        bar = {"color": column, "colorscale": "Cividis", "showscale": True, "colorbar": {"title": {"text": title}}}
        yield "student", whole, bar
        return
    for place, kind in enumerate(kinds):
        shown = (
            plain(kind)
            if isinstance(kind, str)
            else f"{title} {plain(f'{kind:g}' if isinstance(kind, float) else kind)}"
        )
        yield shown, whole[column == kind], {"color": OKABE_ITO[place % len(OKABE_ITO)]}
    if column.isna().any():  # a conditional parameter that these trials do not have
        yield f"no {title}", whole[column.isna()], {"color": GREY}


def _hovers(group: pd.DataFrame, on_front: Sequence[bool], objectives: Sequence[Objective]) -> list[str]:
    """Hover labels. In a crowd only the front's say the parameters: a browser reads a megabyte of text for seconds."""
    wanted = ["number", "parent", *(c for o in objectives for c in (o.name, o.name + ERROR))]
    short = [c for c in wanted if c in group.columns]
    crowded = len(group) > CROWD
    brief = iter((group[short] if crowded else group).to_dict("records"))
    full = iter(group[np.asarray(on_front, dtype=bool)].to_dict("records"))
    return [
        _hover(next(full) if at_front and crowded else row, objectives)
        for at_front, row in zip(on_front, brief, strict=True)
    ]


def _hover(row: Mapping[Hashable, Any], objectives: Sequence[Objective]) -> str:
    lines = [f"<b>trial {int(row['number'])}</b>"]
    if isinstance(parent := row.get("parent"), int | float) and math.isfinite(parent):
        lines.append(f"from trial {int(parent)}")
    lines += [value_text(o, row[o.name], row.get(o.name + ERROR)) for o in objectives]
    texts = []
    for key, value in row.items():
        absent = value is None or (isinstance(value, float) and math.isnan(value))
        if str(key).startswith("params_") and not absent:
            shown = plain(brief(value))
            texts.append(f"{plain(str(key).removeprefix('params_'))} = {shown}")
    return "<br>".join(lines + [", ".join(texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE)])


def _errors(group: pd.DataFrame, objective: Objective, shown: Sequence[bool]) -> dict[str, Any] | None:
    """Error bars; in a crowd the front's alone, because the others' would hide the points."""
    column = objective.name + ERROR
    if column not in group.columns or not group[column].notna().any():
        return None
    values = group[column].to_numpy(dtype=float)
    if len(group) > CROWD:
        values = np.where(shown, values, np.nan)
    return {"type": "data", "array": values, "thickness": 1, "width": 2, "color": FAINT}


def _rejected(
    rows: pd.DataFrame, whole: pd.DataFrame, objectives: Sequence[Objective], x: Objective, y: Objective, most: int
) -> Iterator[go.Scatter]:
    """Trials that are no students, by outcome, as crosses."""
    if x.name not in rows.columns:
        return
    rows = thinned(rows[_drawable_rows(rows[x.name], x)], set(), most)
    known = _drawable_rows(rows[y.name], y) if y.name in rows.columns else np.zeros(len(rows), dtype=bool)
    lowest = _edge(whole, rows[known], y)
    if lowest is None:
        return
    outcomes = rows["outcome"].fillna("failed") if "outcome" in rows.columns else pd.Series("failed", rows.index)
    outcomes = outcomes.where(outcomes != "measured", "infeasible")  # measured, and outside a constraint
    for place, (outcome, group) in enumerate(rows.assign(_known=known).groupby(outcomes, sort=True)):
        height = np.where(group["_known"], group[y.name] if y.name in group.columns else lowest, lowest)
        reasons = [
            next((plain(row[c]) for c in ("violation", "cause") if isinstance(row.get(c), str)), "")
            for row in group.to_dict("records")
        ]
        yield go.Scatter(
            x=group[x.name], y=height, mode="markers", name=plain(outcome), hovertemplate="%{text}<extra></extra>",
            marker={"symbol": REJECTED[place % len(REJECTED)], "size": 8, "color": GREY, "line": {"width": 1.5}},
            text=[f"<b>trial {int(n)}</b><br>{plain(outcome)}<br>{r}" for n, r in zip(group["number"], reasons, strict=True)],
            unselected={"marker": {"opacity": 1.0}},
        )  # fmt: skip


def _edge(whole: pd.DataFrame, known: pd.DataFrame, y: Objective) -> float | None:
    """Where a point without a value of y stands: at the worse end of those that have one."""
    columns = [f[y.name].astype(float) for f in (whole, known) if len(f) and y.name in f.columns]
    if not columns:
        return None
    values = pd.concat(columns)
    return float(values.min() if y.direction == "maximize" else values.max())


def _line(best: pd.DataFrame, x: Objective, y: Objective) -> go.Scatter:
    """The front as a staircase: what can be had at each cost."""
    line = {"color": GREY, "width": 1.5, "shape": "hv" if x.direction == "minimize" else "vh"}
    return go.Scatter(x=best[x.name], y=best[y.name], mode="lines", name="Pareto front", line=line, hoverinfo="skip")


def _single(name: str, x: float, y: float, marker: dict[str, Any], text: str, **more: Any) -> go.Scatter:
    template = "%{text}<extra></extra>"
    more["unselected"] = {"marker": {"opacity": 1.0}}  # choosing a student fades students only
    return go.Scatter(
        x=[x], y=[y], mode="markers", name=name, marker=marker, text=[text], hovertemplate=template, **more
    )


def _layout(x: Objective, y: Objective) -> go.Layout:
    return layout(
        xaxis=axis(x),
        yaxis=axis(y),
        clickmode="event+select",
        uirevision=f"{x.name} {y.name}",  # zoom survives a refresh
    )
