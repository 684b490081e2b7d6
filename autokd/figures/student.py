"""Figures of one student or a few: how they learned, what their stages took, where they err."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autokd.figures.style import FAINT, GREY, OKABE_ITO, SYMBOLS, layout, plain
from autokd.protocols import CurvePoint
from autokd.trial import StageRecord

WRITTEN = 15
"""Of more classes than these, the counts of a confusion matrix are told on hover only."""
ERRORS = ((0.0, "#FBE3D1"), (1.0, "#B34700"))
"""Few and many confusions: opaque, so that the text on them is readable in a light and in a dark theme."""
RIGHT = "#9CC8E3"


@dataclass(frozen=True)
class Training:
    """How a student learned.

    Args:
        name: For the legend.
        distill: Points of the training from scratch.
        tuning: Points of the tuning after pruning; empty where nothing was pruned.
        accuracy: Of the exported file, ratio; ``None`` if not measured.
        error: Its standard error.
    """

    name: str
    distill: Sequence[CurvePoint]
    tuning: Sequence[CurvePoint] = ()
    accuracy: float | None = None
    error: float | None = None


def curves_figure(trainings: Sequence[Training], teacher: float | None = None, loss: bool = True) -> go.Figure:
    """Learning curves: validation accuracy of the model in training over the training samples seen.

    The tuning after pruning goes on where the training ended, dashed. A marker at the end is the exported file.

    Args:
        trainings: One or several students.
        teacher: Its accuracy on the validation split, a dotted line; ``None`` for none.
        loss: Also the training loss, in a smaller figure below.
    """
    figure = make_subplots(
        rows=2 if loss else 1, cols=1, shared_xaxes=True, vertical_spacing=0.06,
        row_heights=[0.7, 0.3] if loss else [1.0],
    )  # fmt: skip
    alone = len(trainings) == 1
    for place, training in enumerate(trainings):
        colour, symbol = OKABE_ITO[place % len(OKABE_ITO)], SYMBOLS[place % len(SYMBOLS)]
        name = plain(training.name)
        before = training.distill[-1].samples if training.distill else 0
        parts = (
            (training.distill, 0, "solid", "training" if alone else name, colour),
            (
                training.tuning, before, "dash", "tuning after pruning" if alone else f"{name}, tuned after pruning",
                OKABE_ITO[3] if alone else colour,
            ),
        )  # fmt: skip
        for points, offset, dash, shown, hue in parts:
            for trace, row in _lines(points, offset, dash, shown, hue, symbol, loss):
                figure.add_trace(trace, row=row, col=1)
        points = training.tuning or training.distill
        if training.accuracy is not None and points:
            end = points[-1].samples + (before if training.tuning else 0)
            bars = {"type": "data", "array": [training.error], "color": FAINT} if training.error else None
            figure.add_scatter(
                x=[end], y=[training.accuracy], error_y=bars, mode="markers", row=1, col=1,
                name="the exported file, whole split" if alone else f"{name}, the exported file",
                marker={"symbol": "star", "size": 14, "color": colour, "line": {"width": 1, "color": GREY}},
                hovertemplate=f"{name}: the exported file<br>%{{y:.2%}}<extra></extra>", showlegend=alone,
            )  # fmt: skip
    if teacher is not None:
        figure.add_hline(
            y=teacher, line={"dash": "dot", "color": GREY, "width": 1.5}, annotation_text="teacher",
            annotation_position="bottom left", row=1, col=1,
        )  # fmt: skip
    figure.update_layout(layout(height=420 if loss else 360))
    figure.update_yaxes(title_text="validation accuracy (%)", tickformat="~%", row=1, col=1)
    figure.update_xaxes(title_text="training samples seen", tickformat="~s", rangemode="tozero", row=2 if loss else 1)
    if loss:
        figure.update_yaxes(title_text="loss", rangemode="tozero", row=2, col=1)
    return figure


def _lines(
    points: Sequence[CurvePoint], offset: int, dash: str, name: str, colour: str, symbol: str, loss: bool
) -> Iterator[tuple[go.Scatter, int]]:
    if not points:
        return
    x = [p.samples + offset for p in points]
    line, marker = {"color": colour, "dash": dash, "width": 2}, {"size": 7, "symbol": symbol, "color": colour}
    facts = [[p.loss, p.cpu_s] for p in points]
    hover = "%{y:.2%} after %{x:,} samples<br>loss %{customdata[0]:.3g}, %{customdata[1]:.1f} CPU s"
    yield (
        go.Scatter(
            x=x, y=[p.validation_accuracy for p in points], mode="lines+markers", name=name, line=line, marker=marker,
            customdata=facts, hovertemplate=f"{name}<br>{hover}<extra></extra>", legendgroup=name,
        ),
        1,
    )  # fmt: skip
    if loss:
        template = f"{name}<br>loss %{{y:.3g}} after %{{x:,}} samples<extra></extra>"
        yield (
            go.Scatter(
                x=x, y=[p.loss for p in points], mode="lines", name=name, line=line, hovertemplate=template,
                legendgroup=name, showlegend=False,
            ),
            2,
        )  # fmt: skip


def stages_figure(stages: Sequence[StageRecord]) -> go.Figure:
    """Seconds on the clock of every stage, in order from above; one whose result was found in the store took none."""
    shown = [plain(s.stage) + (f" (attempt {s.attempts})" if s.attempts > 1 else "") for s in stages]
    took = [0.0 if s.cached else max(0.0, s.duration_s) for s in stages]
    words = ["found in the store" if s.cached else f"{seconds(s.duration_s)}" for s in stages]
    figure = go.Figure(
        go.Bar(
            x=took, y=shown, orientation="h", marker={"color": OKABE_ITO[0]}, showlegend=False,
            customdata=[w if s.cached else f"{w} on the clock, {seconds(s.cpu_s)} CPU" for w, s in zip(words, stages, strict=True)],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    # a bar of no length would hide its own text
    figure.add_scatter(
        x=took, y=shown, mode="text", text=[f" {w}" for w in words], textposition="middle right", hoverinfo="skip",
        showlegend=False, cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(
        layout(
            height=80 + 34 * max(1, len(stages)),
            margin={"l": 10, "r": 10, "t": 10, "b": 10},
            xaxis={"title": {"text": "time (s, on the clock)"}, "range": [0, 1.35 * max([*took, 1e-3])]},
            yaxis={"autorange": "reversed", "showgrid": False},
        )
    )
    return figure


def seconds(value: float) -> str:
    """``8.6 s``, ``12 ms``."""
    return f"{1000 * value:.0f} ms" if value < 0.1 else f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def confusion_figure(matrix: np.ndarray, classes: Sequence[str]) -> go.Figure:
    """A confusion matrix, and beside each of its rows how many of that class were right.

    Right answers are blue; confusions are the redder, the larger their share of the true class. The right figure's
    bars are standard errors of a ratio.

    Args:
        matrix: ``(classes, classes)`` counts: row = true class, column = predicted class.
        classes: Names, in order.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    right, eye = np.diag(shares), np.eye(len(counts), dtype=bool)
    wrong = np.where(eye | (counts == 0), np.nan, shares)
    names = [plain(c) for c in classes]
    places = list(range(len(names)))
    hover = [
        [f"is {names[i]}, said {names[j]}<br>{counts[i, j]:,} of {totals[i]:,}, {shares[i, j]:.1%}" for j in places]
        for i in places
    ]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.68, 0.32], horizontal_spacing=0.03)
    written = {"texttemplate": "%{text}"} if len(names) <= WRITTEN else {}
    for values, scale, top in (
        (np.where(eye & (counts > 0), 1.0, np.nan), ((0.0, RIGHT), (1.0, RIGHT)), 1.0),
        (wrong, ERRORS, float(np.nanmax(wrong)) if np.isfinite(wrong).any() else 1.0),
    ):
        known = np.isfinite(values)
        text = [[str(counts[i, j]) if known[i, j] else "" for j in places] for i in places]
        figure.add_heatmap(
            z=values, x=places, y=places, text=text, customdata=hover, xgap=1, ygap=1, row=1, col=1,
            colorscale=[list(stop) for stop in scale], zmin=0, zmax=top, showscale=False, hoverongaps=False,
            hovertemplate="%{customdata}<extra></extra>", **written,
        )  # fmt: skip
    known = totals > 0
    error = [math.sqrt(p * (1 - p) / n) if n else 0.0 for p, n in zip(right, totals, strict=True)]
    # dots, not bars: the axis need not begin at 0
    figure.add_scatter(
        x=np.where(known, right, np.nan), y=places, mode="markers", marker={"color": OKABE_ITO[0], "size": 10},
        showlegend=False, row=1, col=2,
        error_x={"type": "data", "array": error, "color": GREY, "thickness": 1.5, "width": 3},
        customdata=[f"{n}: {p:.1%} of {t:,} right" for n, p, t in zip(names, right, totals, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(layout(height=max(320, 130 + 30 * len(names)), margin={"l": 10, "r": 10, "t": 10, "b": 10}))
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False, "fixedrange": True}
    figure.update_xaxes(title_text="class that the file says", row=1, col=1, **ticks)
    figure.update_yaxes(title_text="true class", row=1, col=1, autorange="reversed", **ticks)
    figure.update_yaxes(autorange="reversed", row=1, col=2, **ticks)
    low = float(right[known].min()) if known.any() else 0.0
    figure.update_xaxes(
        title_text="accuracy of the class (%)", tickformat="~%", range=[max(0.0, math.floor(10 * low - 0.5) / 10), 1.02],
        row=1, col=2,
    )  # fmt: skip
    return figure
