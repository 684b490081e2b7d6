"""The ledger: one Optuna study that holds configuration, trials and records. One writer: the driver."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from autokd.config.plan import Plan
from autokd.errors import StorageError, StudyError, first_line, nearest
from autokd.storage.attributes import CONFIG_KEY, RECORD_KEY, STATE_KEY
from autokd.storage.optuna_private import constraint_attrs
from autokd.trial import Outcome, ParamValue, TrialRecord

DEFAULT_URL = "sqlite:///autokd.db"
STATES = {
    Outcome.MEASURED: TrialState.COMPLETE,
    Outcome.INFEASIBLE: TrialState.PRUNED,
    Outcome.STOPPED: TrialState.PRUNED,
    Outcome.DUPLICATE: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
    Outcome.INTERRUPTED: TrialState.FAIL,
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def storage_url(given: str | None = None) -> str:
    """The ledger's URL: given, else ``AUTOKD_STORAGE``, else ``autokd.db`` in the current folder."""
    url = given or os.environ.get("AUTOKD_STORAGE") or DEFAULT_URL
    if "://" not in url:  # a plain file name
        url = f"sqlite:///{url}"
    return url


def sqlite_file(url: str) -> Path | None:
    """The file behind a SQLite URL, absolute; ``None`` for a server or for memory."""
    parsed = sqlalchemy.engine.make_url(url)
    if not parsed.drivername.startswith("sqlite") or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).absolute()


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a database or a disk says into one clear StorageError."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        text = first_line(getattr(cause, "orig", None) or cause)
        mend = "Is the server running and the URL right?"
        if "readonly" in text or "disk" in text or "unable to open" in text:
            mend = "Is the folder there, writable, and the disk not full?"
        raise StorageError("the ledger must be reachable and writable", f"{shown_url(url)}: {text}", mend) from None
    except ImportError as error:  # the driver of another database
        raise StorageError(
            "the database's Python driver must be installed", str(error), "E.g. pip install psycopg2-binary."
        ) from None


def shown_url(url: str) -> str:
    """The URL without its password."""
    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url


def check_place(url: str) -> None:
    """Refuse a place where no ledger can be kept, before anything is spent; server URLs are tried by :func:`connect`.

    Raises:
        StorageError: A SQLite file in a folder that is not there or not writable, or a ledger in memory.
    """
    with storage_errors(url):
        parsed = sqlalchemy.engine.make_url(url)
    file = sqlite_file(url)
    if file is None and parsed.drivername.startswith("sqlite"):
        raise StorageError("the ledger must outlive the command", shown_url(url), "Name a file: sqlite:///autokd.db.")
    if file is not None and not file.parent.is_dir():
        raise StorageError("the ledger's folder must exist", str(file.parent), "Make it, or correct the URL.")
    if file is not None and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise StorageError("the ledger must be writable", str(file), "Change its permissions, or name another place.")


def connect(url: str, create: bool = False) -> RDBStorage:
    """The Optuna storage of a ledger.

    Args:
        url: SQLAlchemy URL.
        create: Make a SQLite file that is not there; otherwise a missing file is an error (and none is left behind).

    Raises:
        StorageError: Not reachable, not writable, or not there.
    """
    with storage_errors(url):
        file = sqlite_file(url)
        if file is not None and not create and not file.exists():
            mend = "Run the command in the study's folder, or give --storage or AUTOKD_STORAGE."
            raise StorageError("the ledger must exist", str(file), mend)
        arguments = {"connect_args": {"timeout": 60}} if file is not None else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            storage = RDBStorage(url, engine_kwargs=arguments)
        if file is not None and create:
            with storage.engine.connect() as connection:  # readers must not block the one writer
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        return storage


class Ledger:
    """One study in the ledger."""

    def __init__(self, study: optuna.Study, url: str) -> None:
        self.study = study
        self.url = url

    @property
    def name(self) -> str:
        return self.study.study_name

    @classmethod
    def create(
        cls, url: str, name: str, directions: list[Any], metric_names: list[str], attrs: Mapping[str, Any]
    ) -> Ledger:
        """A new study with its whole configuration; the caller has made sure that the name is free."""
        with storage_errors(url):
            storage = connect(url, create=True)
            study = optuna.create_study(storage=storage, study_name=name, directions=directions)
            for key, value in attrs.items():
                study.set_user_attr(key, value)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                study.set_metric_names(metric_names)
        return cls(study, url)

    @classmethod
    def open(cls, url: str, name: str) -> Ledger:
        """An existing study.

        Raises:
            StudyError: No study of that name; the nearest is offered.
            StorageError: The ledger cannot be read.
        """
        storage = connect(url)
        with storage_errors(url):
            names = optuna.get_all_study_names(storage)
            if name not in names:
                raise StudyError(f"the study must be in the ledger {shown_url(url)}", repr(name), nearest(name, names))
            study = optuna.load_study(study_name=name, storage=storage)
            if CONFIG_KEY not in study.user_attrs:
                raise StudyError(
                    "the study must have been made by autokd", repr(name), "Open it with optuna-dashboard."
                )
        return cls(study, url)

    @staticmethod
    def exists(url: str, name: str) -> bool:
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return False
        storage = connect(url)
        with storage_errors(url):
            return name in optuna.get_all_study_names(storage)

    def attr(self, key: str, default: Any = None) -> Any:
        return self.study.user_attrs.get(key, default)

    def set_attr(self, key: str, value: Any) -> None:
        with storage_errors(self.url):
            self.study.set_user_attr(key, value)

    def trials(self) -> list[FrozenTrial]:
        with storage_errors(self.url):
            return self.study.get_trials(deepcopy=False)

    def finish(
        self,
        trial: optuna.Trial,
        record: TrialRecord,
        values: list[float] | None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Tell one outcome. The record is written first: a finished trial always has one."""
        with storage_errors(self.url):
            known = trial.constraints if constraints else {}  # not empty when a driver died right here
            for name, amount in (constraints or {}).items():
                if name not in known:
                    trial.set_constraint(name, amount)
            trial.set_user_attr(RECORD_KEY, record.to_json())
            state = STATES[record.outcome]
            self.study.tell(trial, values if state == TrialState.COMPLETE else None, state=state)

    def add(self, record: TrialRecord, plan: Plan, system_attrs: Mapping[str, Any] | None = None) -> int:
        """Add a finished trial that no sampler proposed; returns its number. ``system_attrs`` are the sampler's own."""
        space = plan.space.distributions()
        own = {k: v for k, v in record.params.items() if k in space}
        constraints = {str(c): c.violation(v) for c in plan.constraints if (v := record.value(c.name)) is not None}
        values = [float(record.value(o.name) or 0.0) for o in plan.objectives]
        with storage_errors(self.url):
            trial = optuna.trial.create_trial(
                state=STATES[record.outcome],
                params=own,
                distributions={k: space[k] for k in own},
                values=values if record.outcome == Outcome.MEASURED else None,
                user_attrs={RECORD_KEY: record.to_json()},
                system_attrs=constraint_attrs(constraints) | dict(system_attrs or {}),
            )
            self.study.add_trial(trial)
            return len(self.study.get_trials(deepcopy=False)) - 1

    def enqueue(self, params: Mapping[str, ParamValue], **attrs: Any) -> None:
        """Queue a candidate for the next ask."""
        with storage_errors(self.url):
            self.study.enqueue_trial(dict(params), user_attrs=attrs, skip_if_exists=False)


def record_of(trial: FrozenTrial) -> TrialRecord | None:
    """The record of a finished trial, or ``None`` (running, waiting, or not ours)."""
    text = trial.user_attrs.get(RECORD_KEY)
    if text is None:
        return None
    try:
        return TrialRecord.from_json(text)
    except (ValueError, TypeError, KeyError, json.JSONDecodeError):
        return None


def list_studies(storage: str | None = None) -> list[dict[str, Any]]:
    """Name, state and counts of every autokd study in a ledger."""
    url = storage_url(storage)
    connection = connect(url)
    with storage_errors(url):
        summaries = optuna.get_all_study_summaries(connection)
    return [
        {
            "name": s.study_name,
            "state": s.user_attrs.get(STATE_KEY),
            "trials": s.n_trials,
            "begun": s.datetime_start.isoformat() if s.datetime_start else None,
        }
        for s in summaries
        if CONFIG_KEY in s.user_attrs
    ]
