"""What all figures share: colours, labels with unit and device, axes.

Colours are of the palette that colour-blind people tell apart (M. Okabe & K. Ito, "Color Universal Design", 2008,
https://jfly.uni-koeln.de/color/), no background is set, and the greys are readable on white and on black. Whatever a
ledger says is escaped: Plotly reads a little HTML in its labels.
"""

from __future__ import annotations

import html
import math
from numbers import Real
from typing import Any

import plotly.graph_objects as go

from autokd.config.objectives import Objective, metric_of

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "hexagon")
GREY = "#808080"
FAINT = "rgba(128,128,128,0.6)"
LONGEST = 60
"""Characters of one parameter's value in a label."""


def _crowded(small: bool) -> dict[str, str]:
    """Tick labels that would run into each other at the end of a decade, replaced by nothing."""
    found = {}
    for decade in range(-4, 10):
        for digit in (6, 7, 8, 9):
            prefix = next((p for p in ((9, "G"), (6, "M"), (3, "k"), (0, "")) if decade >= p[0]), (0, ""))
            text = f"{digit * 10.0**decade:.3g}" if small else f"{digit * 10.0 ** (decade - prefix[0]):.3g}{prefix[1]}"
            found[text] = " "
    return found


_CROWDED = {True: _crowded(True), False: _crowded(False)}


def label(objective: Objective, with_direction: bool = False) -> str:
    """``latency (ms, cpu_1_thread)``: what is measured, its unit and its device; plain text."""
    metric = metric_of(objective.metric)
    name = objective.metric.removesuffix(f"_{metric.unit}") if metric.unit else objective.metric
    notes = [n for n in ("%" if metric.unit == "ratio" else metric.unit, objective.profile) if n]
    if with_direction:
        notes.append(f"{'higher' if objective.direction == 'maximize' else 'lower'} is better")
    return name.replace("_", " ") + (f" ({', '.join(notes)})" if notes else "")


def plain(value: object) -> str:
    """Text for a Plotly label: shown as it is, never read as HTML, and not without end."""
    text = " ".join(str(value).split())
    return html.escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", quote=False)


def drawable(value: Any, objective: Objective) -> bool:
    if not isinstance(value, Real) or not math.isfinite(value):
        return False
    return float(value) > 0 or objective.scale != "log"


def value_text(objective: Objective, value: float, error: Any = None) -> str:
    ratio = metric_of(objective.metric).unit == "ratio"
    sure = isinstance(error, Real) and math.isfinite(error)
    factor = 100 if ratio else 1
    shown = f"{100 * value:.2f}" if ratio else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{plain(label(objective))}: {shown}" + (f" ± {factor * error:.2g}" if sure else "")


def layout(**more: Any) -> go.Layout:
    """A layout without a background, readable in light and dark; colours live in the template, which a theme replaces."""
    faint = {"gridcolor": "rgba(128,128,128,0.25)", "linecolor": GREY, "zeroline": False, "automargin": True}
    clear = "rgba(0,0,0,0)"
    template = go.layout.Template(
        layout={"paper_bgcolor": clear, "plot_bgcolor": clear, "font": {"color": GREY}, "xaxis": faint, "yaxis": faint}
    )
    base: dict[str, Any] = {
        "template": template,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "margin": {"l": 10, "r": 10, "t": 40, "b": 10},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
    return go.Layout(**(base | more))


def axis(objective: Objective) -> dict[str, Any]:
    """Title, scale and ticks of an axis for an objective."""
    unit = metric_of(objective.metric).unit
    found: dict[str, Any] = {"title": {"text": plain(label(objective, with_direction=True))}}
    if objective.scale == "log":
        found |= {"type": "log", "minor": {"ticks": "outside", "ticklen": 3, "tickcolor": GREY}}
        # a format makes Plotly write every tick in full: 0.02, not a small 2
        found |= {"tickformat": ".3~g" if unit == "ms" else ".3~s", "labelalias": _CROWDED[unit == "ms"]}
    elif unit == "ratio":
        found |= {"tickformat": "~%"}
    return found
