"""One study's hard life: its driver killed in the teacher's training and in a trial, a worker killed, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import support

from autokd.storage.attributes import RETRY_KEY
from autokd.storage.ledger import record_of
from autokd.study.study import Study
from autokd.trial import Candidate, Outcome, TrialRecord

pytestmark = pytest.mark.slow

FAMILY = '''
import os, time
from pathlib import Path
from torch import nn

HERE = Path(__file__).parent

class Held(nn.Module):
    """Trains like any other, but stands still at the step a file names, while it is there; every step leaves a line."""

    def __init__(self, who, features, classes):
        super().__init__()
        self.who, self.steps = who, 0
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(features, classes))

    def forward(self, x):
        if self.training:
            self.steps += 1
            with open(HERE / f"steps-{self.who}", "a") as file:
                file.write(f"{os.getpid()}\\n")
            time.sleep(0.04)
            hold = HERE / f"hold-{self.who}"
            if hold.exists() and hold.read_text() == str(self.steps):
                (HERE / f"reached-{self.who}").touch()
                while hold.exists():
                    time.sleep(0.02)
        return self.body(x)

def factory(params, spec, classes):
    features = 1
    for n in spec.shape:
        features *= n
    return Held(params["who"], features, classes)
'''
STEPS = 28  # 7 epochs of 4 batches


@dataclass
class Seen:
    """What the ledger said at one moment."""

    states: list[str]
    records: dict[int, TrialRecord]
    values: dict[int, list[float]]
    status: dict[str, Any]


@dataclass
class Life:
    """A study's folder, and what was seen of it along the way."""

    folder: Path
    temporary: str
    seen: dict[str, Seen] = field(default_factory=dict)
    ran: dict[str, support.Ran] = field(default_factory=dict)
    orphans: dict[str, list[str]] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        return Study.open("tiny", f"sqlite:///{self.folder / 'autokd.db'}")

    def look(self, name: str) -> None:
        study = self.study
        trials = study.ledger.trials()
        records = {t.number: r for t in trials if (r := record_of(t)) is not None}
        values = {t.number: t.values for t in trials if t.state.name == "COMPLETE"}
        self.seen[name] = Seen([t.state.name for t in trials], records, values, study.status())

    def hold(self, *whos: str, step: int = 24) -> None:
        """Make these stand still at a step, counted in their own process."""
        for who in whos:
            (self.folder / f"reached-{who}").unlink(missing_ok=True)
            part = self.folder / f"part-{who}"
            part.write_text(str(step))
            part.replace(self.folder / f"hold-{who}")

    def release(self) -> None:
        for file in self.folder.glob("hold-*"):
            file.unlink()

    def steps(self, who: str) -> list[int]:
        """Process ids, one for every training step that was begun."""
        file = self.folder / f"steps-{who}"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def wait(self, *whos: str, process: subprocess.Popen[str]) -> str:
        """Until one of them stands still."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            for who in whos:
                if (self.folder / f"reached-{who}").exists():
                    return who
            if process.poll() is not None:
                raise AssertionError(f"ended early: {process.communicate()}")
            time.sleep(0.05)
        raise AssertionError("never reached")

    def left_over(self, seconds: float = 60.0) -> list[str]:
        """Processes of this study that are still there after a while."""
        deadline = time.monotonic() + seconds
        while found := self.processes():
            if time.monotonic() > deadline:
                return [" ".join(p.cmdline()) for p in found]
            time.sleep(0.1)
        return []

    def processes(self) -> list[psutil.Process]:
        """By the folder for temporary files that every process of this study inherits."""
        found = []
        for process in psutil.process_iter():
            try:
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.environ().get("TMPDIR") == self.temporary:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def start(self, *args: str) -> subprocess.Popen[str]:
        return support.start(*args, cwd=self.folder, TMPDIR=self.temporary)

    def kill(self, process: subprocess.Popen[str], name: str) -> None:
        process.kill()
        process.communicate()
        self.orphans[name] = self.left_over()
        self.look(name)

    def end(self, process: subprocess.Popen[str], name: str, timeout: float = 300) -> None:
        out, err = process.communicate(timeout=timeout)
        self.ran[name] = support.Ran(process.returncode, out, err)
        self.look(name)


@contextmanager
def new_life(folder: Path, **changes: Any) -> Iterator[Life]:
    """A study file in a folder; afterwards nothing of it runs."""
    (folder / "held.py").write_text(FAMILY)
    space = {"family": "held:factory", "parameters": {"who": {"choice": ["a", "b", "c", "d"], "stage": "build"}}}
    teacher = {"family": "held:factory", "params": {"who": "teacher"}, "training": {"epochs": 7, "batch_size": 64}}
    known: dict[str, Any] = {"training__epochs": 7, "runner": "local", "budget": {"trials": 3}}
    support.write_study(folder, support.tiny(space=space, teacher=teacher, **(known | changes)))
    with tempfile.TemporaryDirectory(prefix="ak-", dir="/tmp") as temporary:  # short: Ray puts its sockets there
        life = Life(folder, temporary)
        try:
            yield life
        finally:
            life.release()
            for process in life.processes():
                process.kill()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """The whole story, told once; the tests look at its moments."""
    with new_life(tmp_path_factory.mktemp("life")) as life:
        tell(life)
        yield life


def tell(life: Life) -> None:
    life.hold("teacher")
    process = life.start("search", "study.yaml")
    life.wait("teacher", process=process)
    life.kill(process, "killed in teacher")

    life.release()
    life.hold(*"abcd")
    process = life.start("resume", "tiny")
    life.wait(*"abcd", process=process)
    process.send_signal(signal.SIGINT)
    life.end(process, "ctrl-c", timeout=180)
    life.orphans["ctrl-c"] = life.left_over()

    life.release()
    process = life.start("resume", "tiny")
    first = life.folder / ".autokd" / "studies" / "tiny" / "trials" / "00001" / "record.json"
    while process.poll() is None and not first.exists():
        time.sleep(0.02)
    life.hold(*"abcd")
    who = life.wait(*"abcd", process=process)
    life.ran["second driver"] = support.run_here("resume", "tiny", "--set", "budget.trials=99", cwd=life.folder)
    life.look("second driver")
    life.kill(process, "killed in trial")

    life.release()
    life.hold(who, step=2)
    process = life.start("resume", "tiny")
    life.wait(who, process=process)
    os.kill(life.steps(who)[-1], signal.SIGKILL)
    life.release()
    life.end(process, "worker killed")

    life.ran["finished"] = support.run_here("resume", "tiny", cwd=life.folder)
    life.look("finished")
    life.ran["one more"] = support.run_here("resume", "tiny", "--set", "budget.trials=+1", cwd=life.folder)
    life.look("one more")


def test_resume_finishes_the_teacher_from_its_checkpoint(life: Life) -> None:
    steps = life.steps("teacher")
    processes = list(dict.fromkeys(steps))
    assert len(processes) == 2
    assert steps.count(processes[0]) == 24
    assert STEPS - 24 <= steps.count(processes[1]) < STEPS - 4, "at most an epoch or half a second is done twice"
    assert life.seen["killed in teacher"].status["state"] == "interrupted"
    assert life.seen["killed in teacher"].records == {}


def test_no_process_outlives_its_driver(life: Life) -> None:
    assert life.orphans == {"killed in teacher": [], "ctrl-c": [], "killed in trial": []}


def test_no_finished_trial_is_lost_or_changed(life: Life) -> None:
    before, after = life.seen["killed in trial"], life.seen["one more"]
    assert before.values
    assert {n: after.values[n] for n in before.values} == before.values
    assert {n: after.records[n] for n in before.records} == before.records


def test_a_dead_driver_is_not_reported_as_searching(life: Life) -> None:
    assert life.seen["second driver"].status["state"] == "searching"
    assert life.seen["second driver"].status["running"]
    assert life.seen["killed in trial"].status["state"] == "interrupted"
    assert life.seen["killed in trial"].status["running"] == []


def test_interrupted_trial_is_queued_again(life: Life) -> None:
    trials = {t.number: t for t in life.study.ledger.trials()}
    ended = life.seen["one more"].records
    interrupted = [n for n, r in ended.items() if r.outcome == Outcome.INTERRUPTED]
    assert len(interrupted) == 2
    for number in interrupted:
        assert trials[number].state.name == "FAIL"
        [successor] = [t for t in trials.values() if t.user_attrs.get(RETRY_KEY) == number]
        assert ended[successor.number].params == ended[number].params


def test_killed_worker_is_on_record_and_retried_once(life: Life) -> None:
    ended = life.seen["one more"].records
    [(number, lost)] = [(n, r) for n, r in ended.items() if r.outcome == Outcome.FAILED]
    assert (lost.cause, lost.failed_stage) == ("lost_worker", "distill")
    assert "exit code -9" in str(lost.detail)
    [successor] = [t for t in life.study.ledger.trials() if t.user_attrs.get(RETRY_KEY) == number]
    assert ended[successor.number].outcome == Outcome.MEASURED


def test_no_candidate_is_evaluated_twice_and_the_budget_is_met(life: Life) -> None:
    for moment, budget in (("worker killed", 3), ("one more", 4)):
        seen = life.seen[moment]
        measured = [Candidate(r.params).key() for r in seen.records.values() if r.outcome == Outcome.MEASURED]
        assert len(measured) == len(set(measured)) == seen.status["counted"] == budget
        assert life.ran[moment].code == 0 and f"the budget of {budget} trials is spent" in life.ran[moment].stderr


def test_interrupted_training_goes_on_from_its_checkpoint(life: Life) -> None:
    """Killed with its driver and then with its worker at step 24, the candidate needs few steps more in the end."""
    steps = [life.steps(who) for who in "abcd"]
    [hard] = [s for s in steps if len(set(s)) == 3]
    first, second, third = dict.fromkeys(hard)
    assert hard.count(first) == 24
    assert hard.count(second) < STEPS and hard.count(third) < STEPS
    assert all(len(s) == STEPS for s in steps if len(set(s)) == 1)


def test_second_driver_is_refused_and_changes_nothing(life: Life) -> None:
    ran = life.ran["second driver"]
    assert ran.code == 2 and not ran.stdout
    [message] = ran.errors
    assert "one live driver" in message
    assert life.seen["second driver"].status["budget"]["trials"] == 3


def test_resume_of_a_finished_study_says_so(life: Life) -> None:
    ran = life.ran["finished"]
    assert ran.code == 0
    assert "finished" in ran.stderr and "the budget of 3 trials is spent" in ran.stderr
    assert life.seen["finished"].values == life.seen["worker killed"].values


def test_ctrl_c_leaves_a_clean_ledger(life: Life) -> None:
    ran, seen = life.ran["ctrl-c"], life.seen["ctrl-c"]
    assert ran.code == 130
    assert "Traceback" not in ran.stderr and "autokd resume" in ran.stderr
    assert [r.outcome for r in seen.records.values()] == [Outcome.INTERRUPTED]
    assert seen.states == ["FAIL", "WAITING"]
    assert seen.status["state"] == "interrupted" and seen.status["running"] == []


@pytest.mark.slow
def test_ray(tmp_path: Path) -> None:
    """The same under Ray: driver killed in a trial, its worker killed, then the end; Ray's own processes included."""
    with new_life(tmp_path, runner="ray", budget={"trials": 2}) as life:
        life.hold(*"abcd")
        process = life.start("search", "study.yaml")
        who = life.wait(*"abcd", process=process)
        life.kill(process, "killed")
        assert life.orphans["killed"] == []

        life.release()
        life.hold(who, step=2)
        process = life.start("resume", "tiny")
        life.wait(who, process=process)
        os.kill(life.steps(who)[-1], signal.SIGKILL)
        life.release()
        life.end(process, "ended")
        assert life.ran["ended"].code == 0, life.ran["ended"].stderr
        records = life.seen["ended"].records
        outcomes = [r.outcome for r in records.values()]
        assert outcomes.count(Outcome.INTERRUPTED) == 1
        assert [r.cause for r in records.values() if r.outcome == Outcome.FAILED] == ["lost_worker"]
        measured = [Candidate(r.params).key() for r in records.values() if r.outcome == Outcome.MEASURED]
        assert len(set(measured)) == len(measured) == life.seen["ended"].status["counted"] == 2
        assert life.left_over() == []
