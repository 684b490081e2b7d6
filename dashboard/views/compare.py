"""Two to four students side by side: what differs, who is best at what, their blocks and how they learned."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from autokd.dashboard.analysis import comparison, evidence, students
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.about_students import confirm_command, trained
from autokd.dashboard.components.choices import QUIET
from autokd.dashboard.source import View
from autokd.figures import blocks_figure, canvas, curves_figure
from autokd.storage.results import Member

FEWEST, MOST = 2, 4
SHADE = "background-color: rgba(230, 159, 0, 0.18)"  # lets a light and a dark page through


def page(view: View) -> None:
    """Draw it."""
    measured = view.measured()
    if len(measured) < FEWEST:
        st.info(f"There are {len(measured)} measured students that meet every constraint; it takes two to compare\\.")
        return
    numbers = choose(view, measured)
    if len(numbers) < FEWEST:
        st.info("Choose at least two students\\.")
        return
    members = [view.member(n) for n in numbers]
    measurements(view, members)
    parameters(view, members)
    architectures(view, members)
    curves(view, members)


def choose(view: View, measured: pd.DataFrame) -> list[int]:
    """Which students; at first the front's fastest, its knee and its most accurate."""
    front = view.front()
    known = set(measured["number"])
    asked = [n for n in view.compared if n in known][:MOST]
    now = asked or students.suggested(front, measured, view.objectives)
    numbers = students.offered(measured, front, now)
    shown = students.lines(measured, front, numbers, view.objectives)
    key = f"beside {view.name} {view.profile or ''}"
    if key not in st.session_state or set(asked) - set(st.session_state[key]):
        st.session_state[key] = now  # the first time, or chosen on another page
    st.session_state[key] = [n for n in st.session_state[key] if n in known]
    chosen: list[int] = st.multiselect(
        "Students", numbers, key=key, format_func=lambda n: shown.get(n, f"trial {n}"), max_selections=MOST,
        on_change=lambda: view.compare(st.session_state[key]), help="Two to four. Type to search.",
    )  # fmt: skip
    if chosen and not view.compared:
        st.caption("Shown are the front's cheapest, its best compromise and its best; choose others above\\.")
    return chosen


def measurements(view: View, members: Sequence[Member]) -> None:
    st.subheader("Measurements")
    frame = comparison.measurements(members, view.objectives)
    st.dataframe(
        bold(frame), hide_index=True, height="content", alt="Measurements of the students, the best of each row marked"
    )
    st.caption(
        f"{comparison.BEST} the best of its row; {comparison.EVEN} cannot be told from it: their spreads overlap\\. "
        "Quality on the validation split unless the row says otherwise\\."
    )
    without = [str(m.number) for m in members if not m.confirmed]
    if without and len(without) < len(members):
        st.caption(plain(f"The test split was not read for trial {', '.join(without)}."))
    elif without:
        st.caption("The test split was not read for any of them\\. In a terminal, for the whole front:")
        st.code(confirm_command(view), language="bash")


def bold(frame: pd.DataFrame) -> Styler:
    """The best of each row stands out."""
    return frame.style.map(lambda v: f"font-weight: bold; {SHADE}" if str(v).endswith(comparison.BEST) else "")


def parameters(view: View, members: Sequence[Member]) -> None:
    st.subheader("Parameters")
    frame = comparison.params(members, view.lineage)
    if not len(frame):
        st.info("The ledger names no parameters of these students\\.")
        return
    differ = int((frame[""] == comparison.DIFFERS).sum())
    st.dataframe(
        shaded(frame),
        column_config={"": st.column_config.TextColumn(width=30)},
        hide_index=True,
        height="content",
        alt="Parameters of the students, differing rows first",
    )
    if differ:
        st.caption(
            f"{comparison.DIFFERS} {differ} of {len(frame)} parameters differ; – means that a student has no such one\\."
        )
    else:
        st.caption("All parameters are the same\\.")


def shaded(frame: pd.DataFrame) -> Styler:
    """Rows that differ stand out."""
    return frame.style.apply(lambda row: [SHADE if row[""] == comparison.DIFFERS else ""] * len(row), axis=1)


def architectures(view: View, members: Sequence[Member]) -> None:
    """Every student's blocks on one scale."""
    st.subheader("Architecture")
    nets = {m.number: evidence.blocks(view.folder(m.number)) for m in members}
    shared = canvas(nets.values())
    for number, net in nets.items():
        if not net:
            st.info(f"Trial {number}: its folder does not say what it is made of\\.")
            continue
        st.markdown(f"Trial {number}")
        st.plotly_chart(
            blocks_figure(net, shared), key=f"blocks {view.name} {number}", config=QUIET,
            alt=f"The blocks of trial {number}: " + ", ".join(f"{b.kind} {b.outputs}" for b in net),
        )  # fmt: skip
    if any(nets.values()):
        st.caption(
            "On one scale: wide as the square root of a block's channels, high as its output's side\\. "
            "Below each box: name, output channels, output size; ÷2 is a stride\\."
        )


def curves(view: View, members: Sequence[Member]) -> None:
    """How they learned, in one picture."""
    st.subheader("How they learned")
    found = [trained(view, m) for m in members]
    missing = [t.name for t in found if not t.distill and not t.tuning]
    if missing:
        st.info(plain(f"No learning curve is in the folder of {', '.join(missing)}."))
    if len(missing) == len(found):
        return
    st.plotly_chart(
        curves_figure(found, view.teacher.get("accuracy"), loss=False), key=f"curves {view.name}", config=QUIET,
        alt="Validation accuracy of the students over the training samples seen",
    )  # fmt: skip
    st.caption(
        "Lines: the models in training, on a part of the validation split; dashed: tuning after pruning\\. "
        "Stars: the exported files, on the whole split, with their standard errors\\."
    )
