"""Recall by class, drawn: the worst classes first, one mark a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from autokd.figures.style import GREY, OKABE_ITO, SYMBOLS, layout, plain
from autokd.storage.by_class import ByClass

MOST = 20
"""Classes that are drawn; of more these many, the worst ones."""


def recalls_figure(splits: Mapping[str, ByClass], classes: Sequence[str], most: int = MOST) -> go.Figure:
    """A row a class, the worst of the first split on top; bars are standard errors of a ratio.

    Args:
        splits: Counts by the split's name, at least one.
        classes: Names, in order.
        most: Classes that are drawn.
    """
    shown = next(iter(splits.values())).order[:most]
    places = list(range(len(shown)))
    figure = go.Figure()
    for hue, (split, found) in enumerate(splits.items()):
        known = [k for k in places if found.of[shown[k]]]
        of = [shown[k] for k in known]
        figure.add_scatter(
            x=[found.recall(c) for c in of], y=known, mode="markers", name=plain(split),
            error_x={
                "type": "data", "array": [found.error(c) for c in of], "color": GREY, "thickness": 1.5, "width": 3,
            },
            marker={"color": OKABE_ITO[hue], "symbol": SYMBOLS[hue], "size": 10}, showlegend=len(splits) > 1,
            customdata=[
                f"{plain(classes[c])}, {plain(split)}: {found.recall(c):.1%}, {found.right[c]:,} of {found.of[c]:,} samples"
                for c in of
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(layout(height=110 + 24 * max(3, len(shown))))
    figure.update_xaxes(title_text="recall (%)", tickformat="~%", range=[-0.02, 1.02])
    figure.update_yaxes(
        title_text="class", tickvals=places, ticktext=[plain(classes[c]) for c in shown], autorange="reversed",
        showgrid=False, fixedrange=True,
    )  # fmt: skip
    return figure
