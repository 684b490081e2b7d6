"""What a candidate may do to its worker: each way of failing is on record with its cause, and the search goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from autokd.storage.attributes import RETRY_KEY
from autokd.storage.ledger import record_of
from autokd.study.study import Study
from autokd.trial import Outcome, Stage, TrialRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # one test waits for the whole search

FAMILY = """
import ctypes, os, sys, time
import torch
from torch import nn

def act(mood):
    if mood == "raises":
        raise RuntimeError("what a person's own code may say")
    if mood == "hangs":
        time.sleep(3600)
    if mood == "eats":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 20)) * 64)
            time.sleep(0.01)
    if mood == "exits":
        os._exit(7)
    if mood == "crashes":
        ctypes.string_at(0)
    if mood == "leaves":
        sys.exit(3)
    if mood == "prints":
        print('{"number": 0, "record": "not a record"}')
        os.write(1, b"{\\n")

class Moody(nn.Module):
    def __init__(self, mood, features, classes):
        super().__init__()
        self.mood, self.body = mood, nn.Sequential(nn.Flatten(), nn.Linear(features, classes))

    def forward(self, x):
        if self.training and "_" not in self.mood:
            act(self.mood)
        y = self.body(x)
        return y * float("nan") if self.training and self.mood == "diverges" else y

def factory(params, spec, classes):
    mood = params["mood"]
    if mood.startswith("early_"):
        act(mood.removeprefix("early_"))
    features = 1
    for n in spec.shape:
        features *= n
    return Moody(mood, features, classes)
"""

EXPECTED = {
    "good": (Outcome.MEASURED, None, None),
    "prints": (Outcome.MEASURED, None, None),
    "raises": (Outcome.FAILED, Stage.DISTILL, "error"),
    "diverges": (Outcome.FAILED, Stage.DISTILL, "diverged"),
    "hangs": (Outcome.FAILED, Stage.DISTILL, "timeout"),
    "eats": (Outcome.FAILED, Stage.DISTILL, "out_of_memory"),
    "crashes": (Outcome.FAILED, Stage.DISTILL, "lost_worker"),
    "early_raises": (Outcome.FAILED, Stage.BUILD, "error"),
}
TWICE = ("eats", "crashes")


def moody(name: str, moods: list[str]) -> dict[str, Any]:
    return {"family": f"{name}:factory", "parameters": {"mood": {"choice": moods, "stage": "build"}}}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished search over every mood, two at a time."""
    import support

    folder = tmp_path_factory.mktemp("faults")
    (folder / "faulty.py").write_text(FAMILY)
    changes = {
        "space": moody("faulty", list(EXPECTED)),
        "runner": "local",
        "concurrency": 2,
        "budget": {"trials": 50, "trial_s": 30, "failures_in_a_row": 50},
        "resources__memory_gb": 1.0,
    }
    support.write_study(folder, support.tiny(**changes))
    ran = support.run_process("search", "study.yaml", "--json", cwd=folder, timeout=600)
    assert ran.code == 0, ran.stderr
    return Study.open("tiny", f"sqlite:///{folder / 'autokd.db'}")


def trials_of(study: Study, mood: str) -> list[tuple[optuna.trial.FrozenTrial, TrialRecord]]:
    found = [(t, record_of(t)) for t in study.ledger.trials()]
    return [(t, r) for t, r in found if r and r.params["mood"] == mood and r.outcome != Outcome.DUPLICATE]


@pytest.mark.parametrize("mood", EXPECTED)
def test_recorded_with_stage_and_cause(faults: Study, mood: str) -> None:
    outcome, stage, cause = EXPECTED[mood]
    found = trials_of(faults, mood)
    assert [(r.outcome, r.failed_stage, r.cause) for _, r in found] == [(outcome, stage, cause)] * len(found)
    assert len(found) == (2 if mood in TWICE else 1)
    for trial, record in found:
        failed = record.outcome == Outcome.FAILED
        assert trial.state.name == ("FAIL" if failed else "COMPLETE")
        assert bool(record.detail) == failed
        assert (Path(str(record.folder)) / "error.txt").exists() == failed


@pytest.mark.parametrize("mood", TWICE)
def test_lost_worker_and_memory_are_retried_once(faults: Study, mood: str) -> None:
    (first, before), (second, after) = trials_of(faults, mood)
    assert second.user_attrs[RETRY_KEY] == first.number
    assert before.notes.get("retried") and not after.notes.get("retried")


@pytest.mark.parametrize("mood", ["raises", "early_raises"])
def test_detail_and_traceback_say_what_happened(faults: Study, mood: str) -> None:
    [(_, record)] = trials_of(faults, mood)
    assert "what a person's own code may say" in str(record.detail)
    text = (Path(str(record.folder)) / "error.txt").read_text()
    assert "Traceback" in text and "faulty.py" in text


def test_only_what_began_training_counts(faults: Study) -> None:
    status = faults.status()
    began = [m for m in EXPECTED if not m.startswith("early_")]
    assert status["counted"] == len(began)
    assert status["state"] == f"finished: all {len(EXPECTED)} candidates of the space were evaluated"
    assert next(m.params["mood"] for m in faults.front()) in ("good", "prints")


def test_same_failure_again_and_again_stops_the_study(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Any]
) -> None:
    (tmp_path / "hopeless.py").write_text(FAMILY)
    space = moody("hopeless", ["diverges"])
    space["parameters"]["lr"] = {"float": [0.1, 0.2], "stage": "distill"}
    study_in(tmp_path, space=space, budget={"trials": 20, "failures_in_a_row": 3})
    ran = run_cli("search", "study.yaml", cwd=tmp_path)
    assert ran.code == 2
    [message] = ran.errors
    assert "must not fail the same way 3 times in a row" in message
    assert "distill: diverged" in message and "the loss was not finite" in message and "error.txt" in message
    status = Study.open("tiny", f"sqlite:///{tmp_path / 'autokd.db'}").status()
    assert (status["outcomes"]["failed"], status["outcomes"]["measured"], status["state"]) == (3, 0, "stopped")


def test_candidates_that_never_build_are_refused_before_a_study_is_made(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Any]
) -> None:
    """The pre-flight tries candidates in a process of its own: one that takes it along is a message, not a crash."""
    (tmp_path / "lethal.py").write_text(FAMILY)
    study_in(tmp_path, space=moody("lethal", ["early_exits", "early_raises"]))
    ran = run_cli("search", "study.yaml", cwd=tmp_path)
    assert ran.code == 2 and len(ran.errors) == 1
    assert "must build and export" in ran.stderr and "exit code 7" in ran.stderr
    assert not (tmp_path / "autokd.db").exists() and not (tmp_path / ".autokd").exists()


def test_full_disk_stops_the_study_and_resume_goes_on(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    study_in(tmp_path, budget__trials=2)
    with monkeypatch.context() as patched:
        patched.setattr("autokd.evaluation.stages.training.save_file", full)
        ran = run_cli("search", "study.yaml", cwd=tmp_path)
    assert ran.code == 2
    [message] = ran.errors
    assert "must be writable" in message and "No space left" in message and "autokd resume" in message
    study = Study.open("tiny", f"sqlite:///{tmp_path / 'autokd.db'}")
    assert study.status()["outcomes"]["interrupted"] == 1 and study.status()["outcomes"]["failed"] == 0
    assert run_cli("resume", "tiny", cwd=tmp_path).code == 0
    assert study.status()["counted"] == study.status()["outcomes"]["measured"] == 2
