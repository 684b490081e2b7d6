"""All studies of the ledger; choosing one opens it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autokd.dashboard import source
from autokd.dashboard.analysis import studies_table
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.source import REFRESH_S
from autokd.errors import UserError
from autokd.storage.summaries import StudySummary

OPEN = "open study"
"""The study that the next page opens: its selectbox is not drawn here, so its own key cannot be set."""
CLICKED = "clicked study"


def page(found: Sequence[StudySummary]) -> None:
    """Draw it; again and again while one of them runs."""
    st.title("Studies")
    live = any(s.live for s in found)
    first: list[Sequence[StudySummary]] = [found]  # read already; a refresh reads again

    def body() -> None:
        try:
            now = first.pop() if first else source.summaries()
        except UserError as error:  # a refresh is not inside the frame that says errors in words
            st.error(plain(error))
            return
        if now:
            draw(now)

    st.fragment(body, run_every=2 * REFRESH_S if live else None)()


def draw(found: Sequence[StudySummary]) -> None:
    """The table, and words about those that cannot be opened."""
    names = [s.name for s in found]
    frame = studies_table.table(found)
    frame["progress"] = (100 * frame["progress"]).round()
    running = sum(s.live for s in found)
    text = f"{len(found):,} studies, {running} running" if len(found) != 1 else f"1 study, {running} running"
    st.caption(plain(f"{text}. Choose a row to open its front; a click on a heading sorts."))
    # a row chosen in a table that has changed since would be another study
    key = f"studies {hash(tuple(names))}"

    def chosen() -> None:
        at = st.session_state[key].selection.rows
        if at:
            st.session_state[OPEN] = st.session_state[CLICKED] = names[at[0]]

    st.dataframe(
        frame, key=key, hide_index=True, on_select=chosen, selection_mode="single-row", column_config=config(frame),
        height="content" if len(found) <= 15 else 560, placeholder="–", alt="The studies of the ledger",
    )  # fmt: skip
    strangers = [s.name for s in found if not _readable(json.dumps(dict(s.plan), sort_keys=False))]
    if strangers:
        listed = ", ".join(strangers[:10]) + (" and others" if len(strangers) > 10 else "")
        text = f"Made by another version of autokd, which alone can open them: {listed}."
        st.warning(plain(text))
    if st.session_state.pop(CLICKED, None) is not None:
        st.switch_page(st.session_state["pages"]["front"])


@st.cache_data(show_spinner=False, max_entries=1000)
def _readable(plan: str) -> bool:
    return studies_table.readable(json.loads(plan))


def config(frame: pd.DataFrame) -> dict[str, object]:
    """How the columns are drawn."""
    found: dict[str, object] = {
        "study": st.column_config.TextColumn(pinned=True),
        "progress": st.column_config.ProgressColumn(
            format="%d %%", min_value=0, max_value=100, width="small",
            help="Of the limit that is nearest\\. Trials count that were measured or failed\\.",
        ),
        "budget": st.column_config.TextColumn(help="What ends the search, whichever comes first\\."),
        "measured": st.column_config.NumberColumn(help="Students that were exported and measured\\."),
        "rejected": st.column_config.NumberColumn(help="Infeasible, proposed before, or stopped early\\."),
        "failed": st.column_config.NumberColumn(help="Failed or interrupted trials\\."),
        "begun": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        "searched (min)": st.column_config.NumberColumn(format="%.1f", help="On the clock; pauses are not counted\\."),
    }  # fmt: skip
    best = [c for c in map(str, frame.columns) if c.startswith(studies_table.BEST)]
    note = "Best on its own: one student need not have them all\\."
    return found | {c: st.column_config.NumberColumn(format="%.4g", help=note) for c in best}
