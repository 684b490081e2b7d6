"""The page of one study: how far it is, its front, and a student to take home. Run by ``autokd dashboard``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from autokd.dashboard import reading
from autokd.dashboard.reading import plain
from autokd.errors import UserError
from autokd.figures import GREY, axes, front_figure, members_frame
from autokd.ledger import shown_url, storage_url
from autokd.objectives import Objective
from autokd.results import Member, choose, front, objectives_on
from autokd.study import Study
from autokd.tables import number

REFRESH_S = 3.0


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="autokd", layout="wide")
    url = storage_url(os.environ.get("AUTOKD_DASHBOARD_STORAGE") or None)
    with in_words():
        if not reading.ledger_there(url):
            st.title("autokd")
            st.info(f"No study yet: {plain(shown_url(url))} is not there\\. Start one and reload this page:")
            st.code("autokd init study.yaml\nautokd search study.yaml", language="bash")
            return
        begun = reading.studies(url)
        names = list(begun)
        wanted = os.environ.get("AUTOKD_DASHBOARD_STUDY") or None
        if not names:
            st.title("autokd")
            st.info(f"No study yet in {plain(shown_url(url))}\\. Start one and reload this page:")
            st.code("autokd init study.yaml\nautokd search study.yaml", language="bash")
            return
        if wanted is not None and wanted not in names:
            st.warning(
                f"There is no study {plain(repr(wanted))} in {plain(shown_url(url))}\\. Choose one of those there are\\."
            )
            wanted = None
        if "study" not in st.session_state:
            st.session_state["study"] = wanted or reading.newest_with_front(url, names)
        if st.session_state["study"] not in names:  # deleted meanwhile
            st.session_state["study"] = names[0]
        name = st.sidebar.selectbox("Study", names, key="study")
        study = opened(url, name, reading.identity(url, begun[name]))
        reading.refresh(study)
        live = reading.is_live(study)
        st.title(plain(name))
        st.fragment(study_page, run_every=REFRESH_S if live else None)(study, live)


@contextmanager
def in_words() -> Iterator[None]:
    """An error as a sentence on the page, never as a traceback."""
    try:
        yield
    except UserError as error:
        st.error(plain(error))
    except Exception as error:  # a page must not show a traceback, whatever a ledger holds
        opened.clear()  # a study that was deleted and made anew has another identity in the database
        first = (str(error).splitlines() or [""])[0]
        st.error(
            f"This study could not be shown: {plain(f'{type(error).__name__}: {first}')}\\. Reload the page to try again\\."
        )


@st.cache_resource(show_spinner="Reading the ledger", max_entries=16)
def opened(url: str, name: str, identity: str) -> Study:
    """A study, kept open: finished trials are then read from the database once only."""
    return Study.open(name, url)


def study_page(study: Study, was_live: bool) -> None:
    """Everything that changes while a study runs."""
    with in_words():
        reading.refresh(study)
        if was_live and not reading.is_live(study):
            st.rerun()  # the whole page once more, now without a clock
        progress(study)
        heading, left, right = st.columns([3, 1, 1], vertical_alignment="bottom")
        heading.subheader("Pareto front")
        profile = choose_profile(study, left)
        objectives = objectives_on(study.plan, profile)
        members = study.members(profile)
        best = front(members, objectives)
        if not members:
            st.info(nothing_yet(study))
            return
        choose_first(study, members, objectives)
        frame = members_frame(members)
        ways = reading.colours(frame, objectives)
        way = right.selectbox("Colour by", list(ways), key=f"colour {study.name}")
        picture(study, frame, objectives, profile, ways[way])
        table(study, best, objectives)
        student(study, members, best)


def progress(study: Study) -> None:
    """State, counts, hypervolume and budget."""
    facts = study.status()
    budget, outcomes = facts["budget"], facts["outcomes"]
    state, _, reason = str(facts["state"]).partition(": ")
    of = f" of {budget['trials']}" if "trials" in budget else ""
    cells: list[tuple[str, str, str]] = [
        ("State", state, "As the driver last wrote it into the ledger."),
        ("Trials trained", f"{facts['counted']}{of}", "Trials that began training; rejected ones do not count."),
        (
            "On the front",
            f"{facts['front']} of {outcomes['measured']}",
            "Of the measured students, on the validation split.",
        ),
        ("Hypervolume", "–" if facts["hypervolume"] is None else f"{facts['hypervolume']:.3f}", volume_help(study)),
        ("Time searching", clock(facts["wall_s"], budget.get("wall_s")), "Seconds on the clock, teacher not counted."),
        ("CPU in trials", clock(facts["cpu_s"], budget.get("cpu_s")), "CPU seconds of all trials."),
    ]
    for place, (name, value, note) in zip(st.columns([1.4] + [1] * (len(cells) - 1)), cells, strict=True):
        place.metric(name, plain(value), help=plain(note))
    shares = [
        done / budget[key]
        for key, done in (("trials", facts["counted"]), ("wall_s", facts["wall_s"]), ("cpu_s", facts["cpu_s"]))
        if budget.get(key)
    ]
    if shares and reading.is_live(study):
        st.progress(min(1.0, max(shares)), text=f"{min(1.0, max(shares)):.0%} of the budget")
    notes = [f"{n} {o}" for o, n in outcomes.items() if n]
    notes += [f"trial {r['number']}: {r.get('stage', 'starting')}{share(r)}" for r in facts["running"]]
    if reason:
        notes.insert(0, reason)
    if notes:
        st.caption(plain(" · ".join(notes)))
    if reading.driver_silent(study):
        st.warning("The search says that it runs, but nothing was heard of it for two minutes\\. Go on with it:")
        st.code(f"autokd resume {shlex.quote(study.name)}", language="bash")


def volume_help(study: Study) -> str:
    point = study.reference_point
    if point is None:
        return "Known once the teacher was measured."
    over = ", ".join(f"{o.name} {v:.4g}" for o, v in zip(study.plan.objectives, point, strict=False))
    return f"What the front dominates over the reference point ({over}); costs in natural logarithm."


def clock(spent: float, budget: float | None) -> str:
    of = f" of {budget:.0f}" if budget else ""
    return f"{spent:.0f}{of} s"


def share(running: dict[str, Any]) -> str:
    return f" {running['samples'] / running['of']:.0%}" if running.get("of") and running.get("samples") else ""


def nothing_yet(study: Study) -> str:
    state = str(study.ledger.attr("autokd:state"))
    if state == "preparing":
        return "No measured student yet: data and teacher are being prepared\\."
    if state == "searching":
        return "No measured student yet: the first ones are being trained\\. They appear here by themselves\\."
    what = plain(f"autokd status {shlex.quote(study.name)}")
    return f"No measured student that meets every constraint\\. {what} says what happened to the trials\\."


def choose_profile(study: Study, place: DeltaGenerator) -> str | None:
    names = [p.name for p in study.plan.profiles]
    if len(names) < 2 or not any(o.profile for o in study.plan.objectives):
        return None
    stated = next(o.profile for o in study.plan.objectives if o.profile)
    chosen: str = place.selectbox("Device", names, index=names.index(stated or names[0]), key=f"profile {study.name}")
    # the study's own objectives may name several devices: only another choice moves them
    return None if chosen == stated else chosen


def picture(
    study: Study, frame: pd.DataFrame, objectives: Sequence[Objective], profile: str | None, colour: str | None
) -> None:
    """The front; clicking a point chooses its student."""
    _, teacher = reading.teacher_of(study)
    reference = study.reference_point if profile is None else None
    figure = front_figure(frame, objectives, reference, teacher, colour)
    chosen = frame[frame["number"] == st.session_state[f"student {study.name}"]]
    x, y = axes(objectives)
    ring = {"symbol": "circle-open", "size": 20, "color": GREY, "line": {"width": 2}}
    figure.add_scatter(
        x=chosen[x.name], y=chosen[y.name], mode="markers", marker=ring, name="chosen", hoverinfo="skip",
        unselected={"marker": {"opacity": 1.0}},
    )  # fmt: skip
    key = f"figure {study.name}"

    def clicked() -> None:
        points = st.session_state[key].selection.points
        if points and points[0].get("customdata"):
            remember(study, int(points[0]["customdata"][0]))

    st.plotly_chart(
        figure, key=key, on_select=clicked, selection_mode="points", height=460, config={"displaylogo": False},
        alt="Every measured student by cost and quality; the table below holds the front's numbers",
    )  # fmt: skip
    st.caption(
        "Quality on the validation split, bars are the spread\\. Choose a student by clicking on a point or a row\\."
    )


def table(study: Study, best: Sequence[Member], objectives: Sequence[Objective]) -> None:
    """The front's numbers; choosing a row chooses its student."""
    frame = reading.front_table(best, objectives)
    # a row chosen in a table that has changed since would be another student
    key = f"table {study.name} {[m.number for m in best]}"

    def chosen() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            remember(study, best[rows[0]].number)

    st.dataframe(
        frame, key=key, hide_index=True, on_select=chosen, selection_mode="single-row", height="content",
        column_config=formats(frame), alt="The students of the front",
    )  # fmt: skip


def formats(frame: pd.DataFrame) -> dict[str, Any]:
    """Significant digits: four of a value, two of a spread."""
    columns = [str(c) for c in frame.select_dtypes("float").columns]
    return {c: st.column_config.NumberColumn(format="%.2g" if "±" in c else "%.4g") for c in columns}


def remember(study: Study, chosen: int) -> None:
    st.session_state[f"student {study.name}"] = chosen


def choose_first(study: Study, members: Sequence[Member], objectives: Sequence[Objective]) -> None:
    """The best compromise, as long as nobody chose a student that is still there."""
    key = f"student {study.name}"
    if st.session_state.get(key) not in {m.number for m in members}:
        st.session_state[key] = choose(members, objectives).number


def student(study: Study, members: Sequence[Member], best: Sequence[Member]) -> None:
    """The chosen student: its facts, its file and its receipt."""
    st.subheader("Student")
    on_front = {m.number for m in best}
    known = {m.number: m for m in [*best, *(m for m in members if m.number not in on_front)]}
    key = f"student {study.name}"

    def line(n: int) -> str:
        measured = {m.name: m for m in known[n].record.measurements}
        values = ", ".join(number(measured[v].value, measured[v].unit) for v in known[n].values)
        return f"trial {n}: {values}" + ("" if n in on_front else " (not on the front)")

    chosen = known[st.selectbox("Student", list(known), format_func=line, key=key, label_visibility="collapsed")]
    left, right = st.columns(2)
    left.dataframe(reading.facts_table(chosen), hide_index=True, height="content", alt="Measurements of the student")
    right.dataframe(
        reading.params_table(chosen.params), hide_index=True, height="content", alt="Parameters of the student"
    )
    try:
        found = packed(study, chosen)
    except UserError as error:
        st.error(plain(error))
        return
    one, two, _ = st.columns([2, 2, 5])
    one.download_button(
        "Download the ONNX file", found.model, found.name, "application/octet-stream", type="primary", on_click="ignore"
    )
    two.download_button(
        "Download its receipt", found.receipt, found.receipt_name, "application/json", on_click="ignore"
    )
    st.caption("It runs with onnxruntime and numpy alone:")
    st.code(reading.snippet(found), language="python")


def packed(study: Study, member: Member) -> reading.Download:
    """The download of a student, made again only when student or file changed: the page is drawn every few seconds."""
    identity = reading.download_identity(study, member)
    kept = st.session_state.get("packed")
    if kept is None or kept[0] != identity:
        kept = (identity, reading.download(study, member))
        st.session_state["packed"] = kept
    found: reading.Download = kept[1]
    return found


if __name__ == "__main__":
    main()
