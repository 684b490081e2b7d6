"""Ladders in the picture of the front: lines from parent to child, and one student's way down from its root."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from autokd.config.objectives import Objective
from autokd.figures.front import axes
from autokd.figures.style import GREY, OKABE_ITO, axis, layout, plain, value_text
from autokd.storage.lineage import Lineage, cut_text
from autokd.trial import ERROR

FAINT_LINE = 0.6
"""Opacity of the lines: the points are what a front is read by."""
HEAD, STANDOFF = 9, 5
"""Size of the arrow head at the child, and how far from its point it stands, in pixels."""


def with_lineage(
    figure: go.Figure, frame: pd.DataFrame, objectives: Sequence[Objective], lineage: Lineage
) -> go.Figure:
    """A copy of a front's figure with a faint arrow from each student's parent to it, coloured by root, behind the points.

    Where a parent is not drawn (it is infeasible, or one of too many), the arrow begins at the next ancestor that is.

    Args:
        figure: Of :func:`autokd.figures.front_figure`: every student in it carries its number in ``customdata[0]``.
        frame: The students, as for that figure.
        objectives: Likewise.
        lineage: Who descends from whom.

    Returns:
        Beyond seven roots with descendants the later ones share a grey. Each is an entry of the legend.
    """
    x, y = axes(objectives)
    drawn = {int(row[0]) for trace in figure.data for row in _numbers(trace)}
    rows = frame[frame["number"].isin(drawn)]
    place = dict(zip(rows["number"].astype(int), zip(rows[x.name], rows[y.name], strict=True), strict=True))
    lines: dict[int, tuple[list[float | None], list[float | None]]] = {}
    for number in place:
        above = next((s.number for s in lineage.path(number)[-2::-1] if s.number in place), None)
        if above is None:
            continue
        xs, ys = lines.setdefault(lineage.root(number), ([], []))
        xs += [place[above][0], place[number][0], None]
        ys += [place[above][1], place[number][1], None]
    traces = []
    for k, root in enumerate(sorted(lines)):
        xs, ys = lines[root]
        own = k < len(OKABE_ITO)
        colour = OKABE_ITO[k] if own else GREY
        traces.append(
            go.Scatter(
                x=xs, y=ys, mode="lines+markers", name=f"from root {root}" if own else "from other roots", hoverinfo="skip",
                legendgroup=f"root {root}" if own else "other roots", showlegend=k <= len(OKABE_ITO), opacity=FAINT_LINE,
                line={"color": colour, "width": 1.2},
                marker={"symbol": "arrow", "angleref": "previous", "standoff": STANDOFF, "color": colour, "line": {"width": 0},
                        "size": [0, HEAD, 0] * (len(xs) // 3)},
                unselected={"marker": {"opacity": FAINT_LINE}},
            )
        )  # fmt: skip
    return go.Figure([*traces, *figure.data], figure.layout)


def path_figure(frame: pd.DataFrame, objectives: Sequence[Objective], lineage: Lineage, number: int) -> go.Figure:
    """One student's way: every ancestor that was measured, from the root to it, cost against quality.

    Args:
        frame: Measured trials with ``number`` and a column a name of ``objectives``; spreads are read as well.
        objectives: Two or three, as on the front.
        lineage: Who descends from whom.
        number: The student; drawn last, ringed.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.
    """
    x, y = axes(objectives)
    at = {int(n): i for i, n in enumerate(frame["number"].to_numpy())}
    steps = [s for s in lineage.path(number) if s.number in at]
    rows = frame.iloc[[at[s.number] for s in steps]]
    texts = []
    for step, row in zip(steps, rows.to_dict("records"), strict=True):
        told = [value_text(o, row[o.name], row.get(o.name + ERROR)) for o in objectives]
        cuts = [plain("; ".join(map(cut_text, step.cuts)))] if step.cuts else []
        texts.append("<br>".join([f"<b>trial {step.number}</b>", plain(lineage.origin(step.number)), *told, *cuts]))
    last = [s.number == number for s in steps]
    named = [
        str(s.number) if s.cuts or s in (steps[0], steps[-1]) else "" for s in steps
    ]  # what was trained on stands close by
    figure = go.Figure(layout=layout(xaxis=axis(x), yaxis=axis(y), showlegend=False, clickmode="event+select"))
    figure.add_scatter(
        x=rows[x.name], y=rows[y.name], mode="lines+markers+text", line={"color": GREY, "width": 1.2},
        text=named, textposition="top center", cliponaxis=False, customdata=[[s.number] for s in steps],
        marker={"color": OKABE_ITO[0], "size": [13 if f else 9 for f in last],
                "line": {"color": GREY, "width": [2 if f else 0 for f in last]}},
        hovertext=texts, hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": 1.0}},
    )  # fmt: skip
    return figure


def _numbers(trace: go.Scatter) -> Sequence[Sequence[int]]:
    return trace.customdata if trace.customdata is not None else ()
