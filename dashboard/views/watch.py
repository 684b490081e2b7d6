"""The page of a running search: how far it is, what runs, how the front grows, and what was not spent."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import progress
from autokd.dashboard.analysis.progress import Spent
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.commands.launch import for_a_shell
from autokd.dashboard.components.choices import QUIET, clickable
from autokd.dashboard.components.controls import controls
from autokd.dashboard.components.watch_ladders import ladders
from autokd.dashboard.source import View, url
from autokd.figures import (
    CLOCKS,
    History,
    front_history,
    hypervolume_figure,
    newest_figure,
    outcomes_figure,
    volume_unit,
)
from autokd.formatting import span
from autokd.storage.attributes import SPENT_KEY, WALL_KEY
from autokd.strategies.monitors import gate_frame, watch_frame
from autokd.strategies.proxy import ProxyGate

LIVE = True
NEWEST = 5
"""Improvements of the front that are marked."""
AROUND = 300
"""Measured students that are drawn beside the front: the newest ones. A refresh must stay cheap."""
FAILURES = 5
MOST_RUNNING = 50


def page(view: View) -> None:
    """Draw it."""
    frame, now = view.frame, time.time()
    running = view.reader.running
    stated = float(view.reader.attrs.get(WALL_KEY) or 0.0)
    wall = progress.wall_seconds(stated, frame, running, view.live, now)
    everything = float(view.reader.attrs.get(SPENT_KEY) or 0.0)
    spent = progress.budget(view.plan.config.budget, frame, wall, everything)
    found = kept_history(view, view.plan.objectives, view.reference)
    numbers(view, spent, found, wall)
    how_far(view, spent)
    outlook(view)
    controls(view)
    if not view.live:
        how_to_go_on(view, spent)
    if not len(frame) and not running:
        return
    left, right = st.columns([2, 3])
    with left:
        outcomes(view)
    with right:
        at_work(view, now)
    if len(frame):
        growth(view, found)
        ladders(view)
        saved(frame)
        failures(view, now)


# -------------------------------------------------------------------------------------------------------- how far it is


def numbers(view: View, spent: Sequence[Spent], found: History, wall: float) -> None:
    """The figures that one looks for first."""
    state = view.state.partition(": ")[0]
    trials = next((s for s in spent if s.unit == "trials"), None)
    counted = int(trials.done) if trials else int(progress.counted(view.frame).sum())
    volume = "–" if found.volume is None else f"{found.volume:.4g}"
    of = f" of {trials.of:,.0f}" if trials else ""
    cells = [
        ("State", state, "As the driver last wrote it into the ledger."),
        (f"Trials{of}", f"{counted:,}", "That began training: a candidate that is refused before costs no budget."),
        (
            f"Front of {len(view.measured()):,}",
            f"{len(view.front()):,}",
            "Students that no other measured one dominates.",
        ),
        ("Hypervolume", volume, volume_help(view)),
        ("Time searched", span(wall), "On the clock; the teacher's preparation and pauses are not counted."),
        ("CPU in trials", span(found.cpu_s), "CPU time of all trials on all cores."),
    ]
    for place, (name, value, note) in zip(st.columns([1.3, 1.2, 1, 1, 1, 1]), cells, strict=True):
        place.metric(plain(name), plain(value), help=plain(note))


def volume_help(view: View) -> str:
    point = view.reference
    if point is None:
        return "Known once the teacher was measured."
    over = ", ".join(f"{o.name} {v:.4g}" for o, v in zip(view.plan.objectives, point, strict=False))
    unit = volume_unit(view.plan.objectives)
    return f"What the front dominates over the reference point ({over}), in {unit}. It only grows."


def how_far(view: View, spent: Sequence[Spent]) -> None:
    """The limit of the budget that is nearest, and the time until then at the pace of the last trials."""
    if not spent:
        st.caption("No limit is set: the search goes on until it is stopped\\.")
    else:
        nearest = max(spent, key=lambda s: s.share)
        text = f"{nearest.share:.0%} of the budget: " + ", ".join(map(str, spent))
        if view.live and nearest.share < 1:
            left = progress.seconds_left(spent, view.frame)
            text += "" if left is None else f"; about {span(left)} left"
        st.progress(nearest.share, text=plain(text))
    reason = view.state.partition(": ")[2]
    if reason:
        st.caption(plain(f"It ended: {reason}."))


def outlook(view: View) -> None:
    """What ten more minutes of search would bring, and whether the free proxy ranks what is trained."""
    if view.reference is None or not view.frame["outcome"].eq("measured").any():
        return
    goals, reference = view.plan.objectives, tuple(view.reference)
    gain = view.once(("gain", goals, reference), lambda: watch_frame(goals, reference, view.frame).expected())
    gate: ProxyGate = view.once(("proxy", goals), lambda: gate_frame(goals, view.frame))
    until = view.plan.config.budget.until
    ends = f" The search ends by itself when: {until}." if until and view.live else ""
    text = str(gain)
    st.caption(
        plain(f"{text[0].upper()}{text[1:]}.{ends}"),
        help=plain(
            f"At the pace of the newest students, if searching goes on as it did. In brackets: {gain.level:.0%} of such "
            "stretches bring a gain in this range. Relative to the hypervolume now."
        ),
    )
    st.caption(
        plain(f"Free proxy {gate}."),
        help=plain(
            "What can be known of a candidate before training, against what it reached: rank correlation (Spearman) with its 90 % "
            f"interval. It counts as informative while the interval's lower end is above {gate.threshold:g}."
        ),
    )


def how_to_go_on(view: View, spent: Sequence[Spent]) -> None:
    """What to type when nothing runs; the page's frame says it where the driver fell silent."""
    if view.silent:
        return
    if view.state.startswith("finished"):
        more = progress.more_budget(spent)
        if not more and view.plan.config.budget.until and "gain <" in view.state:
            more = "--set budget.until=null"
        if more:
            st.caption("Nothing runs\\. To search on, raise the budget:")
            st.code(f"{for_a_shell('resume', view.name, url())} {more}", language="bash")
        return
    st.info("Nothing runs now\\. What was finished is kept, and the search goes on where it was:")
    st.code(for_a_shell("resume", view.name, url()), language="bash")


# ------------------------------------------------------------------------------------------------------- what happens


def outcomes(view: View) -> None:
    """Finished trials by the way in which they ended."""
    st.subheader("Trials by outcome")
    counts = progress.outcomes(view.frame)
    if not counts:
        st.caption("No trial has ended yet\\.")
        return
    st.plotly_chart(
        outcomes_figure(counts), key=f"outcomes {view.name}", height=60 + 34 * len(counts),
        config={"displayModeBar": False}, alt=", ".join(f"{n} {name}" for name, n in counts.items()),
    )  # fmt: skip


def at_work(view: View, now: float) -> None:
    """What is evaluated at this moment, and how far each trial is."""
    st.subheader("Running now")
    running = view.reader.running
    if not view.live:
        text = "Nothing is running\\."
        if running:
            text = f"{len(running)} unfinished when the search ended: they are queued again when it goes on\\."
        st.caption(text)
        return
    if not running:
        preparing = view.state == "preparing"
        st.caption("Data and teacher are being prepared\\." if preparing else "The next candidates are being chosen\\.")
        return
    table = progress.running_table(running[:MOST_RUNNING], view.folder, now, view.lineage)
    st.dataframe(
        table.assign(done=(100 * table["done"]).round()),
        hide_index=True, key=f"running {view.name}", height="content", alt="Trials that are running now",
        column_config={
            "done": st.column_config.ProgressColumn("stage done", format="%d %%", min_value=0, max_value=100)
        },
    )  # fmt: skip
    if len(running) > MOST_RUNNING:
        st.caption(f"{len(running) - MOST_RUNNING} more are running\\.")


# ------------------------------------------------------------------------------------------------- how the front grows


def growth(view: View, found: History) -> None:
    """The hypervolume over time, and the newest students of the front."""
    left, right = st.columns(2)
    with left:
        title, clock = st.columns([1, 1], vertical_alignment="bottom")
        title.subheader("Hypervolume")
        way = clock.segmented_control(
            "Over", list(CLOCKS), format_func=lambda c: {"search_s": "time", "cpu_s": "CPU time"}[c], default="search_s",
            required=True, key=f"clock {view.name}", persist_state="session", label_visibility="collapsed",
        )  # fmt: skip
        if found.volume is None:
            st.caption(nothing_yet(view))
        else:
            st.plotly_chart(
                hypervolume_figure(found, view.plan.objectives, way or "search_s"), key=f"volume {view.name}", height=360,
                config=QUIET, alt="Hypervolume of the front over the time that was searched",
            )  # fmt: skip
            st.caption(plain(f"Each point is a trial that moved the front. {volume_help(view)}"))
    with right:
        st.subheader("Newest on the front")
        newest(view, found)


def nothing_yet(view: View) -> str:
    if view.reference is None:
        return "Known once the teacher was measured: it sets the reference point\\."
    return "No student was measured yet that meets every constraint\\."


def newest(view: View, found: History) -> None:
    """The front with what joined it last; a click chooses the student."""
    goals = view.objectives
    joined = found if goals == view.plan.objectives else kept_history(view, goals, None)
    if not len(joined.steps):
        st.caption("No student was measured yet that meets every constraint\\.")
        return
    latest = joined.steps.tail(NEWEST)
    front = view.front(goals)
    around = view.measured(goals).tail(AROUND)
    rows = pd.concat([front, around, view.frame[view.frame["number"].isin(latest["number"])]])
    rows = rows.drop_duplicates("number").sort_values("number")
    figure = newest_figure(rows, goals, [int(n) for n in latest["number"]], view.teacher)
    alt = "The front; the students that joined it last are ringed and carry their trial's number"
    clickable(view, figure, f"newest {view.name}", 360, alt)
    last = latest.iloc[-1]
    trial, ago = int(last["number"]), max(0.0, joined.search_s - float(last["search_s"]))
    since = int((view.frame["ended"].astype(float) > ended(view, trial)).sum())
    text = f"Trial {trial} moved the front last; {since:,} trials ended since, in {span(ago)} of search."
    st.caption(plain(text if since else f"Trial {trial}, the newest, moved the front."))
    if view.chosen is not None:
        st.page_link(st.session_state["pages"]["student"], label=f"Look at the chosen student, trial {view.chosen}")


def ended(view: View, number: int) -> float:
    """When a trial ended, in seconds since the epoch."""
    return float(view.frame.loc[view.frame["number"] == number, "ended"].iloc[0])


def kept_history(view: View, goals: Sequence[Objective], reference: Sequence[float] | None) -> History:
    """The history, computed once for every trial that is finished."""
    point = None if reference is None else tuple(reference)
    return view.once(("history", tuple(goals), point), lambda: front_history(view.frame, goals, point))


# -------------------------------------------------------------------------------------------- what it spared, what broke


def saved(frame: pd.DataFrame) -> None:
    """CPU time that was not spent, and how it is estimated."""
    st.subheader("What was not spent")
    spared = progress.saved(frame)
    if not (spared.rejected or spared.reused or spared.stopped):
        st.caption(
            "Nothing yet: no candidate was refused before training, reused a stage of another, or was stopped early\\."
        )
        return
    typical = "" if spared.train_cpu_s is None else f" times {span(spared.train_cpu_s)}, the median of a trained trial"
    cells = [
        (
            "By early rejection", spared.rejected, spared.rejected_cpu_s, "candidates refused before training",
            f"{spared.rejected:,} candidates broke a constraint before any training{typical}.",
        ),
        (
            "By the store of stages", spared.reused, spared.reused_cpu_s, "trials reused stages",
            f"What the stages had cost that {spared.reused:,} trials found in the store.",
        ),
        (
            "By early stopping", spared.stopped, spared.stopped_cpu_s, "trials stopped early",
            "What trials that were ended early did not train, by the median of a trained trial.",
        ),
    ]  # fmt: skip
    for place, (name, times, seconds, what, note) in zip(st.columns(3), cells, strict=True):
        value = "–" if seconds is None or not times else f"{span(seconds)} of CPU"
        about = "" if name == "By the store of stages" or value == "–" else "about "
        place.metric(name, plain(about + value), delta=plain(f"{times:,} {what}"), delta_color="off", delta_arrow="off",
                     help=plain(note))  # fmt: skip


def failures(view: View, now: float) -> None:
    """The newest failures with stage and cause."""
    rows = progress.newest_failures(view.frame, FAILURES)
    if not len(rows):
        return
    st.subheader("Newest failures")
    records = [view.reader.record(int(n)) for n in rows["number"]]
    table = pd.DataFrame(
        {
            "trial": rows["number"].astype(int),
            "when": [f"{span(max(0.0, now - float(e)))} ago" if e == e else "" for e in rows["ended"].astype(float)],
            "stage": rows["failed_stage"],
            "cause": rows["cause"],
            "what it said": [(r.detail or "") if r is not None else "" for r in records],
        }
    )
    st.dataframe(
        table, hide_index=True, key=f"failures {view.name}", height="content", alt="Trials that failed last",
        column_config={"what it said": st.column_config.TextColumn(width="large")},
    )  # fmt: skip
    st.page_link(st.session_state["pages"]["trials"], label="Whole traces are on the page Trials: choose the row")
