"""Stop and resume: the buttons of a study that runs or could go on, and what a command says while it starts."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import streamlit as st

from autokd.dashboard import source
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.commands import drivers, launch
from autokd.dashboard.commands.launch import Job
from autokd.dashboard.source import View
from autokd.errors import UserError

PATIENCE_S = 90.0
"""Seconds after which a search that was asked to stop seems not to listen."""


def controls(view: View) -> None:
    """Stop for a study that runs on this machine, resume for one that does not run and may go on."""
    key = f"resuming {view.name}"
    job: Job | None = st.session_state.get(key)
    if view.live:
        st.session_state.pop(key, None)
        _stop(view)
    elif not allowed():
        _command(view)
    elif job is not None and job.running:
        follow(job, "Going on")
    else:
        if job is not None and job.code:
            failed(job)
        elif job is not None and job.last():
            st.info(plain(job.last()))
        _resume(view, key)


def allowed() -> bool:
    """Whether this server may start and stop searches: only when nobody else's machine can ask it to."""
    return launch.only_here(st.get_option("server.address"))


def arrived(job: Job) -> bool:
    """Whether its search is at work: the ledger names its process as the driver."""
    return drivers.driver_pid(source.url(), job.name) == job.process.pid


def follow(job: Job, doing: str) -> None:
    """What a command says, every second until its search is at work or the command ended; then the page anew."""

    def look() -> None:
        if not job.running or arrived(job):
            st.rerun()
        st.info(f"{doing}: {plain(job.last() or 'loading')} \\({job.seconds:.0f} s\\)", icon=":material/hourglass_top:")

    st.fragment(look, run_every=1.0)()


def failed(job: Job) -> None:
    """Why a command ended, and where all that it said is."""
    st.error(plain(job.error()))
    if job.log.is_file():
        with st.expander("Everything that the command said"):
            st.caption(plain(shown(job.log)))
            st.code(job.told()[-20_000:] or "nothing", language=None)


def shown(file: Path) -> str:
    """A path as seen from the folder of the dashboard."""
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)


# ----------------------------------------------------------------------------------------------------------------- stop


def _stop(view: View) -> None:
    driver = view.driver
    if driver.get("host") != socket.gethostname():
        host = plain(driver.get("host") or "another machine")
        st.caption(f"It runs on {host}\\. To stop it, press Ctrl\\-C there; `autokd resume` goes on with it later\\.")
        return
    if not allowed():
        st.caption(
            "To stop it, press Ctrl\\-C where it was started: this dashboard can be reached from other machines\\."
        )
        return
    key = f"stopping {view.name} {driver.get('pid')}"
    asked = st.session_state.get(key)
    if asked is None:
        tip = "As Ctrl-C in its terminal: finished trials are kept, those that are running are tried again on resume."
        if not st.button("Stop", key=f"stop {view.name}", icon=":material/stop_circle:", help=tip):
            return
        try:
            drivers.stop(driver, view.home)
        except UserError as error:
            st.error(plain(error))
            return
        asked = st.session_state[key] = time.time()
    waited = time.time() - asked
    st.info(
        f"Asked to stop {waited:.0f} s ago\\. What is finished is kept; the search can be resumed here\\.",
        icon=":material/hourglass_top:",
    )
    if waited > PATIENCE_S:
        st.warning("It does not answer\\. A terminal can end it; even then finished trials are kept\\.")
        st.code(f"kill {int(driver.get('pid') or 0)}", language="bash")


# --------------------------------------------------------------------------------------------------------------- resume


def _resume(view: View, key: str) -> None:
    finished = view.state.startswith("finished")
    reason = view.state.partition(": ")[2]
    if finished and reason.startswith("all "):
        st.caption(f"{plain(reason.capitalize())}\\: nothing is left to search\\.")
        return
    if finished:
        st.caption("With a larger budget it goes on\\.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        more = _more_budget(view)
        spent = finished and not more
        tip = "Raise a limit first: this one is spent." if spent else "Goes on with what is in the ledger."
        icon = ":material/play_arrow:"
        pressed = st.button("Resume", key=f"resume {view.name}", icon=icon, disabled=spent, help=tip)
    if not pressed:
        return
    try:
        st.session_state[key] = launch.resume(view.name, source.url(), Path.cwd(), more)
    except UserError as error:
        st.error(plain(error))
        return
    st.rerun()


def _more_budget(view: View) -> list[str]:
    """``--set`` texts for the limits that the study has, as far as a person raised them."""
    budget = view.plan.config.budget
    limits = (
        ("trials", "more trials", budget.trials, 1),
        ("wall_s", "more minutes", budget.wall_s, 60),
        ("cpu_s", "more CPU minutes", budget.cpu_s, 60),
    )
    found = []
    for name, label, now, unit in limits:
        if now is None:
            continue
        tip = f"Now {now / unit:g} in all."
        count = st.number_input(
            label, min_value=0, value=0, step=1, key=f"more {name} {view.name}", help=tip, width=200
        )
        if count:
            found.append(f"budget.{name}=+{count * unit}")
    if budget.until is not None:
        tip = f"Now the search ends when: {budget.until}."
        if st.checkbox("whatever gain is expected", key=f"more until {view.name}", help=plain(tip)):
            found.append("budget.until=null")
    return found


def _command(view: View) -> None:
    st.caption("This dashboard can be reached from other machines, so it starts nothing\\. In a terminal:")
    st.code(launch.for_a_shell("resume", view.name, source.url()), language="bash")
