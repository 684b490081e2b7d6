"""Halving in real searches: real trainings that rest, go on and are stopped, under every runner."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from support import run_here, tiny, write_study

import autokd
from autokd.storage.ledger import record_of
from autokd.trial import Outcome, Stage, StageRecord, TrialRecord

SPACE: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"choice": [8, 24], "stage": "build"},
        "lr": {"choice": [0.4, 0.3, 0.2, 0.0006, 0.0005, 0.0004, 0.0003], "stage": "distill"},
    },
    "fixed": {"stem_stride": 2, "stem_width": 8, "stages": 1, "depth_1": 1, "block_1": "plain"},
}
"""Half of its candidates learn nothing, at the cost of those that do."""
TRAINING = {"epochs": 10, "batch_size": 32, "augment": "none", "views": 1}


def values(**more: Any) -> dict[str, Any]:
    known = {"space": SPACE, "training": TRAINING, "search": {"stop_early": "halving"}, "data__limit": 512}
    return tiny(**(known | {"budget__trials": 12, "seed": 3} | more))


def ended(study: autokd.Study) -> dict[int, TrialRecord]:
    return {t.number: r for t in study.ledger.trials() if (r := record_of(t)) is not None}


def distilled(record: TrialRecord) -> StageRecord:
    [stage] = [s for s in record.stages if s.stage == Stage.DISTILL]
    return stage


def check_search(study: autokd.Study) -> list[int]:
    """Bad rates are stopped at a share, with curve and costs on record, and cost less; returns the stopped trials."""
    records = ended(study)
    assert {r.outcome for r in records.values()} <= {Outcome.MEASURED, Outcome.STOPPED, Outcome.DUPLICATE}, records
    stopped = [n for n, r in records.items() if r.outcome == Outcome.STOPPED]
    assert any(float(records[n].params["lr"]) < 0.001 for n in stopped)
    for number in stopped:
        record = records[number]
        assert record.value("latency_ms@cpu_1_thread") and record.value("accuracy") is None
        assert record.rested_at <= record.notes["curve"][-1][0] < 1
        assert {s.stage for s in record.stages} == {Stage.BUILD, Stage.SCREEN, Stage.DISTILL}
        assert (study.home / "trials" / f"{number:05d}" / "curve.json").exists()
    wide = [r for r in records.values() if r.params["width_1"] == 24 and r.continues is None]
    costs = {o: [distilled(r).cpu_s for r in wide if r.outcome == o] for o in (Outcome.MEASURED, Outcome.STOPPED)}
    if costs[Outcome.STOPPED]:  # a third of the training; the seconds of one on a busy core are luck, their mean is not
        assert fmean(costs[Outcome.STOPPED]) < 0.8 * fmean(costs[Outcome.MEASURED])
    assert study.status()["outcomes"]["stopped"] == len(stopped)
    assert study.status()["counted"] == 12
    return stopped


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study, its trials run inline."""
    folder = tmp_path_factory.mktemp("halving")
    write_study(folder, values(budget__trials=12))
    ran = run_here("search", "study.yaml", cwd=folder)
    assert ran.code == 0, ran.stderr
    assert "stopped early" in ran.stderr
    return folder


def opened(folder: Path) -> autokd.Study:
    return autokd.open_study("tiny", f"sqlite:///{folder / 'autokd.db'}")


@pytest.mark.slow
def test_hopeless_candidates_are_stopped(searched: Path) -> None:
    check_search(opened(searched))


@pytest.mark.slow
def test_a_stopped_trial_is_finished_from_its_checkpoint(searched: Path, tmp_path: Path) -> None:
    """It pays the rest; its curve goes on where the stopped one's ended. Its training does not take a number of samples."""
    study = opened(searched)
    number, before = next((n, r) for n, r in ended(study).items() if r.outcome == Outcome.STOPPED)
    refused = run_here("finish", "tiny", "--trial", str(number), "--samples", "100", cwd=searched)
    assert refused.code == 2 and "a stopped trial takes none" in refused.stderr
    assert run_here("gc", "tiny", cwd=searched).code == 0
    ran = run_here("finish", "tiny", "--trial", str(number), cwd=searched)
    assert ran.code == 0, ran.stderr
    child = max(ended(study))
    after = ended(study)[child]
    assert after.outcome == Outcome.MEASURED and after.continues == number and after.params == before.params
    points = len(before.notes["curve"])
    assert after.notes["curve"][:points] == before.notes["curve"] and after.notes["curve"][-1][0] == 1.0
    assert "goes on with" in ran.stdout and f"trial {number}" in ran.stdout
    again = run_here("finish", "tiny", "--trial", str(child), cwd=searched)
    assert again.code == 2 and "`samples` must say how long" in again.stderr
    assert study.status()["counted"] == 12


@pytest.mark.slow
def test_a_stopped_trial_without_its_checkpoint_is_refused(searched: Path) -> None:
    study = opened(searched)
    continued = {r.continues for r in ended(study).values()}
    number, record = next(
        (n, r) for n, r in ended(study).items() if r.outcome == Outcome.STOPPED and n not in continued
    )
    shutil.rmtree(study.home / "stages" / f"distill-{distilled(record).key[:40]}.work")
    ran = run_here("finish", "tiny", "--trial", str(number), cwd=searched)
    assert ran.code == 2 and f"the checkpoint of trial {number} must be in the stage store" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["local", "ray"])
def test_every_runner_asks_the_same_rule(tmp_path: Path, runner: str) -> None:
    url = f"sqlite:///{tmp_path / 'autokd.db'}"
    study = autokd.search(values(runner=runner, concurrency=2, storage={"url": url}))
    check_search(study)
