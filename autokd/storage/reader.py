"""A study's trials as columns, read from the ledger's tables a step at a time; loads neither torch nor ray.

``optuna.Study.trials`` builds an object for every trial at every call, 9 s for 10,000. A finished trial never changes, so this
reader asks for what is new: three SELECTs, and the JSON records of trials that finished since. It only reads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import orjson
import pandas as pd
import sqlalchemy
from sqlalchemy import bindparam, text

from autokd import registry
from autokd.config.objectives import Objective, error_of
from autokd.errors import ConfigError, StudyError
from autokd.storage.attributes import CONFIG_KEY, CONFIRMED_KEY, RECORD_KEY, RUNG_KEY
from autokd.storage.ledger import shown_url, sqlite_file, storage_errors
from autokd.storage.results import Member
from autokd.trial import BY_LABELS, CONTINUES, ERROR, RETIMED, Cut, Outcome, Rung, TrialRecord

Made = TypeVar("Made")
CHUNK = 500
"""Trials whose records are asked for at once: databases bound the length of a query."""
FACTS = ("number", "state", "outcome", "feasible", "begun", "ended", "cpu_s", "saved_cpu_s", "cause", "failed_stage")


@dataclass(frozen=True)
class Running:
    """A trial that was asked for and not told yet; ``begun`` in seconds since the epoch, ``rung`` on a ladder only."""

    number: int
    begun: float | None
    rung: Rung | None = None


@dataclass(frozen=True)
class Seen:
    """The trials that were finished at one moment, and what was made of them: neither changes under whoever holds it."""

    frame: pd.DataFrame
    _memo: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made once for this frame: for what follows from the frame alone."""
        if key not in self._memo:
            self._memo[key] = make()
        found: Made = self._memo[key]
        return found


class TrialReader:
    """One study's trials. May be shared between threads.

    Args:
        url: SQLAlchemy URL of the ledger.
        name: The study.

    Raises:
        StudyError: No study of that name, or none of autokd's.
        StorageError: The ledger cannot be read.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self._lock = threading.Lock()
        with storage_errors(url):
            arguments = {"connect_args": {"timeout": 60}} if sqlite_file(url) is not None else {}
            self._engine = sqlalchemy.create_engine(url, **arguments)
            self._id = self._study_id()
        self._last_id = -1
        self._open: set[int] = set()  # trial ids that are not finished
        self._spent: dict[str, float] = {}  # CPU seconds of every stage result, by its key
        self._seen = Seen(pd.DataFrame({name: [] for name in FACTS}))
        self._running: tuple[Running, ...] = ()
        self._rungs: dict[int, Rung] = {}  # of running trials, by trial id
        self.attrs: dict[str, Any] = {}
        self.refresh()

    def close(self) -> None:
        """Close its connections; a later refresh opens new ones."""
        self._engine.dispose()

    def _study_id(self) -> int:
        query = text("SELECT study_id FROM studies WHERE study_name = :name")
        with self._engine.connect() as connection:
            row = connection.execute(query, {"name": self.name}).first()
        if row is None:
            raise StudyError(f"the study must be in the ledger {shown_url(self.url)}", repr(self.name))
        return int(row[0])

    # ------------------------------------------------------------------------------------------------- what is new

    def refresh(self) -> bool:
        """Read what happened since the last time; whether a trial was finished.

        Raises:
            StudyError: The study was deleted.
        """
        with self._lock, storage_errors(self.url), self._engine.connect() as connection:
            rows = connection.execute(
                text("SELECT a.key, a.value_json FROM study_user_attributes a WHERE a.study_id = :id"), {"id": self._id}
            ).all()
            self.attrs = {key: json.loads(value) for key, value in rows}
            if CONFIG_KEY not in self.attrs:
                raise StudyError("the study must be in the ledger", repr(self.name), "Was it deleted?")
            fresh = [*self._rows(connection, "trial_id > :last", {"last": self._last_id})]
            for part in _parts(sorted(self._open)):
                fresh += self._rows(connection, "trial_id IN :ids", {"ids": part}, "ids")
            finished = {row.trial_id: row for row in fresh if row.state not in ("RUNNING", "WAITING")}
            going = [row for row in fresh if row.trial_id not in finished]
            new = [row for part in _parts(sorted(finished)) for row in self._finished(connection, part, finished)]
            if new:
                known, frame = self._seen.frame, pd.DataFrame.from_records(new)
                self._seen = Seen(pd.concat([known, frame], ignore_index=True) if len(known) else frame)
            # last: what an error above kept from being read is asked for again
            self._last_id = max([self._last_id, *(row.trial_id for row in fresh)])
            self._open = {row.trial_id for row in going}
            active = [row for row in going if row.state == "RUNNING"]
            self._rungs = self._rungs_of(connection, [row.trial_id for row in active])
            self._running = tuple(
                Running(row.number, epoch(row.datetime_start), self._rungs.get(row.trial_id)) for row in active
            )
            return bool(new)

    def _rows(self, connection: Any, which: str, values: Mapping[str, Any], *lists: str) -> Sequence[Any]:
        columns = "trial_id, number, state, datetime_start, datetime_complete"
        query = text(f"SELECT {columns} FROM trials WHERE study_id = :study AND {which} ORDER BY trial_id")
        query = query.bindparams(*(bindparam(name, expanding=True) for name in lists))
        rows: Sequence[Any] = connection.execute(query, {"study": self._id, **values}).all()
        return rows

    def _finished(self, connection: Any, ids: Sequence[int], rows: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
        """Some finished trials as columns. A few at a time: all raw records together would fill the memory."""
        records = self._records(connection, ids)
        for key in ids:
            yield self._row(rows[key], records.get(key))

    def _records(self, connection: Any, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The raw records by trial id, at most ``CHUNK``; a damaged one is left out."""
        found: dict[int, dict[str, Any]] = {}
        query = text(
            "SELECT a.trial_id, a.value_json FROM trial_user_attributes a "
            "WHERE a.key = :key AND a.trial_id BETWEEN :low AND :high"
        )
        wanted = set(ids)
        for key, value in connection.execute(query, {"key": RECORD_KEY, "low": ids[0], "high": ids[-1]}):
            if key in wanted and (raw := _decoded(value)) is not None:
                found[key] = raw
        return found

    def _rungs_of(self, connection: Any, ids: Sequence[int]) -> dict[int, Rung]:
        """What running trials do on a ladder, by trial id; asked for once a trial, and in a study of ladders only."""
        found = {key: self._rungs[key] for key in ids if key in self._rungs}
        new = [key for key in ids if key not in found]
        if not new or not self._has_ladders():
            return found
        query = text(
            "SELECT a.trial_id, a.value_json FROM trial_user_attributes a WHERE a.key = :key AND a.trial_id IN :ids"
        )
        query = query.bindparams(bindparam("ids", expanding=True))
        for part in _parts(new):
            for key, value in connection.execute(query, {"key": RUNG_KEY, "ids": part}):
                with suppress(ValueError, TypeError):  # of another make
                    found[key] = Rung(**json.loads(value))
        return found

    def _has_ladders(self) -> bool:
        """Whether the study's strategy says so; where it cannot be asked, its trials are."""
        try:
            name = json.loads(self.attrs[CONFIG_KEY])["config"]["search"]["strategy"]
            return bool(registry.load("strategies", name).ladders)
        except (ValueError, TypeError, KeyError, AttributeError, ConfigError):  # of another version, or a person's own
            return True

    def _row(self, row: Any, raw: Mapping[str, Any] | None) -> dict[str, Any]:
        """One trial as columns."""
        begun, ended = epoch(row.datetime_start), epoch(row.datetime_complete)
        found: dict[str, Any] = {"number": row.number, "state": row.state, "begun": begun, "ended": ended}
        found |= {"outcome": None, "feasible": False, "cpu_s": 0.0, "saved_cpu_s": 0.0}
        found |= {"cause": None, "failed_stage": None}
        try:
            return found | self._of_record(raw) if raw is not None else found
        except (KeyError, TypeError, AttributeError):  # a record of another make
            return found

    def _of_record(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        violations, stages = raw.get("violations") or (), raw.get("stages") or ()
        found: dict[str, Any] = {
            "outcome": raw.get("outcome"),
            "feasible": raw.get("outcome") == Outcome.MEASURED and not violations,
            "cause": raw.get("cause"),
            "failed_stage": raw.get("failed_stage"),
            "violation": violations[0]["constraint"] if violations else None,
            "began_training": bool(raw.get("began_training")),
            "parent": raw.get("parent"),
            "rung": (raw.get("rung") or {}).get("kind"),
            "continues": (raw.get("notes") or {}).get(CONTINUES),
            "cuts": tuple(map(Cut.read, (raw.get("notes") or {}).get("cuts") or ())) or None,
            "retried": bool((raw.get("notes") or {}).get("retried")),
            "retimed": bool((raw.get("notes") or {}).get(RETIMED)),
            "cpu_s": sum(s["cpu_s"] for s in stages if not s["cached"]),
            "saved_cpu_s": sum(self._spent.get(s["key"], 0.0) for s in stages if s["cached"]),
        }
        for s in stages:
            if not s["cached"]:
                self._spent[s["key"]] = s["cpu_s"]
                found[f"stage_{s['stage']}_s"] = s["duration_s"]
        return found | measured_columns(raw)

    # ----------------------------------------------------------------------------------------------- what is known

    @property
    def frame(self) -> pd.DataFrame:
        """One row a finished trial, in the order in which they were seen; not to be changed.

        Columns: ``number``; ``state`` (Optuna's) and ``outcome`` (autokd's); ``feasible`` (measured, and within every
        constraint); ``begun`` and ``ended`` (seconds since the epoch); ``cpu_s``, and ``saved_cpu_s``, what its stages
        would have cost that were found in the store; ``cause``, ``failed_stage``, ``violation``; ``parent`` and ``rung``
        (on a ladder: ``root``, ``train`` or ``narrow``); ``cuts`` (of a step down, a tuple of :class:`autokd.trial.Cut`);
        ``continues`` (the stopped trial that it goes on with); ``retried`` (failed, and queued again: it counts towards no
        budget); ``retimed`` (trained by another study);
        ``stage_<name>_s`` (on the clock); ``pruned`` (``"pruned"`` or ``"whole"``); every measurement under its name
        (``latency_ms@cpu_1_thread``) and its spread as ``<name>_error``, both in the measurement's unit; ``params_<name>``.
        """
        return self._seen.frame

    @property
    def seen(self) -> Seen:
        """The trials finished by the last refresh: a page that draws from one of these sees one moment."""
        return self._seen

    @property
    def running(self) -> tuple[Running, ...]:
        """Trials that were asked for and are not finished."""
        return self._running

    def record(self, number: int) -> TrialRecord | None:
        """The whole record of a finished trial."""
        query = text(
            "SELECT a.value_json FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id "
            "WHERE t.study_id = :study AND t.number = :number AND a.key = :key"
        )
        with storage_errors(self.url), self._engine.connect() as connection:
            row = connection.execute(query, {"study": self._id, "number": int(number), "key": RECORD_KEY}).first()
        raw = _decoded(row[0]) if row else None
        return _record(raw) if raw is not None else None

    def member(self, number: int, objectives: Sequence[Objective]) -> Member:
        """A measured student.

        Raises:
            StudyError: The trial is not measured.
        """
        record = self.record(number)
        if record is None or record.outcome != Outcome.MEASURED:
            raise StudyError("the trial must be measured", number)
        values = {o.name: v for o in objectives if (v := record.value(o.name)) is not None}
        confirmed = (self.attrs.get(CONFIRMED_KEY) or {}).get(str(number))
        return Member(int(number), record.params, values, confirmed, record.artifact, record)


def measured_columns(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A raw record's measurements with their spreads, its parameters, and whether it was pruned; see ``TrialReader.frame``."""
    found: dict[str, Any] = {}
    params = raw.get("params") or {}
    for m in raw.get("measurements") or ():
        name = f"{m['metric']}@{m['profile']}" if m.get("profile") else m["metric"]
        value, spread = m["value"], m.get("spread")
        found[name] = value
        if spread is not None:
            found[name + ERROR] = error_of(m["metric"], value, spread)
    removed = [v for k, v in params.items() if k.startswith("prune_") and isinstance(v, int | float)]
    cut = bool((raw.get("notes") or {}).get("history"))
    found["pruned"] = "pruned" if cut or any(v > 0 for v in removed) else "whole"
    shown = {f"params_{k}": v for k, v in params.items()}
    if "params_method" in shown and (raw.get("notes") or {}).get(BY_LABELS):
        shown["params_method"] = "none"  # nobody could teach it yet: for people it learnt from the labels
    return found | shown


def _parts(ids: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), CHUNK):
        yield list(ids[start : start + CHUNK])


def _decoded(value: str) -> dict[str, Any] | None:
    """An attribute's value: JSON text in JSON. Decoding is most of a large study's reading, hence orjson."""
    # the second knows what Python writes and the standard does not: NaN, Infinity
    for loads in (orjson.loads, json.loads):
        with suppress(ValueError):
            raw = loads(value)
            raw = loads(raw) if isinstance(raw, str) else raw
            return raw if isinstance(raw, dict) and "outcome" in raw else None
    return None


def _record(raw: Mapping[str, Any]) -> TrialRecord | None:
    try:
        return TrialRecord.from_json(json.dumps(raw))
    except (ValueError, TypeError, KeyError):
        return None


def epoch(value: Any) -> float | None:
    """A date of Optuna's tables in seconds: it keeps local time, and SQLite gives it as text."""
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.timestamp()
