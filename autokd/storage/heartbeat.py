"""One live driver a study: a file lock on this host, a heartbeat in the ledger across hosts."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from autokd.errors import StorageError, StudyError
from autokd.storage.attributes import DRIVER_KEY
from autokd.storage.folders import driver_lock
from autokd.storage.ledger import Ledger

BEAT_S = 20.0
"""How often a live driver says so in the ledger; silence of six beats means that it died."""


def is_live(ledger: Ledger) -> bool:
    """Whether a driver is at work: its heartbeat is young and, on this host, its process is there."""
    return driver_alive(ledger.attr(DRIVER_KEY) or {})


def driver_alive(driver: Mapping[str, Any]) -> bool:
    """What :func:`is_live` says, from the driver's last word."""
    if time.time() - float(driver.get("beat", 0)) > 6 * BEAT_S:
        return False
    return bool(driver.get("host") != socket.gethostname() or psutil.pid_exists(driver.get("pid", -1)))


@contextmanager
def driving(ledger: Ledger, home: Path) -> Iterator[None]:
    """Be the study's live driver; the system frees a dead one's lock.

    Raises:
        StudyError: Another one is at work.
    """
    host = socket.gethostname()
    other = ledger.attr(DRIVER_KEY) or {}
    if other.get("host") not in (None, host) and time.time() - other.get("beat", 0) < 6 * BEAT_S:
        mend = "Wait for it or stop it there."
        raise StudyError("a study must have one live driver", f"one on {other['host']}", mend)
    with driver_lock(home, f"process {other.get('pid', '?')}"), _beating(ledger, host):
        yield


@contextmanager
def _beating(ledger: Ledger, host: str) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        while True:
            ledger.set_attr(DRIVER_KEY, {"host": host, "pid": os.getpid(), "beat": time.time()})
            if stop.wait(BEAT_S):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)
        with suppress(StorageError):
            ledger.set_attr(DRIVER_KEY, {})
