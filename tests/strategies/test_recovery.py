"""A driver that died between two writes: whatever half it left, the next one finishes it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.files import write_atomic
from autokd.storage.attributes import EDITED_KEY, RECORD_KEY, RETRY_KEY
from autokd.storage.ledger import record_of
from autokd.strategies.driver import Driver
from autokd.strategies.job import Job
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord


def new_study(folder: Path, **changes: Any) -> Study:
    url = f"sqlite:///{folder / 'autokd.db'}"
    known = {"constraints": ["size_bytes <= 1 MB"], "budget__trials": 4}
    return Study.create(make_plan(from_dict(tiny(storage={"url": url}, **(known | changes)))), url)


def drive(study: Study) -> Driver:
    return Driver(study.ledger, study.plan, study.home)


def measured(job: Job) -> TrialRecord:
    values = {"accuracy": 0.5, "size_bytes": 1000.0, "latency_ms": 0.01}
    found = [Measurement(m, v, "", "cpu_1_thread" if m == "latency_ms" else None) for m, v in values.items()]
    return TrialRecord(Outcome.MEASURED, job.candidate.params, tuple(found), began_training=True)


def failed(job: Job, cause: str) -> TrialRecord:
    return TrialRecord(Outcome.FAILED, job.candidate.params, began_training=True, failed_stage="distill", cause=cause)


def given(driver: Driver) -> Job:
    job = driver.next()
    assert job is not None
    return job


def outcomes(study: Study) -> list[str]:
    return [r.outcome.value if (r := record_of(t)) else t.state.name for t in study.ledger.trials()]


@pytest.mark.parametrize("constraint_too", [False, True])
def test_record_written_but_state_not_told(tmp_path: Path, constraint_too: bool) -> None:
    study = new_study(tmp_path)
    driver = drive(study)
    job = given(driver)
    trial, _ = driver.running[job.number]
    if constraint_too:
        trial.set_constraint("size_bytes <= 1000000", -999000.0)
    trial.set_user_attr(RECORD_KEY, measured(job).to_json())
    tally = drive(study).tally()
    assert (tally.counted, tally.measured, tally.failed) == (1, 1, 0)
    [told] = study.ledger.trials()
    assert told.state.name == "COMPLETE" and told.values == [0.5, 0.01]
    assert told.constraints == {"size_bytes <= 1000000": -999000.0}


def test_worker_finished_but_driver_did_not_hear(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    job = given(drive(study))
    write_atomic(job.folder / "record.json", measured(job).to_json())
    again = drive(study)
    assert again.tally().measured == 1 and outcomes(study) == ["measured"]
    assert given(again).candidate != job.candidate


def test_record_of_an_older_ledger_is_not_adopted(tmp_path: Path) -> None:
    """The same first candidate in the same folder: without its ledger the old record says nothing."""
    study = new_study(tmp_path)
    job = given(drive(study))
    write_atomic(job.folder / "record.json", measured(job).to_json())
    (tmp_path / "autokd.db").unlink()
    study = new_study(tmp_path)
    same = given(drive(study))
    assert same == job
    assert drive(study).tally().measured == 0
    assert outcomes(study) == ["interrupted", "WAITING"]


def test_interrupted_again_and_again_stays_one_candidate(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    jobs = [given(drive(study)) for _ in range(3)]
    assert {j.candidate.key() for j in jobs} == {jobs[0].candidate.key()}
    driver = drive(study)
    job = given(driver)
    driver.complete(job, measured(job))
    assert outcomes(study) == ["interrupted"] * 3 + ["measured"]
    assert [t.user_attrs.get(RETRY_KEY) for t in study.ledger.trials()] == [None, 0, 1, 2]
    assert given(driver).candidate != job.candidate


def test_killed_between_taking_a_queued_candidate_and_asking_its_parameters(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    job = given(drive(study))
    drive(study)
    trial = study.optuna_study.ask()  # takes the queued one, then dies
    assert trial.user_attrs[RETRY_KEY] == job.number and trial.params == {}
    assert given(drive(study)).candidate == job.candidate


@pytest.mark.parametrize("outcome", ["interrupted", "lost_worker"])
def test_killed_between_the_end_of_a_trial_and_queueing_it_again(
    tmp_path: Path, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(tmp_path)
    driver = drive(study)
    job = given(driver)
    with monkeypatch.context() as patched:
        patched.setattr(driver.ledger, "enqueue", lambda *args, **more: None, raising=True)
        if outcome == "interrupted":
            driver.interrupt_all()
        else:
            driver.complete(job, failed(job, outcome))
    del driver
    study = Study.open("tiny", study.ledger.url)
    again = given(drive(study))
    assert again.candidate == job.candidate
    assert len(study.ledger.trials()) == 2


def test_lost_worker_is_retried_once_also_when_interrupted_in_between(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    jobs = [given(drive(study))]  # interrupted first: that is no failure of the candidate's
    driver = drive(study)
    jobs.append(given(driver))
    driver.complete(jobs[-1], failed(jobs[-1], "lost_worker"))
    jobs.append(given(driver))  # the second try is interrupted
    driver = drive(study)
    jobs.append(given(driver))
    driver.complete(jobs[-1], failed(jobs[-1], "lost_worker"))
    assert len({j.candidate.key() for j in jobs}) == 1
    assert given(driver).candidate != jobs[0].candidate
    assert outcomes(study)[:4] == ["interrupted", "failed", "interrupted", "failed"]
    assert driver.tally().counted == 1, "a failure that is tried again does not count"


def test_the_budget_is_neither_missed_nor_overshot(tmp_path: Path) -> None:
    study = new_study(tmp_path, budget__trials=3)
    driver = drive(study)
    first, second, third = given(driver), given(driver), given(driver)
    assert driver.next() is None, "three may begin training, and all three are running"
    driver.complete(first, failed(first, "lost_worker"))
    retry = given(driver)
    assert driver.next() is None
    for job in (second, retry):
        driver.complete(job, measured(job))
    driver = drive(study)  # the third is interrupted
    last = given(driver)
    assert last.candidate == third.candidate and driver.next() is None
    driver.complete(last, measured(last))
    assert driver.finished() == "the budget of 3 trials is spent"


def test_a_small_space_is_searched_to_its_end_retries_included(tmp_path: Path) -> None:
    space = tiny()["space"] | {"parameters": {"width_1": {"choice": [8, 12], "stage": "build"}}}
    driver = drive(new_study(tmp_path, space=space, budget__trials=9))
    first, second = given(driver), given(driver)
    driver.complete(first, measured(first))
    assert driver.next() is None and driver.finished() is None, "the second may yet be tried again"
    driver.complete(second, failed(second, "out_of_memory"))
    retry = given(driver)
    assert retry.candidate == second.candidate
    driver.complete(retry, measured(retry))
    assert driver.next() is None
    assert driver.finished() == "all 2 candidates of the space were evaluated"


def test_outcome_after_an_interruption_is_ignored(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    driver = drive(study)
    job = given(driver)
    driver.interrupt_all()
    driver.complete(job, measured(job))
    assert outcomes(study) == ["interrupted", "WAITING"]


def test_ledgers_in_one_folder_do_not_share_a_study_folder(tmp_path: Path) -> None:
    from autokd.errors import StudyError
    from autokd.storage.folders import new_home

    one, other = (f"sqlite:///{tmp_path / name}" for name in ("one.db", "other.db"))
    optuna.create_study(storage=one, study_name="x")
    home = tmp_path / ".autokd" / "studies" / "tiny"
    with new_home(home, one):
        (home / "trials").mkdir()
    with pytest.raises(StudyError, match=r"must be its own.*one\.db"), new_home(home, other):
        raise AssertionError("entered")
    assert (home / "trials").exists(), "the other study's files are left alone"
    (tmp_path / "one.db").unlink()
    with new_home(home, other):
        assert not (home / "trials").exists(), "nobody owns them any more"


def test_what_edited_code_of_a_person_judged_is_not_known_any_more(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    driver = drive(study)
    job = driver.next()
    assert job is not None
    driver.complete(job, measured(job))
    assert drive(study).known == {job.candidate.key(): job.number}
    study.ledger.set_attr(EDITED_KEY, len(study.ledger.trials()))
    assert drive(study).known == {}, "the same candidate is another student now"
