"""The dashboard: navigation, the choice of study and device, and one page at a time. Run by ``autokd dashboard``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import streamlit as st

from autokd.dashboard import source
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.commands.launch import for_a_shell
from autokd.dashboard.source import REFRESH_S, View
from autokd.dashboard.views import compare, devices, front, start, student, studies, trials, watch, why
from autokd.errors import StudyError, UserError, named_line
from autokd.storage.ledger import shown_url
from autokd.storage.summaries import StudySummary

PAGES: tuple[tuple[str, ModuleType, str], ...] = (
    # path, module, title; no icon: Streamlit fetches that of a page from the internet, for the browser's tab
    ("front", front, "Front"),
    ("watch", watch, "Watch"),
    ("student", student, "One student"),
    ("compare", compare, "Compare students"),
    ("devices", devices, "Compare devices"),
    ("why", why, "Why"),
    ("trials", trials, "Trials"),
)
# Each module has ``page(view)``; with ``LIVE = True`` it is drawn again and again while its study runs. (No string here:
# Streamlit writes a bare one onto the page.)


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="autokd", layout="wide")
    wanted = os.environ.get("AUTOKD_DASHBOARD_PAGE") or "front"
    for key in [k for k in st.session_state if k == "study" or str(k).startswith("profile ")]:
        st.session_state[key] = st.session_state[key]  # else Streamlit forgets what a page does not draw
    drawn: dict[str, Callable[[], None]] = {
        path: partial(of_study, module.page, getattr(module, "LIVE", False)) for path, module, _ in PAGES
    }
    drawn |= {"studies": all_studies, "start": new_search}
    titles = {path: title for path, _, title in PAGES} | {"studies": "Studies", "start": "Start a search"}
    # The first page's address is "/", and Streamlit keeps its name for it: under another, its own leads there as well.
    pages = {
        path: st.Page(draws, title=titles[path], url_path="first" if path == wanted else path, default=path == wanted)
        for path, draws in drawn.items()
    }
    st.session_state["pages"] = pages
    named = st.Page(drawn[wanted], title=titles[wanted], url_path=wanted, visibility="hidden")
    of_one = [pages[path] for path, _, _ in PAGES]
    st.navigation({"Study": [*of_one, named], "All": [pages["studies"], pages["start"]]}).run()


def of_study(page: Callable[[View], None], live: bool) -> None:
    """A page of the study that is chosen in the sidebar."""
    with in_words():
        found = summaries()
        if not found:
            return
        summary = choose_study(found)
        read_first(summary)
        choose_device(source.look(summary))
        view = source.look(summary)
        st.title(plain(view.name))
        clock = REFRESH_S if live and view.live else None
        st.fragment(partial(draw, page, summary, view.live), run_every=clock)()


def read_first(summary: StudySummary) -> None:
    """Say so while a study is read for the first time: a hundred thousand trials take seconds."""
    place = st.empty()  # also when nothing is said, so that what follows keeps its place on the page
    if not source.is_open(summary):
        with place, st.spinner(f"Reading {sum(summary.counts.values()):,} trials", show_time=True):
            source.look(summary)


def draw(page: Callable[[View], None], summary: StudySummary, was_live: bool) -> None:
    """The page's body, again and again while its study runs."""
    with in_words():
        view = source.look(summary)
        if was_live and not view.live:
            st.rerun()  # the whole page once more, now without a clock
        if view.silent:
            st.warning("The search says that it runs, but nothing was heard of it for two minutes\\. Go on with it:")
            st.code(for_a_shell("resume", view.name, source.url()), language="bash")
        page(view)


def all_studies() -> None:
    with in_words():
        found = summaries()
        if found:
            studies.page(found)


def new_search() -> None:
    with in_words():
        start.page()


def summaries() -> list[StudySummary]:
    """The ledger's studies, or words for a newcomer."""
    where = plain(shown_url(source.url()))
    found = source.summaries() if source.ledger_there() else []
    if not found:
        st.title("autokd")
        st.info(f"No study yet in {where}\\. Start one here, or in a terminal, and reload this page:")
        st.code("autokd init study.yaml\nautokd search study.yaml", language="bash")
        st.page_link(st.session_state["pages"]["start"], label="Start a search")
    return found


def choose_study(found: list[StudySummary]) -> StudySummary:
    """The study of the sidebar; without a choice the newest that has a front."""
    names = [s.name for s in found]
    wanted = source.wanted_study()
    if wanted is not None and wanted not in names:
        where = plain(shown_url(source.url()))
        st.warning(f"There is no study {plain(repr(wanted))} in {where}\\. Choose one of those there are\\.")
        wanted = None
    if (pending := st.session_state.pop("open study", None)) in names:  # a search was just started
        st.session_state["study"] = pending
    if st.session_state.get("study") not in names:  # the first time, or deleted meanwhile
        st.session_state["study"] = wanted or source.newest_with_front(found)
    name = st.sidebar.selectbox("Study", names, key="study")
    return next(s for s in found if s.name == name)


def choose_device(view: View) -> None:
    """The device on whose clock the study is looked at, where there are several."""
    names = [p.name for p in view.plan.profiles]
    stated = next((o.profile for o in view.plan.objectives if o.profile), None)
    if len(names) < 2 or stated is None:
        return
    key = f"profile {view.name}"
    if st.session_state.get(key) not in names:
        st.session_state[key] = stated
    st.sidebar.selectbox("Device", names, key=key)


@contextmanager
def in_words() -> Iterator[None]:
    """An error as a sentence on the page, never as a traceback."""
    try:
        yield
    except UserError as error:
        if isinstance(error, StudyError):
            source.forget(str(st.session_state.get("study")))  # deleted, and perhaps made anew under its name
        st.error(plain(error))
    except Exception as error:  # a page must not show a traceback, whatever a ledger holds
        if isinstance(error, KeyError):  # what Optuna says of a study that is gone
            source.forget(str(st.session_state.get("study")))
        st.error(f"This study could not be shown: {plain(named_line(error))}\\. Reload the page to try again\\.")


if __name__ == "__main__":
    main()
