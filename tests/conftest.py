"""Factories: a configuration that searches in seconds, the commands, and a finished study to read."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Ran, run_here, run_process, tiny, write_study

from autokd.hardware import meter

SLOW_S = 1200
"""Limit of a slow test, its fixtures included: whole searches, on two busy cores."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))


@pytest.fixture(scope="session", autouse=True)
def heeded_interrupts() -> None:
    """A run that a script started in the background ignores Ctrl-C, and so would every command that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary files, and with them the turnstile of timings, are this run's own: it waits for no other search on the host.

    A short path, for Ray puts sockets there, whose names must stay below some 100 characters.
    """
    tmp_path_factory.getbasetemp()  # pytest's folders stay where it keeps them after a failure
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    folder = tempfile.mkdtemp(prefix="ak-", dir="/tmp" if os.name == "posix" else None)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    yield
    if before[0] is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before[0]
    tempfile.tempdir = before[1]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def short_calibration() -> Iterator[None]:
    """Every meter of a test measures this host's usual beat anew: two seconds each would be minutes in all."""
    before, meter.CALIBRATION_S = meter.CALIBRATION_S, 0.2
    yield
    meter.CALIBRATION_S = before


@pytest.fixture
def tiny_config() -> Callable[..., dict[str, Any]]:
    """``tiny_config(budget__trials=5)``: see :func:`tiny`."""
    return tiny


@pytest.fixture
def run_cli() -> Callable[..., Ran]:
    """``run_cli("front", "tiny", cwd=folder)`` in this process; ``own_process=True`` in one of its own."""

    def run(*args: str, cwd: Path, own_process: bool = False, **more: Any) -> Ran:
        return run_process(*args, cwd=cwd, **more) if own_process else run_here(*args, cwd=cwd)

    return run


@pytest.fixture
def study_in() -> Callable[..., Path]:
    """``study_in(tmp_path, budget__trials=5)`` writes a tiny study file there and gives its path."""

    def write(folder: Path, **changes: Any) -> Path:
        return write_study(folder, tiny(**changes))

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished tiny study in ``autokd.db``: for reading only."""
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder, tiny())
    ran = run_here("search", "study.yaml", cwd=folder)
    assert ran.code == 0, ran.stderr
    yield folder
