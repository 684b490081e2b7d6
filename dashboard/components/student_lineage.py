"""Part of the page of one student: where its weights come from, and what was cut on the way."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import evidence, ladders
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.choices import clickable
from autokd.dashboard.source import View
from autokd.figures import path_figure


def lineage(view: View, number: int) -> None:
    """The way from the root to a student, every step with what it cost and brought; nothing for one without parent or child."""
    found = view.lineage
    if number not in found:
        return
    st.subheader("Lineage")
    path, children = found.path(number), found.children(number)
    text = f"Trial {number}: {found.origin(number) or 'trained by itself'}."
    if children:
        text += f" From it descend{'s' * (len(children) == 1)} {', '.join(f'trial {n}' for n in children)}."
    st.markdown(plain(text))
    if len(path) < 2:
        return
    goals = list(view.objectives)
    goals += [o for o in (Objective("maximize", "accuracy"),) if o.name not in {g.name for g in goals}]
    widths = {s.number: channels(view, s.number) for s in path}
    steps(view, number, ladders.steps_table(view.frame, found, number, goals, widths))
    if len(view.objectives) > 1:
        picture(view, number, view.measured())


def channels(view: View, number: int) -> str:
    """Output channels of every block of a student, in order: ``16-32-64-10``; empty where its folder does not say."""
    return "-".join(str(b.outputs) for b in evidence.blocks(view.folder(number)) if b.kind != "resize")


def steps(view: View, number: int, table: pd.DataFrame) -> None:
    """The way as a list; choosing a row chooses that ancestor."""
    key = f"lineage of {view.name} {number}"

    def chosen() -> None:
        at = st.session_state[key].selection.rows
        if at:
            view.choose(int(table["trial"].iloc[at[0]]))

    st.dataframe(
        table, key=key, hide_index=True, height="content", on_select=chosen, selection_mode="single-row",
        alt="The student's ancestors from the root to it",
    )  # fmt: skip
    st.caption(
        "Each row goes on with the weights of the one above it; channels are those of every block, in order\\. Choose a row, or "
        "click a point, to look at that ancestor\\."
    )


def picture(view: View, number: int, measured: pd.DataFrame) -> None:
    """The way over the axes of the front."""
    figure = path_figure(measured, view.objectives, view.lineage, number)
    clickable(view, figure, f"path of {view.name} {number}", 300, "The student and its ancestors by cost and quality")
