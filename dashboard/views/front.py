"""The front: every student by two of its measurements, limits that pick one, and the file to take home."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from autokd.config.objectives import Objective, metric_of
from autokd.dashboard.analysis import selection, student_tables, texts
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components import limits
from autokd.dashboard.components.chart import chart
from autokd.dashboard.components.download import download_buttons
from autokd.dashboard.source import View
from autokd.figures import GREY, axes, front_figure, label, still, with_lineage
from autokd.figures.front import MOST
from autokd.formatting import number
from autokd.storage.attributes import CONFIRMED_KEY
from autokd.trial import ERROR

LIVE = True
HEIGHT = 480
"""Of the chart, in pixels."""
SCRIPTS_S = 30.0
"""After so long a browser has Plotly's scripts."""
PICTURE, STILL = "front_picture", "front_still"
"""Keys of containers; Streamlit makes them classes of the page."""
UNTIL_DRAWN = f"""
.st-key-{PICTURE} {{ position: relative; }}
.st-key-{STILL} {{ position: absolute; inset: 0 0 auto 0; height: {HEIGHT}px; z-index: 1; pointer-events: none; }}
.st-key-{STILL} :is(div, img) {{ width: 100% !important; max-width: 100%; height: {HEIGHT}px; }}
.st-key-{PICTURE}:has(.js-plotly-plot .main-svg) .st-key-{STILL} {{ display: none; }}
.st-key-{PICTURE} [data-testid="stSkeleton"] {{ visibility: hidden; }}
"""
"""The image lies where the chart will be, and goes when that is drawn: a rule of style, so no script of ours."""


def page(view: View) -> None:
    """Draw it."""
    st.caption(plain(where_it_stands(view)))
    if not len(view.measured()):
        st.info(nothing_yet(view))
        return
    choosing, moving, saying = st.container(), st.container(), st.container()
    picture = st.container(key=PICTURE)
    # The chart takes the browser longest: on the first visit it is sent ahead of all, afterwards behind what a slider changes.
    first = "drawn" not in st.session_state
    st.session_state["drawn"] = True
    with picture:
        first_picture(view)
    with choosing:
        goals, colour, others = chart_choices(view)
    rows, front = view.measured(goals), view.front(goals)
    if not len(rows):
        st.info("No student was measured on both of these\\. Choose another axis\\.")
        return
    choose_first(view, rows, front, goals)
    if first:
        with picture:
            front_chart(view, rows, goals, colour, others)
    with moving:
        limits.sliders(view, rows, goals)
    saying.markdown(in_words(view, rows, front, goals))
    if not first:
        with picture:
            front_chart(view, rows, goals, colour, others)
    table(view, front, goals)
    hand_over(view)


def where_it_stands(view: View) -> str:
    """State and counts in one line."""
    state, _, reason = view.state.partition(": ")
    measured, front = len(view.measured()), len(view.front())
    parts = [state + (f" ({reason})" if reason else ""), f"{len(view.frame)} trials finished", f"{measured} students"]
    parts += [f"{front} on the front", "quality on the validation split"]
    return " · ".join(parts)


def nothing_yet(view: View) -> str:
    """Why there is no front, and what to do."""
    state = view.state.partition(":")[0]
    if state == "preparing":
        return "No measured student yet: data and teacher are being prepared\\."
    if state == "searching":
        return "No measured student yet: the first ones are being trained\\. They appear here by themselves\\."
    return (
        "No measured student that meets every constraint\\. The pages Why and Trials say what happened to the trials\\."
    )


def chart_choices(view: View) -> tuple[tuple[Objective, ...], str | None, bool]:
    """Axes, colour, and whether rejected trials are shown."""
    stated = view.objectives
    known = selection.choices(view.frame, stated)
    names = [label(o) for o in known]
    x, y = axes(stated)
    one, two, three, four = st.columns([2, 2, 2, 1], vertical_alignment="bottom")
    device = view.profile or ""
    across = known[names.index(one.selectbox("Across", names, index=known.index(x), key=f"x {view.name} {device}"))]
    up = known[names.index(two.selectbox("Up", names, index=known.index(y), key=f"y {view.name} {device}"))]
    ways = colours(view, stated)
    way = three.selectbox("Colour by", list(ways), key=f"colour {view.name}")
    others = four.toggle("Rejected", key=f"rejected {view.name}", help="Also infeasible, stopped and failed trials.")
    if view.lineage.has_ladders:
        four.toggle("Lineage", key=f"lineage {view.name}", help="Arrows from parent to child, coloured by root.")
    if across == up:
        st.info("Both axes show the same\\. The front is that of the study's objectives\\.")
        return stated, ways[way], others
    if {across, up} == {x, y}:
        return stated, ways[way], others  # with three objectives, the front of all three
    return (up, across), ways[way], others


def colours(view: View, objectives: Sequence[Objective]) -> dict[str, str | None]:
    """What points may be coloured by: a name for people to a column of the frame."""
    found: dict[str, str | None] = {"nothing": None}
    frame = view.frame
    wanted = {"bits": "params_bits", "pruned": "pruned", "method": "params_method", "family": "params_family"}
    found |= {shown: column for shown, column in wanted.items() if column in frame.columns}
    blocks = [c for c in frame.columns if str(c).startswith("params_block")]
    found |= {str(c).removeprefix("params_"): str(c) for c in blocks}
    if len(objectives) > 2:
        found |= {label(o): o.name for o in objectives if o.name in frame.columns}
    return found


def choose_first(view: View, rows: pd.DataFrame, front: pd.DataFrame, goals: Sequence[Objective]) -> None:
    """The best compromise, as long as nobody chose a student that is still there."""
    if view.chosen is None or not (rows["number"] == view.chosen).any():
        first = selection.compromise(front, goals)
        if first is not None:
            view.choose(first)


def with_spread(row: pd.Series, goal: Objective) -> str:
    """A value with its spread and its device, for a Markdown text."""
    metric, error, value = metric_of(goal.metric), row.get(goal.name + ERROR), float(row[goal.name])
    relative = metric.relative_spread
    spread = None if error is None or error != error else float(error) / value if relative else float(error)
    where = f" on {plain(goal.profile)}" if goal.profile else ""
    return plain(number(value, metric.unit, spread, relative=relative)) + where


def in_words(view: View, rows: pd.DataFrame, front: pd.DataFrame, goals: Sequence[Objective]) -> str:
    """The chosen student, and what a little more would buy."""
    if not len(limits.inside(view, rows, goals)):
        return "**No student is inside these limits\\.** Loosen one of them; the chosen one stays\\."
    chosen = rows[rows["number"] == view.chosen].iloc[0]
    x, y = axes(goals)
    shown = ", ".join(with_spread(chosen, o) for o in (y, x))
    on_front = bool((front["number"] == view.chosen).any())
    note = "" if on_front else plain(" (not on the front)")
    text = f"**Trial {view.chosen}**: {shown}{note}\\."
    if len(goals) > 2 or x.scale != "log" or y.scale != "linear":
        return text
    cheaper, better = selection.exchanges(front, chosen, y, x)
    unit_x, unit_y = metric_of(x.metric).unit, metric_of(y.metric).unit
    gain = "points" if unit_y == "ratio" else unit_y
    factor = 100.0 if unit_y == "ratio" else 1.0
    if better is not None and better.cost > 0 and better.gain > 0:
        more, gained = number(better.cost, unit_x), factor * better.gain
        text += " " + plain(f"{more} more buys {gained:.2g} {gain} (trial {better.number}).")
    if cheaper is not None and cheaper.cost < 0:
        saved, lost = number(-cheaper.cost, unit_x), -factor * cheaper.gain
        what = f"costs {lost:.2g} {gain}" if lost > 0 else f"gains {-lost:.2g} {gain}" if lost < 0 else "costs nothing"
        text += " " + plain(f"{saved} less {what} (trial {cheaper.number}).")
    return text


# ---------------------------------------------------------------------------------------------------- picture


def first_picture(view: View) -> None:
    """The front as an image, at the place of the chart until the browser has Plotly's scripts and drew it.

    Sent again for a while, because a page may be drawn a second time before the scripts are there; then no longer.
    """
    began = st.session_state.setdefault("first picture", time.monotonic())
    still_at = st.container(key=STILL)  # also when empty: else the chart would change its place, and be drawn anew
    if time.monotonic() - began < SCRIPTS_S:
        with still_at:
            st.html(f"<style>{UNTIL_DRAWN}</style>")
            sent = st.session_state.setdefault("first picture of", {})
            if view.name not in sent:  # the same again: a running study's would be drawn anew at every look
                sent[view.name] = prepare(view)
            st.image(sent[view.name])


def prepare(view: View) -> str:
    """The picture that the first visit shows, as SVG; made once."""
    goals = view.objectives
    return view.once(("still", goals), lambda: still(built(view, view.measured(), goals, None, False)))


def built(view: View, rows: pd.DataFrame, goals: tuple[Objective, ...], colour: str | None, others: bool) -> go.Figure:
    """The chart without what is this session's."""

    def build() -> go.Figure:
        own = goals == view.plan.objectives
        rejected = view.frame[~view.frame["feasible"].astype(bool)] if others else None
        return front_figure(rows, goals, view.reference if own else None, view.teacher, colour, rejected)

    return view.once(("front figure", goals, colour, others, tuple(view.teacher)), build)


def front_chart(view: View, rows: pd.DataFrame, goals: tuple[Objective, ...], colour: str | None, others: bool) -> None:
    """The front; clicking a point chooses its student, a box puts students side by side."""
    figure = go.Figure(built(view, rows, goals, colour, others))  # the ring is this session's
    if st.session_state.get(f"lineage {view.name}") and view.lineage.has_ladders:
        figure = with_lineage(figure, rows, goals, view.lineage)
    chosen = rows[rows["number"] == view.chosen]
    x, y = axes(goals)
    ring = {"symbol": "circle-open", "size": 20, "color": GREY, "line": {"width": 2}}
    figure.add_scatter(
        x=chosen[x.name], y=chosen[y.name], mode="markers", marker=ring, name="chosen", hoverinfo="skip",
        unselected={"marker": {"opacity": 1.0}},
    )  # fmt: skip

    def boxed(numbers: list[int]) -> None:
        best = rows[rows["number"].isin(numbers)]
        if len(best) == 1:
            view.choose(best["number"].iloc[0])
        elif len(best):
            view.compare(best.sort_values(y.name, ascending=y.direction == "minimize")["number"].head(4).tolist())

    alt = "Every measured student by two measurements; the table below holds the front"
    chart(figure, f"figure {view.name}", HEIGHT, alt, clicked=view.choose, boxed=boxed)
    drawn = "" if len(rows) <= MOST else f" Of {len(rows):,} students the front and {MOST:,} others are drawn."
    text = (
        "Bars are the spread. Click a point to choose its student. Drag to zoom, double-click to see all; "
        "with box select (in the bar above) drag a box to compare."
    )
    st.caption(plain(text + drawn))
    if len(view.compared) > 1:
        listed = ", ".join(str(n) for n in view.compared)
        st.page_link(st.session_state["pages"]["compare"], label=f"Compare trials {listed}")


def table(view: View, front: pd.DataFrame, goals: Sequence[Objective]) -> None:
    """The front's numbers; choosing a row chooses its student."""
    frame = student_tables.front_table(front, goals, view.reader.attrs.get(CONFIRMED_KEY) or {}, view.lineage)
    numbers = front["number"].astype(int).tolist()
    key = f"table {view.name} {numbers}"  # a row chosen in a table that has changed since would be another student

    def chosen() -> None:
        at = st.session_state[key].selection.rows
        if at:
            view.choose(numbers[at[0]])

    st.subheader("Pareto front")
    st.dataframe(
        frame, key=key, hide_index=True, on_select=chosen, selection_mode="single-row",
        column_config=texts.formats(frame), alt="The students of the front",
    )  # fmt: skip


def hand_over(view: View) -> None:
    """The chosen student's file, at hand."""
    st.subheader(f"Take trial {view.chosen} home")
    download_buttons(view, int(view.chosen or 0))
    st.page_link(st.session_state["pages"]["student"], label="Look at this student closely")
