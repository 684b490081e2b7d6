"""Every trial in one table: filtered, in order, taken home as CSV; a row tells what became of its candidate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autokd.config.objectives import relative_spread
from autokd.dashboard.analysis import trials_table as tables
from autokd.dashboard.analysis.evidence import traceback_of
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.analysis.trials_table import Column, Filters
from autokd.dashboard.commands.hand_over import file_name
from autokd.dashboard.source import View
from autokd.formatting import number
from autokd.trial import Outcome, TrialRecord

MOST_ROWS = 5000
"""Rows that a browser is sent."""
FEW_ROWS = 12
MOST_TRACE = 20_000
"""Characters of a trace that are shown: its end names the error."""
COLUMNS_AT_FIRST = ("fact", "value", "parameter")


def page(view: View) -> None:
    """Draw it."""
    if not len(view.frame):
        st.info("No trial has ended yet\\. The page Watch shows what runs\\.")
        return
    known = tables.columns(view.frame, view.objectives)
    rows, unknown = tables.keep(view.frame, filters(view))
    for word in unknown:
        st.warning(plain(f"No parameter is asked for by {word!r}: write e.g. bits=8, lr>0.1, or a part of a name."))
    shown, ordered = controls(view, known, rows)
    if not len(rows):
        st.info("No trial meets these filters\\. Loosen one of them\\.")
    else:
        table(view, ordered, shown)
    one(view)


# ------------------------------------------------------------------------------------------------------------- filters


def filters(view: View) -> Filters:
    """The widgets above the table; a range left at both ends asks for nothing, not even for a value."""
    frame, name = view.frame, view.name
    named = {"outcome": tables.outcome_choices(frame)} | tables.choices(frame)
    chosen: dict[str, list[object]] = {}
    places = iter(st.columns(len(named) + 1))
    for source, options in named.items():
        shown = source.removeprefix(tables.PARAM)
        chosen[source] = next(places).multiselect(
            plain(shown), options, format_func=said, key=f"filter {source} {name}", placeholder="all",
            persist_state="session",
        )  # fmt: skip
    words = next(places).text_input(
        "parameters", key=f"words {name}", placeholder="e.g. bits=8 lr>0.1 kd", persist_state="session",
        help=plain("Words that must all fit: name=value, !=, <, <=, >, >=, or a part of a name or a value."),
    )  # fmt: skip
    return Filters(chosen, ranges(view), words or "")


def ranges(view: View) -> dict[str, tuple[float | None, float | None]]:
    """A slider for every objective, in the unit for people; costs in equal ratios, as on the figures' axes."""
    found: dict[str, tuple[float | None, float | None]] = {}
    goals = [o for o in view.objectives if o.name in view.frame.columns]
    for place, goal in zip(st.columns(len(goals)) if goals else [], goals, strict=True):
        c = tables.measurement(goal.name)
        values = view.frame[goal.name].astype(float) * c.factor
        if goal.scale == "log":
            offered = tables.steps(values)
            if not offered:
                continue
            low, high = offered[0], offered[-1]
            key = f"range {goal.name} {low} {high} {view.name}"  # new ends are another slider
            picked = place.select_slider(plain(c.shown), offered, (low, high), key=key, persist_state="session")
        else:
            ends = tables.bounds(values)
            if ends is None:
                continue
            low, high = ends
            key = f"range {goal.name} {low} {high} {view.name}"
            picked = place.slider(
                plain(c.shown), low, high, (low, high), step=(high - low) / 200, format="%.4g", key=key,
                persist_state="session",
            )  # fmt: skip
        found[goal.name] = (
            picked[0] / c.factor if picked[0] > low else None,
            picked[1] / c.factor if picked[1] < high else None,
        )
    return found


def said(value: object) -> str:
    """An option of a filter."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------------------------------------------- table


def controls(view: View, known: Sequence[Column], rows: pd.DataFrame) -> tuple[list[Column], pd.DataFrame]:
    """How many there are, their order, the columns, and the download."""
    order, pick, take = st.columns([2, 1, 1], vertical_alignment="bottom")
    ways = tables.orders(view.objectives)
    way = order.selectbox("Order", list(ways), key=f"order {view.name}", persist_state="session")
    ordered = tables.in_order(rows, *ways[way])
    with pick.popover("Columns", width="stretch"):
        names = [c.shown for c in known]
        first = [c.shown for c in known if c.kind in COLUMNS_AT_FIRST and worth(view.frame, c)]
        key = f"columns {view.name}"
        kept = st.multiselect("Columns", names, first, key=key, persist_state="session", label_visibility="collapsed")
    take.download_button(
        "Download CSV", lambda: tables.csv(ordered), f"{file_name(view.name)}-trials.csv", "text/csv", on_click="ignore",
        key=f"csv {view.name}", icon=":material/download:", width="stretch", disabled=not len(rows),
        help="The filtered trials with all columns, the ledger's names and full precision\\.",
    )  # fmt: skip
    total = f"{len(rows):,} of {len(view.frame):,} trials" if len(rows) < len(view.frame) else f"{len(rows):,} trials"
    cut = f"; the first {MOST_ROWS:,} are shown, the CSV holds all" if len(rows) > MOST_ROWS else ""
    st.markdown(plain(total + cut))  # a line of its own: the table's toolbar covers what is above its right end
    wanted = set(kept) or {"trial"}
    return [c for c in known if c.shown in wanted], ordered


def worth(frame: pd.DataFrame, c: Column) -> bool:
    """Whether a column is shown at first: one that says something, and is no bookkeeping."""
    ladders = "rung" in frame.columns and bool(frame["rung"].notna().any())
    if c.source in ("saved_cpu_s", "begun", "ended", "pruned") or (c.source == "parent" and not ladders):
        return False
    return c.source in ("number", "outcome") or bool(frame[c.source].notna().any())


def table(view: View, rows: pd.DataFrame, shown: Sequence[Column]) -> None:
    """The rows; choosing one tells about it below."""
    rows = rows.iloc[:MOST_ROWS]
    numbers = rows["number"].astype(int).tolist()
    # a row chosen in a table that has changed since would be another trial
    key = f"trials {view.name} {hash(tuple(numbers))}"

    def chosen() -> None:
        at = st.session_state[key].selection.rows
        if not at:
            return
        trial = numbers[at[0]]
        st.session_state[f"trial {view.name}"] = trial
        if view.frame.loc[view.frame["number"] == trial, "outcome"].eq(Outcome.MEASURED).any():
            view.choose(trial)

    config: dict[str, object] = {
        shown: st.column_config.NumberColumn(format=text) for shown, text in tables.formats(shown).items()
    }
    config |= {c.shown: st.column_config.NumberColumn(pinned=True) for c in shown if c.source == "number"}
    st.dataframe(
        tables.for_people(rows, shown), key=key, hide_index=True, on_select=chosen, selection_mode="single-row",
        height="content" if len(rows) <= FEW_ROWS else 460,
        column_config=config, placeholder="–", alt="The trials that meet the filters",
    )  # fmt: skip
    st.caption("Choose a row to see what became of it\\. A click on a heading sorts the rows that are shown\\.")


# ------------------------------------------------------------------------------------------------------------- a trial


def one(view: View) -> None:
    """The trial that was chosen in this table."""
    trial = st.session_state.get(f"trial {view.name}")
    if trial is None or not (view.frame["number"] == trial).any():
        return
    record = view.reader.record(trial)
    st.subheader(f"Trial {trial}")
    if record is None:
        st.warning("Its record is damaged or missing: only its number and its dates are known\\.")
        return
    what_became(view, trial, record)
    with st.expander("Its parameters"):
        pairs = {"parameter": list(record.params), "value": [str(v) for v in record.params.values()]}
        st.dataframe(pd.DataFrame(pairs), hide_index=True, key=f"parameters {view.name}", alt="Its parameters")


def what_became(view: View, trial: int, record: TrialRecord) -> None:
    """How it ended, in words."""
    pages = st.session_state["pages"]
    if record.outcome == Outcome.MEASURED:
        values = {
            m.name: number(m.value, m.unit, m.spread, relative=relative_spread(m.metric)) for m in record.measurements
        }
        text = ", ".join(f"{o.name} {values[o.name]}" for o in view.objectives if o.name in values)
        st.markdown(plain(f"Measured: {text}."))
        broken(record)
        st.page_link(pages["student"], label="Look at this student", icon=":material/school:")
    elif record.outcome == Outcome.INFEASIBLE:
        st.markdown("Refused: it does not meet the constraints\\." if record.violations else "Refused\\.")
        broken(record)
    elif record.outcome == Outcome.FAILED:
        failed(view, trial, record)
    elif record.outcome == Outcome.DUPLICATE:
        st.markdown(plain(f"The same candidate as trial {record.duplicate_of}: it was not evaluated again."))
    elif record.outcome == Outcome.STOPPED:
        share = record.rested_at
        after = "" if share is None else f" after {share:.0%} of its training"
        text = f"Ended early{after}: others that cost no more were better. `autokd finish {view.name} --trial {trial}` goes on."
        st.markdown(plain(text))
    else:
        st.markdown("Interrupted when the search ended: its candidate is queued again\\.")


def broken(record: TrialRecord) -> None:
    """The constraints that it does not meet."""
    for violation in record.violations:
        st.markdown(f"- {plain(violation)}")


def failed(view: View, trial: int, record: TrialRecord) -> None:
    """Where and why it failed, with what the worker said."""
    retried = " Its candidate was queued again." if record.notes.get("retried") else ""
    st.markdown(
        plain(f"Failed in {record.failed_stage or 'an unknown stage'}: {record.cause or 'no cause known'}.{retried}")
    )
    if record.detail:
        st.code(record.detail, language=None, wrap_lines=True)
    trace = traceback_of(view.folder(trial))
    if trace is None:
        st.caption("No trace was left in its folder: a worker that was lost leaves none\\.")
        return
    cut = f", its last {MOST_TRACE:,} characters" if len(trace) > MOST_TRACE else ""
    st.caption(plain(f"The trace{cut}:"))
    st.code(trace[-MOST_TRACE:], language="python", height=400 if trace.count("\n") > 16 else "content")
