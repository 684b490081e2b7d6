"""Part of the page Watch: the ladders of a study, and what each of them brought."""

from __future__ import annotations

import streamlit as st

from autokd.dashboard.analysis import ladders as tables
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.source import View


def ladders(view: View) -> None:
    """What every root and its descendants cost and brought; nothing for a study without ladders."""
    lineage = view.lineage
    if not lineage.has_ladders:
        return
    st.subheader("Ladders")
    now = [f"trial {r.number} {lineage.named(r.rung)}" for r in view.reader.running if r.rung is not None and view.live]
    text = tables.story(lineage) + (f". Now: {', '.join(now)}" if now else "")
    st.markdown(plain(f"{text}."))
    goals, point, front = view.plan.objectives, view.reference, view.front()["number"].astype(int).tolist()
    table = view.once(
        ("ladders", goals, tuple(point or ()), tuple(front)),
        lambda: tables.worth_table(view.frame, lineage, goals, point, front),
    )
    st.dataframe(
        table, hide_index=True, key=f"ladders {view.name}", height="content", alt="Roots with what their ladders brought",
        column_config={
            "hypervolume gained": st.column_config.NumberColumn(format="%.3f"),
            "CPU time (s)": st.column_config.NumberColumn(format="%.0f"),
            "gain per CPU second": st.column_config.NumberColumn(format="%.3g"),
        },
    )  # fmt: skip
    st.caption(
        plain(
            "A root with all that descends from it. What a rung gains is what it adds to the hypervolume when it comes, so the "
            "first roots gain most; roots race after a part of their training, and the outer search proposes later ones by the "
            "gain per CPU second."
        )
    )
