"""Part of the page Why: trials that gave no student, by reason, with what they said at their end."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from autokd.dashboard.analysis import failures
from autokd.dashboard.analysis.evidence import traceback_of
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.source import View
from autokd.formatting import number
from autokd.trial import Outcome

SAMPLE = 20
"""Records that are read to say how far trials are outside a constraint."""
GROUPS = 20
"""Groups of failures that show an example."""
LONGEST = 20_000
"""Characters of a traceback."""


def what_was_lost(view: View) -> None:
    """Trials that gave no student, by reason."""
    counts = view.frame["outcome"].astype(object).fillna("no record").value_counts()
    order = [*(o.value for o in Outcome), "no record"]
    listed = ", ".join(f"{counts[o]} {o}" for o in order if o in counts)
    st.markdown(plain(f"Of {len(view.frame)} finished trials: {listed}."))
    failed(view)
    rejected(view)


def failed(view: View) -> None:
    """Failures by stage and cause, each with an example and its traceback."""
    st.subheader("Failed")
    groups = view.once(("failures",), lambda: failures.failures(view.frame))
    if not len(groups):
        st.markdown("No trial failed\\.")
        return
    st.dataframe(groups, hide_index=True, key=f"failures {view.name}", alt="Failed trials by stage and cause")
    for group in groups.head(GROUPS).itertuples():
        with st.expander(plain(f"{group.stage}: {group.cause} (trial {group.last})")):
            record = view.reader.record(int(group.last))
            said = record.detail if record is not None else None
            st.markdown(plain(said) if said else "Nothing more was recorded\\.")
            trace = traceback_of(view.folder(int(group.last))) or ""
            trace = trace if len(trace) <= LONGEST else "…\n" + trace[-LONGEST:]
            if trace:
                st.code(trace, language=None)
            else:
                st.caption("There is no traceback: error\\.txt is not in the trial's folder\\.")
    if len(groups) > GROUPS:
        st.caption(f"Examples of the {GROUPS} most frequent ones\\.")


def rejected(view: View) -> None:
    """Trials outside a constraint, and how far."""
    st.subheader("Outside a constraint")
    groups = view.once(("rejections",), lambda: failures.rejections(view.frame))
    if not len(groups):
        st.markdown("No trial was outside a constraint\\.")
        return
    shown = view.once(("how far",), lambda: how_far(view, groups))
    st.dataframe(shown, hide_index=True, key=f"rejections {view.name}", alt="Trials outside a constraint, and how far")
    st.caption(
        plain(
            f"By the first constraint that a trial violated. Distances are medians of at most {SAMPLE} trials of each row. "
            "Refused before training costs almost nothing; if nearly all are, loosen the limit or narrow the space."
        )
    )


def how_far(view: View, groups: pd.DataFrame) -> pd.DataFrame:
    """The groups as a table for people, with how far a sample of each is outside."""
    lines = []
    for group in groups.itertuples():
        same = view.frame["violation"] == group.constraint
        mine = view.frame.loc[same, "number"]
        if group.constraint and "began_training" in view.frame.columns:
            began = view.frame.loc[same, "began_training"].fillna(False).astype(bool)
            mine = mine[began != group.before_training]
        some = mine.sample(min(SAMPLE, len(mine)), random_state=0)
        found = failures.outside(group.constraint, (view.reader.record(int(n)) for n in some))
        line = {
            "constraint": group.constraint,
            "refused": "before training" if group.before_training else "when measured",
        }
        line |= {"trials": group.trials, "first": group.first, "last": group.last}
        if found is not None:
            share = f" ({found.share:.0%})" if found.share is not None else ""
            line |= {
                "they had": number(found.value, found.unit),
                "too far by": number(found.amount, found.unit) + share,
            }
            line |= {"at most by": number(found.most, found.unit)}
        lines.append(line)
    return pd.DataFrame(lines)
