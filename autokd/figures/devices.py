"""The same students on several devices: how their order changes, and what each device pays for the other's best."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autokd.config.objectives import Objective
from autokd.figures.style import FAINT, GREY, OKABE_ITO, SYMBOLS, axis, layout, plain, value_text
from autokd.trial import ERROR

MOST_POINTS = 2000
MOST_RANKED = 40
NAMED = 25
"""Up to so many students carry their trial's number at the ends of their line."""


@dataclass(frozen=True)
class Order:
    """How far two devices order the same students alike.

    Args:
        students: Measured on both.
        spearman: Correlation of the ranks, -1 .. 1; NaN below three students. C. Spearman: "The proof and measurement
            of association between two things", American Journal of Psychology 15, 1904.
        pairs: Pairs of students that are compared.
        swapped: Pairs of which another one is faster on each device.
        sure: Those of them that differ by more than their spreads on both devices.
    """

    students: int
    spearman: float
    pairs: int
    swapped: int
    sure: int


def order_between(rows: pd.DataFrame, a: str, b: str, most: int = 2000) -> Order:
    """Compare the orders of two columns; spreads are read from ``<name>_error``.

    Args:
        rows: Students.
        a, b: Names of columns, e.g. ``latency_ms@cpu_1_thread``.
        most: Students whose pairs are looked at; of more a seeded sample.
    """
    rows = rows[rows[[a, b]].notna().all(axis=1)]
    n = len(rows)
    ranks = [rows[c].rank().to_numpy() for c in (a, b)]
    flat = n < 3 or any(np.ptp(r) == 0 for r in ranks)
    spearman = float("nan") if flat else float(np.corrcoef(*ranks)[0, 1])
    if n > most:
        rows = rows.sample(most, random_state=0)
    above = np.triu_indices(len(rows), 1)
    signs, clear = [], np.ones(len(above[0]), dtype=bool)
    for name in (a, b):
        value = rows[name].to_numpy(dtype=float)
        error = np.nan_to_num(rows[name + ERROR].to_numpy(dtype=float)) if name + ERROR in rows else np.zeros(len(rows))
        gap = value[above[0]] - value[above[1]]
        signs.append(np.sign(gap))
        clear &= np.abs(gap) > np.hypot(error[above[0]], error[above[1]])
    swapped = signs[0] * signs[1] < 0
    return Order(n, spearman, len(above[0]), int(swapped.sum()), int((swapped & clear).sum()))


@dataclass(frozen=True)
class Winners:
    """Who wins on each device among the same students.

    Args:
        fastest: Trial number by column.
        everywhere: The trial whose greatest loss against a device's own fastest is least.
        loss: That loss as a ratio, 1 or more: 1.2 is 20 % slower.
        losses: Value over the device's best ``(winner and device)``: row index the distinct winners and
            ``everywhere``, a column a device.
    """

    fastest: Mapping[str, int]
    everywhere: int
    loss: float
    losses: pd.DataFrame


def winners(rows: pd.DataFrame, columns: Sequence[str]) -> Winners | None:
    """The cheapest student of each column, and the best single one for all; ``None`` of no rows.

    Args:
        rows: Students, one row each, with ``number`` and ``columns`` above 0; those without a value of all are left out.
        columns: One a device, the same unit.
    """
    rows = rows[rows[list(columns)].notna().all(axis=1)].set_index("number")
    if not len(rows):
        return None
    ratios = rows[list(columns)] / rows[list(columns)].min()
    fastest = {c: int(ratios[c].idxmin()) for c in columns}
    worst = ratios.max(axis=1)
    everywhere = int(worst.idxmin())
    shown = list(dict.fromkeys([*fastest.values(), everywhere]))
    return Winners(fastest, everywhere, float(worst.loc[everywhere]), ratios.loc[shown])


def rank_figure(rows: pd.DataFrame, devices: Sequence[Objective]) -> go.Figure:
    """Ranks by a cost on each device, 1 the least, joined by a line for each student.

    Args:
        rows: Students measured on all devices, at most 40 of them are drawn: ``number`` and a column a name.
        devices: The same metric on two or more profiles.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.
    """
    names = [o.name for o in devices]
    rows = rows[rows[names].notna().all(axis=1)].head(MOST_RANKED)
    ranks = rows[names].rank(method="first").astype(int)
    change = ranks[names[0]] - ranks[names[-1]]
    ticks = [plain(o.profile or "") for o in devices]
    figure = go.Figure(
        layout=layout(
            xaxis={"tickvals": list(range(len(ticks))), "ticktext": ticks, "range": [-0.35, len(ticks) - 0.65], "side": "top"},
            yaxis={
                "title": {"text": "rank, 1 is the fastest"}, "range": [len(rows) + 0.6, 0.4], "showgrid": False, "tick0": 1,
                "dtick": 1 if len(rows) <= NAMED else 5,
            },
            legend={"orientation": "h", "yanchor": "top", "y": -0.02, "x": 0},
        )
    )  # fmt: skip
    first, last = ticks[0], ticks[-1]
    kinds = (
        (f"the same rank on {last} as on {first}", change == 0, GREY, SYMBOLS[0], 1.5),
        (f"better on {last}", change > 0, OKABE_ITO[0], SYMBOLS[3], 2),
        (f"worse on {last}", change < 0, OKABE_ITO[3], SYMBOLS[1], 2),
    )
    for name, kind, colour, symbol, width in kinds:
        x: list[float | None] = []
        y: list[float | None] = []
        texts: list[str] = []
        data: list[list[int]] = []
        for at, row in rows[kind].iterrows():
            number = int(row["number"])
            for place, o in enumerate(devices):
                x.append(place)
                y.append(int(ranks.loc[at, o.name]))
                texts.append(f"<b>trial {number}</b><br>{value_text(o, float(row[o.name]), row.get(o.name + ERROR))}")
                data.append([number])
            x.append(None)
            y.append(None)
            texts.append("")
            data.append([number])
        if x:
            figure.add_scatter(
                x=x, y=y, mode="lines+markers", name=name, line={"color": colour, "width": width}, text=texts,
                marker={"size": 8, "color": colour, "symbol": symbol}, customdata=data,
                hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    if len(rows) <= NAMED:
        for place, name, side in ((0, names[0], "middle left"), (len(names) - 1, names[-1], "middle right")):
            figure.add_scatter(
                x=[place] * len(rows), y=ranks[name], mode="text", text=[f"  trial {int(n)}  " for n in rows["number"]],
                textposition=side, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
    return figure


def devices_figure(
    rows: pd.DataFrame, a: Objective, b: Objective, front_a: Collection[int], front_b: Collection[int]
) -> go.Figure:
    """A cost on one device against the same on another, in logarithm; lines of equality and of the typical ratio.

    Args:
        rows: Students: ``number``, a column a name of ``a`` and ``b`` (the same unit), optionally ``<name>_error``.
        a: On x.
        b: On y.
        front_a, front_b: Numbers on each device's front; all of them are drawn, of others a sample.

    Returns:
        A figure whose every point carries the trial's number in ``customdata[0]``.
    """
    figure = go.Figure(layout=layout(xaxis=axis(a), yaxis=axis(b)))
    values = rows[[a.name, b.name]].to_numpy(dtype=float)
    rows = rows[(np.nan_to_num(values, nan=0.0) > 0).all(axis=1)]
    if not len(rows):
        return figure
    for line in _lines(rows[a.name].to_numpy(dtype=float), rows[b.name].to_numpy(dtype=float)):
        figure.add_trace(line)
    numbers = rows["number"]
    on_a, on_b = numbers.isin(list(front_a)).to_numpy(), numbers.isin(list(front_b)).to_numpy()
    kinds = (
        ("on no front", ~on_a & ~on_b, FAINT, 0, 6),
        (f"front of {a.profile}", on_a & ~on_b, OKABE_ITO[0], 3, 11),
        (f"front of {b.profile}", ~on_a & on_b, OKABE_ITO[3], 1, 10),
        ("front of both", on_a & on_b, OKABE_ITO[1], 2, 12),
    )
    for name, kind, colour, symbol, size in kinds:
        here = rows[kind]
        if not len(here):
            continue
        faint = symbol == 0
        if faint and len(here) > MOST_POINTS:
            here = here.sample(MOST_POINTS, random_state=0)
        texts = [
            f"<b>trial {int(n)}</b><br>{value_text(a, p)}<br>{value_text(b, q)}<br>ratio: {q / p:.3g}"
            for n, p, q in zip(here["number"], here[a.name], here[b.name], strict=True)
        ]
        figure.add_scatter(
            x=here[a.name], y=here[b.name], mode="markers", name=plain(name), text=texts,
            error_x=None if faint else _bars(here, a), error_y=None if faint else _bars(here, b),
            marker={"color": colour, "size": size, "symbol": SYMBOLS[symbol], "line": {"width": 0 if faint else 1, "color": GREY}},
            customdata=[[int(n)] for n in here["number"]], hovertemplate="%{text}<extra></extra>",
            selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": 1.0}},
        )  # fmt: skip
    return figure


def _lines(x: np.ndarray, y: np.ndarray) -> Iterator[go.Scatter]:
    """The line of equality where it is near the points ``(n,)``, and that of the typical ratio."""
    ratio = float(np.median(y / x))
    ends = np.array([x.min(), x.max()]) if x.max() > x.min() else np.array([x.min() / 1.5, x.max() * 1.5])
    typical = {"color": GREY, "width": 1, "dash": "dot"}
    shown = f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"
    name = f"typical: {shown} times as much"
    yield go.Scatter(x=ends, y=ratio * ends, mode="lines", line=typical, name=name, hoverinfo="skip")
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    spans = [np.log(v.max() / v.min()) for v in (x, y)]
    if np.log(high / low) <= max(2 * max(spans), 1.5):  # else it would squeeze the points into a corner
        equal = {"color": GREY, "width": 1.5, "dash": "dash"}
        yield go.Scatter(x=[low, high], y=[low, high], mode="lines", line=equal, name="equal on both", hoverinfo="skip")


def _bars(rows: pd.DataFrame, objective: Objective) -> dict[str, object] | None:
    column = objective.name + ERROR
    if column not in rows.columns or not rows[column].notna().any():
        return None
    return {"type": "data", "array": rows[column], "thickness": 1, "width": 2, "color": FAINT}
