"""Widgets that several pages share: a choice that stays, a figure in which students are chosen, words when there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from autokd.dashboard.analysis import importance
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.chart import chart
from autokd.dashboard.source import View

QUIET = {"displaylogo": False}


def kept(key: str, options: Sequence[Any]) -> str:
    """A widget's key whose choice is one of ``options`` (first of all the first), and outlives a look at other pages."""
    chosen = st.session_state.get(key)
    st.session_state[key] = chosen if chosen in options else options[0]
    return key


def students(view: View) -> bool:
    """Whether there are measured students; words if not."""
    if len(view.measured()):
        return True
    st.info(
        "No student was measured yet that meets every constraint\\. What was lost says what happened to the trials\\."
    )
    return False


def chosen_freely(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose parameters were chosen, and words about a ladder's rungs, which are left out."""
    free = importance.free_choices(rows)
    if left := len(rows) - len(free):
        st.caption(
            plain(
                f"Of a ladder only the roots were chosen: {len(free):,} here. The {left:,} rungs below them follow from their "
                "parents; their cuts and their inherited training are no parameters, so they are left out."
            )
        )
    return free


def clickable(view: View, figure: Any, key: str, height: int, alt: str) -> None:
    """A figure in which clicking a point chooses its student."""

    chart(figure, key, height, alt, clicked=view.choose)


def figure_with_choice(view: View, figure: Any, key: str, height: int, alt: str) -> None:
    """:func:`clickable`, and a link to the student that is chosen."""
    clickable(view, figure, key, height, alt)
    if view.chosen is not None:
        st.page_link(st.session_state["pages"]["student"], label=f"Look at trial {view.chosen} closely")
