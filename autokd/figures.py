"""Plotly figures of a study: frames in, figures out, for the dashboard and for notebooks.

Colours are of the palette that colour-blind people tell apart (M. Okabe & K. Ito, "Color Universal Design", 2008,
https://jfly.uni-koeln.de/color/), no background is set, and the greys are readable on white and on black. Whatever a
ledger says is escaped: Plotly reads a little HTML in its labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from autokd.objectives import Objective, metric_of
from autokd.pareto import non_dominated

if TYPE_CHECKING:
    from autokd.results import Member
    from autokd.trial import Measurement

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "hexagon")
GREY = "#808080"
FAINT = "rgba(128,128,128,0.6)"
ERROR = "_error"
"""``<measurement>_error`` is the column of a measurement's spread, in the measurement's own unit."""
LONGEST = 60
"""Characters of one parameter's value in a label."""
PER_LINE = 3
"""Parameters on a line of a hover label."""


def members_frame(members: Sequence[Member]) -> pd.DataFrame:
    """One row a measured student, as :func:`front_figure` reads it.

    Columns: ``number``; every measurement under its name (``accuracy``, ``latency_ms@cpu_1_thread``) and its spread as
    ``<name>_error``, both in the measurement's unit; ``pruned`` (``"pruned"`` or ``"whole"``); ``params_<name>``.
    """
    rows = []
    for member in members:
        row: dict[str, Any] = {"number": member.number}
        for m in member.record.measurements:
            row[m.name] = m.value
            row[m.name + ERROR] = error_of(m)
        removed = [v for k, v in member.params.items() if k.startswith("prune_") and isinstance(v, int | float)]
        row["pruned"] = "pruned" if any(v > 0 for v in removed) else "whole"
        rows.append(row | {f"params_{k}": v for k, v in member.params.items()})
    return pd.DataFrame(rows)


def error_of(measurement: Measurement) -> float | None:
    """A spread in the measurement's unit: that of a time is recorded relative to its value, others as they are."""
    if measurement.spread is None:
        return None
    return measurement.spread * measurement.value if measurement.unit == "ms" else measurement.spread


def label(objective: Objective, with_direction: bool = False) -> str:
    """``latency (ms, cpu_1_thread)``: what is measured, its unit and its device; plain text."""
    metric = metric_of(objective.metric)
    name = objective.metric.removesuffix(f"_{metric.unit}") if metric.unit else objective.metric
    notes = [n for n in ("%" if metric.unit == "ratio" else metric.unit, objective.profile) if n]
    if with_direction:
        notes.append(f"{'higher' if objective.direction == 'maximize' else 'lower'} is better")
    return name.replace("_", " ") + (f" ({', '.join(notes)})" if notes else "")


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
) -> go.Figure:
    """All measured trials, cost against quality, with their Pareto front.

    Args:
        frame: One row a trial, from :func:`members_frame` or ``Study.to_dataframe()``. Read are ``number``, one column
            a name of ``objectives`` (in the metric's unit), optionally ``<name>_error`` (half-width, the same unit),
            ``outcome`` (only ``measured`` ones are drawn), ``params_*`` (shown on hover) and the column of ``colour``.
            Rows without a finite value of every objective are left out, as a log axis leaves out what is not above 0.
        objectives: Two or three. The first cost goes on x, in logarithm, and a quality on y; with three, the front is
            that of all three and not joined by a line, since it is none in two dimensions.
        reference: The hypervolume's reference point in the order of ``objectives``; hidden until its legend is clicked.
        teacher: Its value by objective name; a star, where x and y are known.
        colour: A column to colour by: up to seven different values by hue and symbol, more numbers by a scale.

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
        figure.add_traces(list(_points(whole, set(best["number"]), objectives, x, y, colour)))
    if teacher and all(_drawable(teacher.get(o.name), o) for o in (x, y)):
        text = "<br>".join(["teacher", *(_value(o, teacher[o.name]) for o in objectives if o.name in teacher)])
        marker = {"symbol": "star", "size": 17, "color": OKABE_ITO[4], "line": {"width": 1, "color": GREY}}
        figure.add_trace(_single("teacher", teacher[x.name], teacher[y.name], marker, text))
    if reference is not None and len(reference) == len(objectives):
        point = {o.name: float(v) for o, v in zip(objectives, reference, strict=True)}
        text = "<br>".join(["reference point of the hypervolume", *(_value(o, point[o.name]) for o in objectives)])
        marker = {"symbol": "x-thin-open", "size": 12, "line": {"width": 2}, "color": GREY}
        figure.add_trace(_single("reference point", point[x.name], point[y.name], marker, text, visible="legendonly"))
    return figure


def plain(value: object) -> str:
    """Text for a Plotly label: shown as it is, never read as HTML, and not without end."""
    text = " ".join(str(value).split())
    return html.escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", quote=False)


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
    keep = pd.Series(True, index=frame.index)
    for o in objectives:
        keep &= frame[o.name].map(lambda v, o=o: _drawable(v, o))
    return frame[keep]


def _drawable(value: Any, objective: Objective) -> bool:
    if not isinstance(value, Real) or not math.isfinite(value):
        return False
    return float(value) > 0 or objective.scale != "log"


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
            error_x=_errors(group, x),
            error_y=_errors(group, y),
            mode="markers",
            name=name,
            marker=marker | shade,
            customdata=[[int(n)] for n in group["number"]],
            text=[_hover(row, objectives) for row in group.to_dict("records")],
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


def _hover(row: Mapping[Hashable, Any], objectives: Sequence[Objective]) -> str:
    lines = [f"<b>trial {int(row['number'])}</b>"]
    lines += [_value(o, row[o.name], row.get(o.name + ERROR)) for o in objectives]
    texts = []
    for key, value in row.items():
        absent = value is None or (isinstance(value, float) and math.isnan(value))
        if str(key).startswith("params_") and not absent:
            shown = f"{value:.4g}" if isinstance(value, float) else plain(value)
            texts.append(f"{plain(str(key).removeprefix('params_'))} = {shown}")
    return "<br>".join(lines + [", ".join(texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE)])


def _value(objective: Objective, value: float, error: Any = None) -> str:
    ratio = metric_of(objective.metric).unit == "ratio"
    sure = isinstance(error, Real) and math.isfinite(error)
    factor = 100 if ratio else 1
    shown = f"{100 * value:.2f}" if ratio else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{plain(label(objective))}: {shown}" + (f" ± {factor * error:.2g}" if sure else "")


def _errors(group: pd.DataFrame, objective: Objective) -> dict[str, Any] | None:
    column = objective.name + ERROR
    if column not in group.columns or not group[column].notna().any():
        return None
    return {"type": "data", "array": group[column], "thickness": 1, "width": 2, "color": FAINT}


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
    # colours live in the template, so that a notebook's or the dashboard's theme can replace them
    faint = {"gridcolor": "rgba(128,128,128,0.25)", "linecolor": GREY, "zeroline": False, "automargin": True}
    clear = "rgba(0,0,0,0)"
    template = go.layout.Template(
        layout={"paper_bgcolor": clear, "plot_bgcolor": clear, "font": {"color": GREY}, "xaxis": faint, "yaxis": faint}
    )
    return go.Layout(
        template=template,
        xaxis=_axis(x),
        yaxis=_axis(y),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        hovermode="closest",
        hoverlabel={"align": "left"},
        clickmode="event+select",
        uirevision=f"{x.name} {y.name}",  # zoom survives a refresh
    )


def _axis(objective: Objective) -> dict[str, Any]:
    unit = metric_of(objective.metric).unit
    axis: dict[str, Any] = {"title": {"text": plain(label(objective, with_direction=True))}}
    if objective.scale == "log":
        axis |= {"type": "log", "minor": {"ticks": "outside", "ticklen": 3, "tickcolor": GREY}}
        axis |= {"exponentformat": "none"} if unit == "ms" else {"exponentformat": "SI"}
    elif unit == "ratio":
        axis |= {"tickformat": "~%"}
    return axis
