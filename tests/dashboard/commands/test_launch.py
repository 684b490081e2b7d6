"""Commands beside the dashboard: a real search started, stopped and resumed, and everything that must not be touched."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from support import tiny

from autokd.dashboard.commands import drivers, launch
from autokd.errors import StudyError
from autokd.storage.attributes import DRIVER_KEY, STATE_KEY
from autokd.study.study import Study


def text(**changes: Any) -> str:
    return yaml.safe_dump(tiny(**changes), sort_keys=False)


def wait(condition: Callable[[], object], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger to be; the commands run in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return f"sqlite:///{tmp_path / 'autokd.db'}"


@pytest.mark.slow
def test_a_search_is_started_stopped_and_resumed(url: str, tmp_path: Path) -> None:
    assert drivers.driver_pid(url, "tiny") is None and drivers.study_names(url) == set()
    job = launch.search(text(budget__trials=500), "tiny", url, tmp_path)
    wait(lambda: drivers.driver_pid(url, "tiny") == job.process.pid or not job.running)
    assert job.running, job.told()
    assert (tmp_path / "tiny.yaml").is_file()
    assert os.getsid(job.process.pid) != os.getsid(0)  # Ctrl-C at the dashboard does not reach it
    study = Study.open("tiny", url)
    wait(lambda: any(t.state.is_finished() for t in study.ledger.trials()))
    drivers.stop(study.ledger.attr(DRIVER_KEY), study.home)
    wait(lambda: not job.running)
    assert job.code == 130
    assert "Interrupted" in job.error()
    assert not psutil.pid_exists(job.process.pid)  # a zombie would look alive
    assert Study.open("tiny", url).ledger.attr(STATE_KEY) == "interrupted"

    done = len(study.ledger.trials())
    job = launch.resume("tiny", url, tmp_path, [f"budget.trials={done + 2}"])
    wait(lambda: not job.running)
    assert job.code == 0, job.told()
    assert str(Study.open("tiny", url).ledger.attr(STATE_KEY)).startswith("finished")
    assert job.log.parent == tmp_path / ".autokd" / "logs"
    assert "Search ended" in job.log.read_text()


def test_a_refusal_is_a_sentence(url: str, tmp_path: Path) -> None:
    job = launch.search(text(budget__trails=3), "tiny", url, tmp_path)
    wait(lambda: not job.running)
    assert job.code == 2
    assert "unknown key, but got 'budget.trails'" in job.error() and not job.error().startswith("error")
    assert not (tmp_path / "tiny.yaml").exists()  # no study came of it: the mended file may have its name
    job = launch.resume("tiny", url, tmp_path)
    wait(lambda: not job.running)
    assert job.code == 2 and "must exist" in job.error()


def test_a_cancelled_preflight_ends_and_leaves_nothing(url: str) -> None:
    job = launch.preflight(text(), "tiny", url)
    folder = job.log.parent
    assert (folder / "study.yaml").is_file()
    wait(lambda: "data" in job.told() or not job.running)
    launch.cancel(job)
    wait(lambda: not job.running)
    assert job.cancelled and job.code != 0 and job.result() == {}
    assert not folder.exists()


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    file = launch.write_study("name: a\n", "a", tmp_path)
    assert launch.write_study("name: a\n", "a", tmp_path) == file
    with pytest.raises(StudyError, match="overwrite"):
        launch.write_study("name: a\nseed: 1\n", "a", tmp_path)
    assert file.read_text() == "name: a\n"
    (tmp_path / "b.yaml").mkdir()
    with pytest.raises(StudyError):
        launch.write_study("name: b\n", "b", tmp_path)


def test_words_go_to_no_shell_and_the_ledger_s_url_is_not_among_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    class Process:
        pid = returncode = 0

        def __init__(self, words: list[str], **how: Any) -> None:
            seen.update(how, words=words)

        def wait(self) -> None:
            pass

    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    launch.resume("a $(touch x)", "postgresql://me:secret@host/db", tmp_path, ["budget.trials=+3"])
    assert seen["words"][1:] == ["-m", "autokd.cli", "resume", "--set", "budget.trials=+3", "--", "a $(touch x)"]
    assert not seen.get("shell") and seen["start_new_session"]
    assert seen["env"]["AUTOKD_STORAGE"] == "postgresql://me:secret@host/db"
    shown = launch.for_a_shell("resume", "a $(touch x)", "postgresql://me:secret@host/db")
    assert "secret" not in shown and shlex.split(shown)[2] == "a $(touch x)"


@pytest.mark.parametrize("words", [[], ["autokd.cli"]], ids=["another program", "autokd without the lock"])
def test_no_other_process_is_ever_signalled(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "driver.lock").touch()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])
    driver = {"pid": process.pid, "host": os.uname().nodename, "beat": time.time()}
    while not psutil.Process(process.pid).cmdline():  # empty until the kernel has laid the new program out
        time.sleep(0.01)
    try:
        with pytest.raises(StudyError, match="lock" if words else "only an autokd command"):
            drivers.stop(driver, tmp_path)
        with pytest.raises(StudyError, match="this machine"):
            drivers.stop(driver | {"host": "elsewhere"}, tmp_path)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with pytest.raises(StudyError, match="must be there"):
        drivers.stop(driver, tmp_path)
    with pytest.raises(StudyError):
        drivers.stop({}, tmp_path)


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.3.2.1", True), ("0.0.0.0", False), ("::", False),
     (None, False), ("", False), ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_only_loopback_is_here(address: str | None, here: bool) -> None:
    assert launch.only_here(address) is here
