"""A form that writes a study file, a pre-flight of it, and a button that searches it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from autokd.config.objectives import metric_of, title
from autokd.config.template import study_template
from autokd.dashboard import source
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.commands import drivers, launch
from autokd.dashboard.commands.launch import Job
from autokd.dashboard.commands.study_file import Checked, check, free_name
from autokd.dashboard.commands.yaml_edit import put, values_of
from autokd.dashboard.components.controls import allowed, arrived, failed, follow
from autokd.dashboard.components.study_form import TEXT, form
from autokd.errors import UserError
from autokd.formatting import number, span

KEPT = "study file"
"""The text while another page is shown: Streamlit forgets what a widget held that is not drawn."""
SEARCH, PREFLIGHT = "start search", "start preflight"


def page() -> None:
    """Draw it."""
    if TEXT not in st.session_state:
        st.session_state[TEXT] = st.session_state.get(KEPT) or study_template()
    st.session_state[KEPT] = st.session_state[TEXT]
    st.title("Start a search")
    if not allowed():
        _only_text()
        return
    _go_there()
    left, right = st.columns(2, gap="large")
    with right:
        tip = "What is checked and run. Paste a whole file, or change it here; the fields follow."
        st.text_area("Study file (YAML)", key=TEXT, height=560, help=tip)
    text = str(st.session_state[TEXT])
    with left:
        _form(text)
    checked = check(text)
    name, taken = "", False
    if checked.config is None:
        _wrong(checked)
    else:
        name, taken = checked.config.name, _taken(checked, text)
    _buttons(text, name, taken)
    _launched()
    _preflight(text)
    if name:
        with st.expander("The same in a terminal"):
            st.code(launch.for_a_shell("search", f"{name}.yaml", source.url()), language="bash")


def _only_text() -> None:
    """A server that others can reach starts nothing: whoever opens the page could run code here."""
    st.info(
        "This dashboard can be reached from other machines, and a study file may name Python code\\. "
        "So nothing is started from here: save the file and run it in a terminal\\.",
        icon=":material/lock:",
    )
    st.text_area("Study file (YAML)", key=TEXT, height=560)
    st.download_button(
        "Save the file", str(st.session_state[TEXT]), "study.yaml", "text/yaml", icon=":material/download:"
    )
    st.code(launch.for_a_shell("search", "study.yaml", source.url()), language="bash")


def _form(text: str) -> None:
    try:
        values = values_of(text)
    except UserError:
        st.info("The fields come back when the text is a YAML mapping again\\.")
        return
    form(values)


# ---------------------------------------------------------------------------------------------------------------- verdict


def _taken(checked: Checked, text: str) -> bool:
    """Whether the name is taken, and by what; else that the file is valid."""
    assert checked.config is not None
    name, folder = checked.config.name, Path.cwd()
    names = drivers.study_names(source.url())
    file = folder / f"{name}.yaml"
    begun: Job | None = st.session_state.get(SEARCH)
    if begun is not None and begun.running and begun.name == name:
        return True  # it is this one
    if name in names:
        why = f"The ledger has a study {plain(repr(name))} already: resume it on its own page, or give this one another name\\."
    elif launch.other_file(file, text):
        why = f"Another file {plain(file.name)} is in this folder\\. It is not overwritten: give this study another name\\."
    else:
        goals = plain(", ".join(o.name for o in checked.objectives))
        st.success(
            f"The file is valid: {plain(_candidates(checked.space_size))}, scored by {goals}\\.",
            icon=":material/check:",
        )
        return False
    st.warning(why)
    other = free_name(name, names, folder)
    st.button(f"Call it {plain(other)}", key="start rename", on_click=_rename, args=(other,))
    return True


def _rename(name: str) -> None:
    st.session_state[TEXT] = put(st.session_state[TEXT], ("name",), name)


def _wrong(checked: Checked) -> None:
    """Law, value and mend of the first error."""
    error = checked.error
    assert error is not None
    law = f"{checked.place}: {error.law}" if checked.place else error.law
    lines = [f"**{plain(law)}**"]
    if error.value is not None:
        lines.append(f"Found: {plain(error.value)}")
    if error.mend:
        lines.append(plain(error.mend))
    st.error("  \n".join(lines))


# ---------------------------------------------------------------------------------------------------------------- buttons


def _buttons(text: str, name: str, taken: bool) -> None:
    flight: Job | None = st.session_state.get(PREFLIGHT)
    begun: Job | None = st.session_state.get(SEARCH)
    starting = begun is not None and begun.running
    with st.container(horizontal=True):
        tip = "Builds and times untrained candidates and a short training: sizes, latencies, feasibility, time. Keeps nothing."
        busy = flight is not None and flight.running
        if st.button(
            "Pre-flight", key="start preflight button", disabled=not name or busy, help=tip, icon=":material/flight:"
        ):
            _try(PREFLIGHT, lambda: launch.preflight(text, name, source.url()))
        tip = "Writes the file into the folder that the dashboard was started in, and searches it in a process of its own."
        if st.button(
            "Start the search", key="start button", type="primary", disabled=not name or taken or starting, help=tip,
            icon=":material/play_arrow:",
        ):  # fmt: skip
            _try(SEARCH, lambda: launch.search(text, name, source.url(), Path.cwd()))


def _try(key: str, begin: Any) -> None:
    try:
        st.session_state[key] = begin()
    except UserError as error:
        st.error(plain(error))
        return
    st.rerun()


# --------------------------------------------------------------------------------------------------------- while it starts


def _launched() -> None:
    """The command that was started: what it says, or why it ended."""
    job: Job | None = st.session_state.get(SEARCH)
    if job is None:
        return
    if job.running:
        follow(job, f"Starting {plain(job.name)}")
    elif job.code:
        failed(job)


def _go_there() -> None:
    """To the page that watches the search, once it is at work."""
    job: Job | None = st.session_state.get(SEARCH)
    if job is None or not (arrived(job) or (not job.running and job.code == 0)):
        return
    del st.session_state[SEARCH]
    st.session_state["open study"] = job.name
    st.switch_page(st.session_state["pages"]["watch"])


# -------------------------------------------------------------------------------------------------------------- pre-flight


def _preflight(text: str) -> None:
    job: Job | None = st.session_state.get(PREFLIGHT)
    if job is None:
        return
    if job.running:
        _flying(job)
        return
    if job.cancelled:
        st.caption("The pre\\-flight was cancelled\\.")
    elif job.code:
        failed(job)
    elif found := job.result():
        st.subheader(f"Pre\\-flight of {plain(job.name)}")
        if job.about != text:
            st.caption("Of an earlier version: the file was changed since\\.")
        _found(found)
    else:
        st.warning("The pre\\-flight ended without an answer\\.")


def _flying(job: Job) -> None:
    """What the pre-flight does, every second, and a button that ends it."""

    def look() -> None:
        if not job.running:
            st.rerun()
        doing = "Ending" if job.cancelled else plain(job.last() or "loading")
        st.info(f"Pre\\-flight: {doing} \\({job.seconds:.0f} s\\)", icon=":material/hourglass_top:")
        st.button("Cancel", key="start cancel", disabled=job.cancelled, on_click=launch.cancel, args=(job,))

    st.fragment(look, run_every=1.0)()


def _candidates(size: float | None) -> str:
    """How many the space has."""
    if size is None:
        return "candidates of a space that fits the data"
    return "endlessly many candidates" if math.isinf(size) else f"{number(size, '')} candidates"


def _found(found: dict[str, Any]) -> None:
    """:meth:`autokd.evaluation.screening.preflight.Preflight.to_dict` for people."""
    size, total = found.get("space_size"), found.get("total_s")
    cells = {
        "candidates": "endless" if size is None else number(size, ""),
        "meet the constraints": f"{found['feasible_share']:.0%}",
        "one training": f"{span(found['train_s'])} CPU",
        "whole search": "no limit" if total is None else span(total),
        "disk": number(found["disk_bytes"], "bytes"),
    }
    helps = {
        "meet the constraints": "Of the sampled candidates, before training.",
        "whole search": "The teacher not counted.",
    }
    for column, (name, value) in zip(st.columns([3, 4, 4, 3, 3]), cells.items(), strict=True):
        column.metric(name, plain(value), help=helps.get(name))
    st.dataframe(ranges(found["ranges"]), hide_index=True)
    st.caption(
        "Of untrained candidates: the smallest, the largest, and random ones between them; timed on this machine\\."
    )
    for law, share in found["refused"].items():
        if share:
            st.caption(f"{plain(law)} refuses {plain(f'{share:.0%}')} of them\\.")
    for reason, times in found["failed"].items():
        st.warning(f"{times} candidates could not be built or exported: {plain(reason)}")


def ranges(found: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Smallest and largest of each cost, one row a cost, with units."""
    rows = []
    for name, (low, high) in found.items():
        metric, _, place = name.partition("@")
        unit = metric_of(metric).unit
        rows.append(
            {
                "cost": title(metric),
                "device": place or "any",
                "smallest": number(low, unit),
                "largest": number(high, unit),
            }
        )
    return pd.DataFrame(rows, columns=["cost", "device", "smallest", "largest"])
