"""A front's figure as a plain SVG picture, without a browser's or Plotly's help: what a page shows while its scripts still load."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from autokd.figures.style import GREY
from autokd.formatting import prefixed

LEFT, RIGHT, TOP, BOTTOM = 8.0, 99.0, 15.0, 87.0
"""The plot's edges, percent of the picture: it is drawn in percent, so that it fits whatever width it is given."""
FREE = 0.06
"""Room between the outermost points and the edge, share of an axis."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
SHAPES = {
    "square": "M-1-1H1V1H-1Z",
    "diamond": "M0-1.3L1.3 0 0 1.3-1.3 0Z",
    "triangle-up": "M0-1.2L1.2 1H-1.2Z",
    "cross": "M-.4-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
    "pentagon": "M0-1.1L1.05-.34 .65.89H-.65L-1.05-.34Z",
    "hexagon": "M0-1.1L.95-.55V.55L0 1.1-.95.55V-.55Z",
    "star": "M0-1.3L.3-.42 1.24-.4 .48.16 .76 1.05 0 .5-.76 1.05-.48.16-1.24-.4-.3-.42Z",
}
"""Outlines by Plotly's names, for a marker of radius 1; any other is drawn as a circle."""


@dataclass(frozen=True)
class _Axis:
    """A Plotly axis with the range of what is drawn.

    Args:
        log: Whether values are placed by their logarithm.
        low: Lower end, in the axis' own measure (the base-10 logarithm where ``log``).
        high: Upper end.
        ratio: Labels are percentages.
        title: What is measured.
    """

    log: bool
    low: float
    high: float
    ratio: bool
    title: str

    def place(self, value: float) -> float:
        """Share of the axis, 0 at its lower end; not a number for what has no place on it."""
        if value is None or (self.log and value <= 0):
            return math.nan
        return ((math.log10(value) if self.log else float(value)) - self.low) / (self.high - self.low)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round values inside the range, each with its text."""
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        if self.log and high / low > 4:
            found = [m * 10.0**d for d in range(math.floor(self.low), math.ceil(self.high) + 1) for m in (1, 2, 5)]
        else:
            rough = (high - low) / 9
            decade = 10.0 ** math.floor(math.log10(rough))
            step = next(s * decade for s in STEPS if s * decade >= rough)
            found = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        for value in found:
            if low <= value <= high:
                yield value, f"{100 * value:.3g}%" if self.ratio else prefixed(value)


def still(figure: go.Figure) -> str:
    """A figure of :func:`autokd.figures.front_figure` as SVG text: points, error bars, front, teacher, axes, legend.

    It stands by itself: no script, no font, nothing fetched; readable on a light and on a dark page. It fills whatever box it is
    shown in, and a legend entry that waits for a click in Plotly is left out.

    Args:
        figure: Scatter traces over one pair of linear or logarithmic axes. Names and titles are read as Plotly reads them, so they
            are expected escaped, as all of :mod:`autokd.figures` does.

    Returns:
        The ``<svg>`` element.
    """
    traces = [t for t in figure.data if t.visible is not False and t.visible != "legendonly" and t.x is not None]
    x, y = (_axis(figure.layout[f"{name}axis"], [getattr(t, name) for t in traces]) for name in ("x", "y"))
    parts = [*_frame(x, y), *_legend(traces)]
    for trace in traces:
        xs, ys = [LEFT + (RIGHT - LEFT) * x.place(v) for v in trace.x], [_up(y.place(v)) for v in trace.y]
        if _is_line(trace):
            parts += _staircase(xs, ys, trace)
            continue
        parts += _errors(trace, x, y, xs, ys)
        parts += _markers(trace, xs, ys)
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="100%" font-family="sans-serif" font-size="12" fill="{GREY}">'
        f"{body}</svg>"
    )


def _axis(stated: Any, columns: Sequence[Any]) -> _Axis:
    log = stated.type == "log"
    values = np.concatenate([np.asarray(c, dtype=float) for c in columns] or [np.empty(0)])
    values = values[np.isfinite(values) & ((values > 0) if log else True)]
    values = np.log10(values) if log else values
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    free = FREE * (high - low) or 0.1 * abs(high) or 0.5
    title = (stated.title.text if stated.title else "") or ""
    return _Axis(log, low - free, high + free, "%" in (stated.tickformat or ""), title)


def _frame(x: _Axis, y: _Axis) -> Iterator[str]:
    """Horizontal grid, ticks and titles."""
    for value, text in x.ticks():
        at = LEFT + (RIGHT - LEFT) * x.place(value)
        yield f'<text x="{at:.2f}%" y="{BOTTOM:g}%" dy="18" text-anchor="middle">{_text(text)}</text>'
    for value, text in y.ticks():
        at = _up(y.place(value))
        yield _line(LEFT, at, RIGHT, at, GREY, 1, 0.25)
        yield f'<text x="{LEFT:g}%" y="{at:.2f}%" dx="-6" dy="4" text-anchor="end">{_text(text)}</text>'
    middle = (TOP + BOTTOM) / 2
    yield f'<text x="{(LEFT + RIGHT) / 2:g}%" y="98%" text-anchor="middle" font-size="14">{_text(x.title)}</text>'
    yield (
        f'<svg x="0" y="{middle:g}%" overflow="visible"><text transform="translate(14 0) rotate(-90)" text-anchor="middle" '
        f'font-size="14">{_text(y.title)}</text></svg>'
    )


def _legend(traces: Sequence[Any]) -> Iterator[str]:
    named = [t for t in traces if t.showlegend is not False and t.name]
    signs = [(t.line.color, "—") if _is_line(t) else (t.marker.color, "●") for t in named]
    marks = [
        f'<tspan fill="{_colours(colour, 1)[0]}">{sign}</tspan> {_text(t.name)}'
        for t, (colour, sign) in zip(named, signs, strict=True)
    ]
    yield f'<text x="{LEFT:g}%" y="8%">{"&#160;&#160;&#160;".join(marks)}</text>'


def _staircase(xs: Sequence[float], ys: Sequence[float], trace: Any) -> Iterator[str]:
    """A line through points in the shape that its trace states: horizontal first, vertical first, or straight."""
    corners = {"hv": lambda i: (xs[i + 1], ys[i]), "vh": lambda i: (xs[i], ys[i + 1])}.get(trace.line.shape)
    for i in range(len(xs) - 1):
        path = [(xs[i], ys[i]), *([corners(i)] if corners else []), (xs[i + 1], ys[i + 1])]
        for (x1, y1), (x2, y2) in itertools.pairwise(path):
            yield _line(x1, y1, x2, y2, trace.line.color or GREY, trace.line.width or 1.5)


def _errors(trace: Any, x: _Axis, y: _Axis, xs: Sequence[float], ys: Sequence[float]) -> Iterator[str]:
    for name, axis, values in (("error_x", x, trace.x), ("error_y", y, trace.y)):
        lengths = getattr(trace, name).array
        for i, length in enumerate(lengths if lengths is not None else ()):
            if not math.isfinite(length or math.nan):
                continue
            ends = [min(max(axis.place(v), 0.0), 1.0) for v in (values[i] - length, values[i] + length)]
            if not all(math.isfinite(e) for e in (*ends, xs[i], ys[i])):
                continue
            if axis is x:
                one, two = (LEFT + (RIGHT - LEFT) * e for e in ends)
                yield _line(one, ys[i], two, ys[i], GREY, 1, 0.6)
            else:
                yield _line(xs[i], _up(ends[0]), xs[i], _up(ends[1]), GREY, 1, 0.6)


def _markers(trace: Any, xs: Sequence[float], ys: Sequence[float]) -> Iterator[str]:
    marker, n = trace.marker, len(xs)
    symbol = str(marker.symbol or "circle")
    shape = SHAPES.get(symbol.removesuffix("-open"))
    sizes, opacities = _each(marker.size, n, 7), _each(marker.opacity, n, 1)
    widths, colours = _each(marker.line.width, n, 0), _colours(marker.color, n)
    for at, up, size, opacity, width, colour in zip(xs, ys, sizes, opacities, widths, colours, strict=True):
        if not (math.isfinite(at) and math.isfinite(up)):
            continue
        fill = f'fill="none" stroke="{colour}"' if symbol.endswith("-open") else f'fill="{colour}" stroke="{GREY}"'
        paint = f'{fill} stroke-width="{width:g}" opacity="{opacity:g}"'
        if shape is None:
            yield f'<circle cx="{at:.2f}%" cy="{up:.2f}%" r="{size / 2:g}" {paint}/>'
        else:  # the outline keeps its width, though the shape is scaled
            drawn = f'<path d="{shape}" transform="scale({size / 2:g})" vector-effect="non-scaling-stroke" {paint}/>'
            yield f'<svg x="{at:.2f}%" y="{up:.2f}%" overflow="visible">{drawn}</svg>'


def _is_line(trace: Any) -> bool:
    return "lines" in (trace.mode or "")


def _each(stated: Any, n: int, default: float) -> list[float]:
    """One number a point, whether a trace states one for all, one for each or none."""
    if stated is None:
        return [default] * n
    return [float(v) for v in stated] if isinstance(stated, (list, tuple, np.ndarray)) else [float(stated)] * n


def _colours(stated: Any, n: int) -> list[str]:
    """One colour a point; numbers on a scale are drawn in grey, until Plotly draws the scale."""
    return [html.escape(stated) if isinstance(stated, str) else GREY] * n


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, opacity: float = 1.0) -> str:
    places = f'x1="{x1:.2f}%" y1="{y1:.2f}%" x2="{x2:.2f}%" y2="{y2:.2f}%"'
    return f'<line {places} stroke="{html.escape(colour)}" stroke-width="{width:g}" opacity="{opacity:g}"/>'


def _up(share: float) -> float:
    """Percent from the top of a share of the y axis."""
    return BOTTOM - (BOTTOM - TOP) * share


def _text(value: str) -> str:
    """Plotly's text as that of an SVG: escaped once, not twice."""
    return html.escape(html.unescape(value), quote=False)
