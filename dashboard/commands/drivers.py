"""Who drives a study: what the ledger says, the process itself, and how to ask it to stop; knows nothing of Streamlit."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy
from sqlalchemy import text as sql

from autokd.errors import StudyError
from autokd.storage.attributes import DRIVER_KEY
from autokd.storage.ledger import sqlite_file


def study_names(url: str) -> set[str]:
    """Every name in the ledger that is taken; none where there is no ledger yet."""
    return {str(row[0]) for row in _rows(url, "SELECT study_name FROM studies", {})}


def driver_pid(url: str, name: str) -> int | None:
    """The process that says in the ledger that it drives the study; ``None`` while there is no such study or driver."""
    query = (
        "SELECT a.value_json FROM study_user_attributes a JOIN studies s ON s.study_id = a.study_id "
        "WHERE s.study_name = :name AND a.key = :key"
    )
    rows = _rows(url, query, {"name": name, "key": DRIVER_KEY})
    found = json.loads(rows[0][0]) if rows else None
    return found.get("pid") if isinstance(found, dict) else None


def is_free(url: str, name: str) -> bool:
    """Whether no study has the name, for certain: a ledger that cannot be asked is no proof."""
    try:
        return name not in {str(row[0]) for row in _ask(url, "SELECT study_name FROM studies", {})}
    except (sqlalchemy.exc.SQLAlchemyError, ImportError):
        return False


def _rows(url: str, query: str, values: Mapping[str, str]) -> Sequence[Any]:
    try:
        return _ask(url, query, values)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError):  # no tables yet, or locked: the command says what is wrong
        return ()


def _ask(url: str, query: str, values: Mapping[str, str]) -> Sequence[Any]:
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return ()
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(sql(query), dict(values)).all()
            return rows
    finally:
        engine.dispose()


def driver_process(driver: Mapping[str, Any], home: Path) -> psutil.Process:
    """The process that drives a study on this host, for certain: an autokd command that holds the study's lock.

    Raises:
        StudyError: There is none, it is on another host, or it is something else.
    """
    pid, host = driver.get("pid"), driver.get("host")
    if host != socket.gethostname():
        raise StudyError("the search must run on this machine to be stopped here", f"{host}", "Press Ctrl-C there.")
    lock = home / "driver.lock"
    try:
        process = psutil.Process(int(pid or -1))
        words, files = process.cmdline(), [Path(f.path) for f in process.open_files()]
    except (psutil.Error, ValueError, TypeError):
        raise StudyError("the search's process must be there", f"process {pid}", "Reload the page.") from None
    if not any(Path(w).name == "autokd" or w.startswith("autokd.cli") for w in words):
        mend = "It was started from a program or notebook: end it there."
        raise StudyError("only an autokd command can be stopped here", f"process {pid}", mend)
    if not any(f.exists() and lock.exists() and f.samefile(lock) for f in files):
        mend = "Stop it with Ctrl-C where it was started."
        raise StudyError("the process must hold this study's lock", f"process {pid} does not", mend)
    return process


def stop(driver: Mapping[str, Any], home: Path) -> None:
    """Ask a study's driver to end, as Ctrl-C does; nothing else is ever signalled.

    Raises:
        StudyError: See :func:`driver_process`.
    """
    process = driver_process(driver, home)
    try:
        process.send_signal(signal.SIGINT)  # psutil compares birth times: a number that was given away is not hit
    except (psutil.Error, ValueError) as error:
        raise StudyError("the search's process must take a signal", str(error), "Press Ctrl-C there.") from None
