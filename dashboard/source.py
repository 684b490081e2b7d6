"""What the pages of a study see: the study, kept open between reruns, and its trials, read a step at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective
from autokd.config.plan import Plan
from autokd.pareto import non_dominated
from autokd.storage.attributes import CONFIG_KEY, DRIVER_KEY, FACTS_KEY, REFERENCE_KEY, STATE_KEY
from autokd.storage.heartbeat import BEAT_S, driver_alive
from autokd.storage.ledger import sqlite_file, storage_errors, storage_url
from autokd.storage.lineage import Lineage
from autokd.storage.reader import Made, Seen, TrialReader
from autokd.storage.results import Member, compared_with, objectives_on
from autokd.storage.summaries import LIVE, StudySummary, overview
from autokd.study.study import Study

MOST_OPEN = 16
"""Studies kept open."""
REFRESH_S = 3.0
"""Seconds between two looks at a running study."""


@dataclass(frozen=True)
class View:
    """A study as a page sees it.

    Args:
        study: The facade, for what is not columns: hand-over, plan, home.
        reader: Its trials.
        profile: The device chosen, or ``None`` for the objectives as the study states them.
        seen: The trials finished by now: one moment for all that a page draws, whatever other sessions read meanwhile.
    """

    study: Study
    reader: TrialReader
    profile: str | None
    seen: Seen

    @property
    def name(self) -> str:
        return self.reader.name

    @property
    def plan(self) -> Plan:
        return self.study.plan

    @property
    def home(self) -> Path:
        """The study's folder; trial ``n`` has ``trials/<n:05d>`` below it."""
        return self.study.home

    def folder(self, number: int) -> Path:
        """What evaluation left of a trial: ``blocks.json``, ``curve.json``, ``validation_scores.npy``, ``student.onnx``."""
        return self.home / "trials" / f"{int(number):05d}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The study's, those of a device moved to ``profile``."""
        return objectives_on(self.plan, self.profile)

    @property
    def frame(self) -> pd.DataFrame:
        """Every finished trial; columns as in :attr:`autokd.storage.reader.TrialReader.frame`. Not to be changed."""
        return self.seen.frame

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made once for these trials and shared by all sessions."""
        return self.seen.once(key, make)

    def measured(self, objectives: Sequence[Objective] | None = None) -> pd.DataFrame:
        """The rows of feasible students that have a value of every objective."""
        goals = tuple(objectives or self.objectives)
        return self.once(("measured", goals), lambda: _measured(self.frame, goals))

    def front(self, objectives: Sequence[Objective] | None = None) -> pd.DataFrame:
        """The rows that no other dominates, cheapest first; of equal ones the earliest."""
        goals = tuple(objectives or self.objectives)
        return self.once(("front", goals), lambda: _front(self.measured(goals), goals))

    @property
    def lineage(self) -> Lineage:
        """Who descends from whom: ladders, and what ``autokd finish`` added; false where nothing does."""
        return self.once("lineage", lambda: Lineage.of_frame(self.frame))

    def member(self, number: int) -> Member:
        """A measured student with its whole record.

        Raises:
            StudyError: The trial is not measured.
        """
        return self.reader.member(number, self.objectives)

    @property
    def facts(self) -> dict[str, Any]:
        """What preparation found: ``teacher`` or ``yardstick``, ``data``, ``device``, ``host``; empty before."""
        return dict(self.reader.attrs.get(FACTS_KEY) or {})

    @property
    def teacher(self) -> dict[str, float]:
        """Measurements by name of what students are held against, the teacher or the dearest root; empty before."""
        found = (compared_with(self.facts)[1] or {}).get("measurements", ())
        return {
            (f"{m['metric']}@{m['profile']}" if m.get("profile") else m["metric"]): float(m["value"]) for m in found
        }

    @property
    def against(self) -> str:
        """Who that is, for people."""
        kind, stated = compared_with(self.facts)
        return "the teacher" if kind == "teacher" or not stated else f"the {stated['name']}"

    @property
    def reference(self) -> list[float] | None:
        """The hypervolume's reference point in the order of the study's own objectives."""
        point = self.reader.attrs.get(REFERENCE_KEY)
        return [float(v) for v in point] if point else None

    @property
    def state(self) -> str:
        """As :attr:`autokd.study.Study.state`: ``searching``, ``finished: ..``, ``interrupted`` ..."""
        stated = str(self.reader.attrs.get(STATE_KEY))
        return stated if self.live or stated not in LIVE else "interrupted"

    @property
    def live(self) -> bool:
        """Whether a driver is at work on it."""
        return str(self.reader.attrs.get(STATE_KEY)) in LIVE and driver_alive(self.driver)

    @property
    def driver(self) -> dict[str, Any]:
        return dict(self.reader.attrs.get(DRIVER_KEY) or {})

    @property
    def silent(self) -> bool:
        """The state says that it runs, but nobody has said so lately: it was killed."""
        beat = float(self.driver.get("beat", 0))
        return str(self.reader.attrs.get(STATE_KEY)) in LIVE and time.time() - beat > 6 * BEAT_S

    # ------------------------------------------------------------------------------------------ the chosen student

    @property
    def chosen(self) -> int | None:
        """The student that the person chose, on whatever page."""
        number = st.session_state.get(f"student {self.name}")
        return int(number) if number is not None else None

    def choose(self, number: int) -> None:
        """Make this trial the chosen student of every page."""
        st.session_state[f"student {self.name}"] = int(number)

    @property
    def compared(self) -> list[int]:
        """Students put side by side."""
        return list(st.session_state.get(f"compare {self.name}", []))

    def compare(self, numbers: Sequence[int]) -> None:
        st.session_state[f"compare {self.name}"] = [int(n) for n in numbers]


def _measured(frame: pd.DataFrame, goals: Sequence[Objective]) -> pd.DataFrame:
    """Feasible rows with a value of every goal that has a place on its scale: no infinity, and no 0 on a logarithm."""
    if not len(frame) or any(o.name not in frame.columns for o in goals):
        return frame.iloc[:0]
    keep = frame["feasible"].astype(bool).to_numpy()
    for o in goals:
        values = pd.to_numeric(frame[o.name], errors="coerce").to_numpy(dtype=float)
        keep = keep & np.isfinite(values) & ((values > 0) | (o.scale != "log"))
    return frame[keep]


def _front(rows: pd.DataFrame, goals: Sequence[Objective]) -> pd.DataFrame:
    if not len(rows):
        return rows
    names = [o.name for o in goals]
    best = rows[non_dominated(rows[names].to_numpy(dtype=float), [o.direction for o in goals])]
    cost = next((o.name for o in goals if o.scale == "log"), names[-1])
    return best.drop_duplicates(names).sort_values(cost, kind="stable")


def url() -> str:
    """The ledger that this dashboard serves."""
    return storage_url(os.environ.get("AUTOKD_DASHBOARD_STORAGE") or None)


def wanted_study() -> str | None:
    """The study that the command named."""
    return os.environ.get("AUTOKD_DASHBOARD_STUDY") or None


def ledger_there() -> bool:
    """False where a SQLite file was not written yet.

    Raises:
        StorageError: The URL is none.
    """
    with storage_errors(url()):
        file = sqlite_file(url())
    return file is None or file.exists()


def summaries() -> list[StudySummary]:
    """The ledger's studies, newest first."""
    return overview(url())


def newest_with_front(found: Sequence[StudySummary]) -> str:
    """The first study that has a measured student, else the first."""
    return next((s.name for s in found if s.has_front), found[0].name)


def look(summary: StudySummary) -> View:
    """A study, read up to now."""
    study, reader = keep_open(summary)
    reader.refresh()
    study.plan = Plan.from_json(reader.attrs[CONFIG_KEY])  # `resume --set budget.trials=..` may have changed it
    return View(study, reader, _profile(study.plan, summary.name), reader.seen)


def is_open(summary: StudySummary) -> bool:
    """Whether the study's trials were read before: only the first reading takes long."""
    return (url(), summary.name, _identity(summary)) in _kept


def unchosen(summary: StudySummary) -> View:
    """A study as somebody sees it who chose nothing yet; needs no session."""
    study, reader = keep_open(summary)
    return View(study, reader, None, reader.seen)


def forget(name: str) -> None:
    """Open a study anew at the next look: it may have been deleted and made again under its name."""
    with _opening:
        for key in [k for k in _kept if k[1] == name]:
            _kept.pop(key)[1].close()


Key = tuple[str, str, str]
_kept: dict[Key, tuple[Study, TrialReader]] = {}
_opening = threading.Lock()
_reading: dict[Key, threading.Lock] = {}


def keep_open(summary: StudySummary) -> tuple[Study, TrialReader]:
    """A study, kept open for every session: finished trials are then read from the database once only.

    Not ``st.cache_resource``: the server reads a study before there is a session (:mod:`autokd.dashboard.serve`).
    """
    key = (url(), summary.name, _identity(summary))
    with _opening:
        reading = _reading.setdefault(key, threading.Lock())
    with reading:  # whoever wants the same study waits; others do not
        if (found := _kept.get(key)) is None:
            found = Study.open(summary.name, url()), TrialReader(url(), summary.name)
            with _opening:
                while len(_kept) >= MOST_OPEN:
                    _kept.pop(oldest := next(iter(_kept)))[1].close()
                    _reading.pop(oldest, None)
                _kept[key] = found
    return found


def _identity(summary: StudySummary) -> str:
    """Another text for another study: the file was replaced, or the study deleted and made anew (ids are used again)."""
    file = sqlite_file(url())
    facts = file.stat() if file is not None else None
    return f"{summary.begun}" + (f" {facts.st_dev} {facts.st_ino}" if facts else "")


def _profile(plan: Plan, name: str) -> str | None:
    """The device chosen in the sidebar; ``None`` for the one that the objectives state."""
    chosen = st.session_state.get(f"profile {name}")
    stated = next((o.profile for o in plan.objectives if o.profile), None)
    known = [p.name for p in plan.profiles]
    return chosen if chosen in known and chosen != stated else None
