"""How a search went, in time: which trials moved the front, the hypervolume they gained, and how all of them ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autokd.config.objectives import Objective
from autokd.figures.front import axes, front_figure
from autokd.figures.style import GREY, OKABE_ITO, drawable, label, layout, value_text
from autokd.pareto import hypervolume
from autokd.strategies.search_clock import search_clock

CHUNK = 1024
"""Trials that are compared with the front at once."""
CLOCKS = {"search_s": "seconds of search", "cpu_s": "CPU seconds in trials"}
"""What the x axis of a history may be: a column of :attr:`History.steps`, and its title."""
OUTCOME_COLOURS = {
    "measured": OKABE_ITO[2], "infeasible": OKABE_ITO[1], "failed": OKABE_ITO[3], "stopped": OKABE_ITO[5],
    "duplicate": OKABE_ITO[4], "interrupted": GREY,
}  # fmt: skip
OUTCOME_NAMES = {"stopped": "stopped early"}


@dataclass(frozen=True)
class History:
    """The trials that moved the front, in the order in which they ended.

    Args:
        steps: One row a trial: ``number``; ``search_s`` and ``cpu_s``, seconds spent until it ended; ``volume``, the
            hypervolume from then on (NaN without a reference point); the objectives under their names.
        search_s: Seconds of search until the last trial ended.
        cpu_s: CPU seconds of all trials.
    """

    steps: pd.DataFrame
    search_s: float
    cpu_s: float

    @property
    def volume(self) -> float | None:
        """The hypervolume now; ``None`` without a reference point."""
        if not len(self.steps):
            return None
        last = float(self.steps["volume"].iloc[-1])
        return None if np.isnan(last) else last


def front_history(
    frame: pd.DataFrame, objectives: Sequence[Objective], reference: Sequence[float] | None = None
) -> History:
    """Which trials joined the front when they ended, and the hypervolume over ``reference`` that each of them reached.

    Args:
        frame: Columns of :attr:`autokd.storage.reader.TrialReader.frame`; read are ``number``, ``feasible``, ``begun``,
            ``ended``, ``outcome``, ``cpu_s`` and one column a name of ``objectives``, in the metric's unit.
        objectives: Two or three.
        reference: The hypervolume's reference point in their order, costs above 0; ``None``: volumes are not computed.
    """
    names = [o.name for o in objectives]
    if not len(frame):
        return History(pd.DataFrame(columns=["number", "search_s", "cpu_s", "volume", *names]), 0.0, 0.0)
    rows = frame.sort_values("ended", kind="stable")
    clock = search_seconds(rows)
    spent = rows["cpu_s"].astype(float).fillna(0.0).cumsum().to_numpy()
    totals = float(clock.max(initial=0.0)), float(spent[-1])
    if any(n not in rows.columns for n in names):
        return History(pd.DataFrame(columns=["number", "search_s", "cpu_s", "volume", *names]), *totals)
    values = rows[names].to_numpy(dtype=float)
    known = rows["feasible"].eq(True).to_numpy() & np.isfinite(values).all(axis=1)
    for place, o in enumerate(objectives):
        known &= (values[:, place] > 0) | (o.scale != "log")
    at = np.flatnonzero(known)
    at = at[improvements(_gains(values[at], objectives))]
    found = {"number": rows["number"].to_numpy()[at], "search_s": clock[at], "cpu_s": spent[at]}
    volume = np.full(len(at), np.nan)
    if reference is not None and len(reference) == len(names):
        volume = _volumes(_gains(values[at], objectives) - _gains(np.array([reference], dtype=float), objectives))
    steps = pd.DataFrame(found | {"volume": volume} | {n: values[at, k] for k, n in enumerate(names)})
    return History(steps, *totals)


def improvements(gains: np.ndarray) -> np.ndarray:
    """The rows of ``(n, m)``, larger is better, that no row above them matches or beats everywhere; ascending.

    A row is compared with the front of its time, many rows at once: what costs time are the improvements, not the rows.
    """
    found: list[int] = []
    front = np.empty((0, gains.shape[1]))
    for start in range(0, len(gains), CHUNK):
        part = gains[start : start + CHUNK]
        no_worse = np.all(front[None] >= part[:, None], axis=2)
        rest = np.flatnonzero(~no_worse.any(axis=1))
        while len(rest):
            first, rest = rest[0], rest[1:]
            found.append(start + int(first))
            rest = rest[~(part[rest] <= part[first]).all(axis=1)]
            front = np.vstack([front[~(front <= part[first]).all(axis=1)], part[first]])
    return np.array(found, dtype=int)


def _volumes(gains: np.ndarray) -> np.ndarray:
    """The hypervolume after each row of ``(n, m)`` gains over the reference: what a row adds is its box less the others.

    Cut to the box of the new point, few of the others matter, so a step costs little on a front of any length.
    """
    front = np.empty((0, gains.shape[1]))
    zero, directions = np.zeros(gains.shape[1]), ["maximize"] * gains.shape[1]
    total, found = 0.0, np.zeros(len(gains))
    for place, point in enumerate(gains):
        if (point > 0).all():
            others = np.minimum(front, point)
            if (
                gains.shape[1] == 2
            ):  # of those that end at the box's right or upper edge, only the one that reaches farthest
                others = np.vstack(
                    [others[(others < point).all(axis=1)], *(_farthest(others, point, k) for k in (0, 1))]
                )
            total += float(np.prod(point)) - hypervolume(others, zero, directions)
            front = np.vstack([front[~(front <= point).all(axis=1)], point])
        found[place] = total
    return found


def _farthest(others: np.ndarray, point: np.ndarray, edge: int) -> np.ndarray:
    """Of the rows at an edge of the point's box ``(n, 2)`` the one that reaches farthest along it: ``(1, 2)``, or none."""
    there = others[others[:, edge] == point[edge]]
    return there[[np.argmax(there[:, 1 - edge])]] if len(there) else there


def _gains(values: np.ndarray, objectives: Sequence[Objective]) -> np.ndarray:
    """``(n, m)``, larger is better, costs in natural logarithm: as :func:`autokd.pareto.hypervolume` measures."""
    columns = [np.log(values[:, k]) if o.scale == "log" else values[:, k] for k, o in enumerate(objectives)]
    signs = [1.0 if o.direction == "maximize" else -1.0 for o in objectives]
    return np.stack([s * c for s, c in zip(signs, columns, strict=True)], axis=1)


def search_seconds(rows: pd.DataFrame) -> np.ndarray:
    """Seconds of search until each trial ended ``(n,)``: :func:`autokd.strategies.search_clock.search_clock` of a table of trials.

    Args:
        rows: ``begun`` and ``ended`` in seconds since the epoch, and ``outcome``.
    """
    ended = rows["ended"].astype(float).to_numpy()
    begun = rows["begun"].astype(float).to_numpy()
    return search_clock(begun, ended, (rows["outcome"] != "interrupted").to_numpy())


def hypervolume_figure(found: History, objectives: Sequence[Objective], clock: str = "search_s") -> go.Figure:
    """The hypervolume as a staircase over time; each step is a trial that moved the front.

    Args:
        found: From :func:`front_history`, with a reference point.
        objectives: Those of the history, for the unit.
        clock: ``"search_s"`` or ``"cpu_s"``.

    Raises:
        ValueError: Another clock.
    """
    if clock not in CLOCKS:
        raise ValueError(f"the clock must be one of {', '.join(CLOCKS)}, but got {clock!r}")
    title = {"text": f"hypervolume ({volume_unit(objectives)})"}
    figure = go.Figure(
        layout=layout(
            xaxis={"title": {"text": CLOCKS[clock]}, "rangemode": "tozero"},
            yaxis={"title": title, "rangemode": "tozero"},
            showlegend=False,
            uirevision=clock,
        )
    )
    steps = found.steps
    if not len(steps):
        return figure
    now = found.search_s if clock == "search_s" else found.cpu_s
    last = float(steps["volume"].iloc[-1])
    x, y = [0.0, *steps[clock], now], [0.0, *steps["volume"], last]
    line = {"color": OKABE_ITO[0], "width": 2, "shape": "hv"}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip"))
    texts = [
        "<br>".join([f"<b>trial {int(row['number'])}</b>", *(value_text(o, row[o.name]) for o in objectives)])
        for row in steps.to_dict("records")
    ]
    template = "%{text}<br>hypervolume: %{y:.4g}<br>%{x:.0f} " + CLOCKS[clock] + "<extra></extra>"
    figure.add_trace(
        go.Scatter(
            x=steps[clock], y=steps["volume"], mode="markers", marker={"size": 7, "color": OKABE_ITO[0]}, text=texts,
            hovertemplate=template, customdata=[[int(n)] for n in steps["number"]],
        )
    )  # fmt: skip
    return figure


def volume_unit(objectives: Sequence[Objective]) -> str:
    """``accuracy × ln latency``: what the volume is a product of."""
    names = [label(Objective(o.direction, o.metric)).split(" (")[0] for o in objectives]
    return " × ".join(f"ln {n}" if o.scale == "log" else n for n, o in zip(names, objectives, strict=True))


def newest_figure(
    frame: pd.DataFrame,
    objectives: Sequence[Objective],
    newest: Sequence[int],
    teacher: Mapping[str, float] | None = None,
) -> go.Figure:
    """The front, with the trials that last joined it ringed and numbered.

    Args:
        frame: As of :func:`autokd.figures.front_figure`.
        objectives: Two or three.
        newest: Trial numbers, the latest last; those that are not in the frame are left out.
        teacher: Its value by objective name.
    """
    figure = front_figure(frame, objectives, teacher=teacher)
    x, y = axes(objectives)
    if not len(frame) or x.name not in frame.columns or y.name not in frame.columns:
        return figure
    rows = frame[frame["number"].isin(list(newest))]
    rows = rows[[drawable(a, x) and drawable(b, y) for a, b in zip(rows[x.name], rows[y.name], strict=True)]]
    if not len(rows):
        return figure
    ring = {"symbol": "circle-open", "size": 19, "color": OKABE_ITO[3], "line": {"width": 2}}
    figure.add_trace(
        go.Scatter(
            x=rows[x.name], y=rows[y.name], mode="markers+text", marker=ring, name=f"the last {len(rows)} to join",
            text=[str(int(n)) for n in rows["number"]], textposition="top center", hoverinfo="skip",
            customdata=[[int(n)] for n in rows["number"]], unselected={"marker": {"opacity": 1.0}},
        )
    )  # fmt: skip
    return figure


def outcomes_figure(counts: Mapping[str, int]) -> go.Figure:
    """How many trials ended in which way: a bar each, in the order given, with its number."""
    names = [OUTCOME_NAMES.get(k, k) for k in counts]
    colours = [OUTCOME_COLOURS.get(k, GREY) for k in counts]
    bar = go.Bar(
        x=list(counts.values()), y=names, orientation="h", marker={"color": colours}, width=0.7,
        text=[f"{n:,}" for n in counts.values()],
        textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x} trials<extra></extra>",
    )  # fmt: skip
    return go.Figure(
        bar,
        layout=layout(
            xaxis={"title": {"text": "trials"}, "rangemode": "tozero", "showticklabels": False, "showgrid": False},
            yaxis={"autorange": "reversed", "showgrid": False},
            showlegend=False,
            uirevision="outcomes",
            margin={"l": 10, "r": 50, "t": 10, "b": 10},
        ),
    )


__all__ = [
    "CLOCKS", "History", "front_history", "hypervolume_figure", "improvements", "newest_figure", "outcomes_figure",
    "search_seconds", "volume_unit",
]  # fmt: skip
