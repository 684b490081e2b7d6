"""Every study of a ledger at a glance: a few aggregate queries, however many trials there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy import text

from autokd.storage.attributes import CONFIG_KEY, DRIVER_KEY, STATE_KEY, WALL_KEY
from autokd.storage.heartbeat import driver_alive
from autokd.storage.ledger import sqlite_file, storage_errors
from autokd.storage.reader import epoch

LIVE = ("created", "preparing", "searching")


@dataclass(frozen=True)
class StudySummary:
    """One study.

    Args:
        name: Its name.
        state: ``preparing``, ``searching``, ``finished``, ``stopped`` or ``interrupted``.
        reason: Why it ended, or empty.
        live: Whether a driver is at work.
        begun: When its first trial began, seconds since the epoch.
        ended: When its last trial ended.
        wall_s: Seconds that it searched.
        counts: Trials by Optuna state.
        best: The best value of each objective among measured students, by name.
        plan: The configuration, raw.
    """

    name: str
    state: str
    reason: str
    live: bool
    begun: float | None = None
    ended: float | None = None
    wall_s: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_front(self) -> bool:
        return self.counts.get("COMPLETE", 0) > 0


def overview(url: str) -> list[StudySummary]:
    """The studies of a ledger, newest first.

    Raises:
        StorageError: The ledger cannot be read.
    """
    with storage_errors(url):
        arguments = {"connect_args": {"timeout": 60}} if sqlite_file(url) is not None else {}
        engine = sqlalchemy.create_engine(url, **arguments)
        try:
            with engine.connect() as connection:
                names: dict[int, str] = dict(connection.execute(text("SELECT study_id, study_name FROM studies")).all())
                attrs = connection.execute(
                    text(
                        "SELECT a.study_id, a.key, a.value_json FROM study_user_attributes a "
                        "WHERE a.key IN (:a, :b, :c, :d)"
                    ),
                    {"a": CONFIG_KEY, "b": STATE_KEY, "c": DRIVER_KEY, "d": WALL_KEY},
                ).all()
                counts = connection.execute(
                    text(
                        "SELECT study_id, state, COUNT(*), MIN(datetime_start), MAX(datetime_complete) "
                        "FROM trials GROUP BY study_id, state"
                    )
                ).all()
                values = connection.execute(
                    text(
                        "SELECT t.study_id, v.objective, MIN(v.value), MAX(v.value) FROM trial_values v "
                        "JOIN trials t ON t.trial_id = v.trial_id WHERE t.state = 'COMPLETE' "
                        "GROUP BY t.study_id, v.objective"
                    )
                ).all()
        finally:
            engine.dispose()
    known: dict[int, dict[str, Any]] = {}
    for study, key, value in attrs:
        known.setdefault(study, {})[key] = json.loads(value)
    found = []
    for study in sorted(known, reverse=True):
        if CONFIG_KEY in known[study] and study in names:  # one may appear between two queries
            mine = [row for row in counts if row[0] == study]
            extremes = {row[1]: (row[2], row[3]) for row in values if row[0] == study}
            found.append(_summary(names[study], known[study], mine, extremes))
    return found


def _summary(
    name: str, attrs: Mapping[str, Any], counts: list[Any], extremes: Mapping[int, tuple[float, float]]
) -> StudySummary:
    state, _, reason = str(attrs.get(STATE_KEY)).partition(": ")
    live = driver_alive(attrs.get(DRIVER_KEY) or {})
    begun = [b for row in counts if (b := epoch(row[3])) is not None]
    ended = [e for row in counts if (e := epoch(row[4])) is not None]
    return StudySummary(
        name=name,
        state=state if live or state not in LIVE else "interrupted",
        reason=reason,
        live=live,
        begun=min(begun, default=None),
        ended=max(ended, default=None),
        wall_s=float(attrs.get(WALL_KEY) or 0.0),
        counts={row[1]: int(row[2]) for row in counts},
        best=_best(attrs[CONFIG_KEY], extremes),
        plan=_raw(attrs[CONFIG_KEY]),
    )


def _raw(plan: Any) -> dict[str, Any]:
    try:
        raw = json.loads(plan) if isinstance(plan, str) else plan
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _best(plan: Any, extremes: Mapping[int, tuple[float, float]]) -> dict[str, float]:
    from autokd.config.plan import Plan

    try:
        read = Plan.from_json(plan)
        objectives = read.objectives
        if any(c.needs_training for c in read.constraints):
            return {}  # the best of all may be outside them, which only the records tell
    except Exception:  # a plan of another version: the list must still be shown
        return {}
    return {
        o.name: extremes[k][1] if o.direction == "maximize" else extremes[k][0]
        for k, o in enumerate(objectives)
        if k in extremes
    }
