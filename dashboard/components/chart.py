"""A Plotly figure in which a person's zoom outlives new points and a click.

``st.plotly_chart`` mounts its chart anew whenever the figure changed, so a running search would throw a person out of the part
of the front he looks at, every three seconds. Here the figure is drawn by a small component of our own (``chart.js``), which
gives new data to the chart that is there (``Plotly.react`` with a constant ``uirevision``). Plotly itself is the one that
Streamlit brings for its charts, or else that of the Python package, both from this server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from streamlit.components.v1 import declare_component

CSS = """
.autokd-chart { width: 100%; }
.autokd-chart:fullscreen { height: 100vh !important; background: var(--st-background-color); }
"""
_draw = st.components.v2.component(
    "autokd_chart", css=CSS, js=Path(__file__).with_name("chart.js").read_text(encoding="utf-8"), isolate_styles=False
)


def chart(
    figure: go.Figure,
    key: str,
    height: int,
    alt: str,
    clicked: Callable[[int], None],
    boxed: Callable[[list[int]], None] | None = None,
) -> None:
    """Draw a figure whose points carry their trial's number in ``customdata[0]``.

    Zoom, hidden legend entries and a drawn box stay as they are until the axes show something else (their titles differ).

    Args:
        figure: Two axes, called x and y.
        key: The widget's, of this figure only.
        height: In pixels.
        alt: What it shows, for those who cannot see it.
        clicked: Told the number of a point that was clicked, before the page is drawn again.
        boxed: Told the numbers inside a drawn box; without it no box can be drawn.
    """

    def on_click() -> None:
        if numbers := _numbers(st.session_state[key].get("clicked")):
            clicked(numbers[0])

    def on_box() -> None:
        if boxed is not None and (numbers := _numbers(st.session_state[key].get("boxed"))):
            boxed(numbers)

    shown = [axis.title.text or "" for axis in (figure.layout.xaxis, figure.layout.yaxis)]
    data = {
        "figure": figure.to_json(), "name": key, "revision": " / ".join([key, *shown]), "height": height, "alt": alt,
        "box": boxed is not None, "scripts": scripts(),
    }  # fmt: skip
    _draw(key=key, data=data, height=height, on_clicked_change=on_click, on_boxed_change=on_box)


def _numbers(told: Any) -> list[int]:
    """What a browser said, as trial numbers; nothing if it is anything else."""
    return [n for n in told if isinstance(n, int)] if isinstance(told, list) else []


@st.cache_resource
def scripts() -> list[str]:
    """Where a browser finds Plotly, relative to Streamlit's own scripts; the first that is there is taken.

    Streamlit's chart, a module that leaves Plotly as ``window.Plotly``, is kept by the browser for ever. The package's own file
    stands in where another version of Streamlit does not.
    """
    folder = Path(st.__file__).parent / "static" / "static" / "js"
    own = declare_component("plotly", path=Path(plotly.__file__).parent / "package_data").name
    return [*sorted(p.name for p in folder.glob("PlotlyChart.*.js")), f"../../component/{own}/plotly.min.js"]
