"""The reader: what it reads is what the ledger's own objects say, and it reads only what is new."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
import sqlalchemy

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.errors import StorageError, StudyError
from autokd.storage.attributes import DRIVER_KEY, RECORD_KEY, STATE_KEY
from autokd.storage.reader import TrialReader
from autokd.storage.summaries import overview
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, StageRecord, TrialRecord, Violation
from tests.support import tiny

LATENCY = "latency_ms@cpu_1_thread"


def create(folder: Path, name: str = "read") -> Study:
    url = f"sqlite:///{folder / 'autokd.db'}"
    return Study.create(make_plan(from_dict(tiny(name=name, storage={"url": url}))), url)


def measured(k: int, cached: bool = False, violations: tuple[Violation, ...] = ()) -> TrialRecord:
    measurements = (
        Measurement("accuracy", 0.5 + k / 100, "ratio", spread=0.01),
        Measurement("latency_ms", 0.01 * (k + 1), "ms", "cpu_1_thread", 0.02),
    )
    stages = (StageRecord("build", f"b{k}", 0.1), StageRecord("distill", "shared", 4.0, 3.0, cached=cached))
    params = {"width_1": 8, "prune_1": 0.25 * (k % 2)}
    return TrialRecord(Outcome.MEASURED, params, measurements, violations, stages, began_training=True)


def finish(study: Study, record: TrialRecord) -> int:
    trial = study.optuna_study.ask()
    values = [record.value("accuracy"), record.value(LATENCY)]
    study.ledger.finish(trial, record, values if record.outcome == Outcome.MEASURED else None)
    return int(trial.number)


def test_columns_are_what_the_records_say(tmp_path: Path) -> None:
    study = create(tmp_path)
    finish(study, measured(0))
    finish(study, measured(1, cached=True))
    finish(
        study, TrialRecord(Outcome.INFEASIBLE, {"width_1": 16}, violations=(Violation("size_bytes <= 9", 12.0, 3.0),))
    )
    finish(study, TrialRecord(Outcome.FAILED, began_training=True, failed_stage="distill", cause="diverged"))
    frame = TrialReader(study.ledger.url, "read").frame
    assert frame["number"].tolist() == [0, 1, 2, 3]
    assert frame["outcome"].tolist() == ["measured", "measured", "infeasible", "failed"]
    assert frame["feasible"].tolist() == [True, True, False, False]
    assert frame["accuracy"].tolist()[:2] == [0.5, 0.51] and frame["accuracy"].isna().tolist()[2:] == [True, True]
    assert frame[f"{LATENCY}_error"].tolist()[:2] == pytest.approx([0.0002, 0.0004])  # a time's spread is relative
    assert frame["accuracy_error"].tolist()[:2] == [0.01, 0.01]
    assert frame["pruned"].tolist()[:2] == ["whole", "pruned"]
    assert frame["cpu_s"].tolist() == [3.0, 0.0, 0.0, 0.0]
    assert frame["saved_cpu_s"].tolist() == [0.0, 3.0, 0.0, 0.0]  # what the first one paid for
    assert frame["violation"].tolist()[2] == "size_bytes <= 9" and frame["cause"].tolist()[3] == "diverged"
    assert (frame["ended"] >= frame["begun"]).all() and abs(frame["ended"].max() - time.time()) < 60


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    study = create(tmp_path)
    finish(study, measured(0))
    reader = TrialReader(study.ledger.url, "read")
    asked: list[object] = []
    sqlalchemy.event.listen(
        reader._engine, "before_cursor_execute", lambda *a: asked.append(a[3]) if "trial_user_attributes" in a[2] else None
    )  # fmt: skip
    before = reader.frame
    assert reader.refresh() is False and reader.frame is before and not asked
    running = study.optuna_study.ask()
    assert reader.refresh() is False and [r.number for r in reader.running] == [1]
    finish(study, measured(2))
    assert reader.refresh() is True and [r.number for r in reader.running] == [1] and len(asked) == 1
    study.ledger.finish(running, measured(1), [0.5, 0.02])
    assert reader.refresh() is True and reader.running == ()
    assert sorted(reader.frame["number"]) == [0, 1, 2]
    assert len(before) == 1  # what a page holds does not change under it


def test_it_agrees_with_the_study_on_the_front(tmp_path: Path) -> None:
    study = create(tmp_path)
    rng = np.random.default_rng(0)
    for k in rng.permutation(40):
        finish(study, measured(int(k), violations=(Violation("x <= 1", 2.0, 1.0),) if k % 5 == 0 else ()))
    reader = TrialReader(study.ledger.url, "read")
    students = reader.frame[reader.frame["feasible"]]
    assert students["number"].tolist() == [m.number for m in study.members()]
    first = study.members()[0]
    assert reader.member(first.number, study.plan.objectives) == first


def test_two_studies_in_a_ledger_are_kept_apart(tmp_path: Path) -> None:
    one, two = create(tmp_path, "one"), create(tmp_path, "two")
    for k in range(6):
        finish((one, two)[k % 2], measured(k))
    frame = TrialReader(one.ledger.url, "two").frame
    assert frame["number"].tolist() == [0, 1, 2] and frame["accuracy"].tolist() == pytest.approx([0.51, 0.53, 0.55])


def test_a_damaged_record_and_a_foreign_trial_are_rows_without_an_outcome(tmp_path: Path) -> None:
    study = create(tmp_path)
    trial = study.optuna_study.ask()
    trial.set_user_attr(RECORD_KEY, "{half")
    study.optuna_study.tell(trial, [0.1, 0.2])
    study.optuna_study.add_trial(optuna.trial.create_trial(values=[0.2, 0.3]))
    reader = TrialReader(study.ledger.url, "read")
    assert reader.frame["outcome"].tolist() == [None, None] and not reader.frame["feasible"].any()
    assert reader.record(0) is None
    with pytest.raises(StudyError, match="must be measured"):
        reader.member(0, study.plan.objectives)


def test_what_follows_from_the_frame_is_made_once_until_it_grows(tmp_path: Path) -> None:
    study = create(tmp_path)
    finish(study, measured(0))
    reader, made = TrialReader(study.ledger.url, "read"), []
    for _ in range(3):
        assert reader.seen.once("length", lambda: made.append(1) or len(reader.frame)) == 1
    finish(study, measured(1))
    reader.refresh()
    assert reader.seen.once("length", lambda: made.append(1) or len(reader.frame)) == 2 and len(made) == 2


def test_readers_of_many_threads(tmp_path: Path) -> None:
    study = create(tmp_path)
    reader = TrialReader(study.ledger.url, "read")
    threads = [threading.Thread(target=lambda: [reader.refresh() for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for k in range(10):
        finish(study, measured(k))
    for thread in threads:
        thread.join()
    reader.refresh()
    assert reader.frame["number"].tolist() == list(range(10))


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    study = create(tmp_path)
    with pytest.raises(StudyError, match="must be in the ledger"):
        TrialReader(study.ledger.url, "none")
    reader = TrialReader(study.ledger.url, "read")
    optuna.delete_study(study_name="read", storage=study.ledger.url)
    with pytest.raises(StudyError, match="deleted"):
        reader.refresh()
    with pytest.raises(StorageError):
        TrialReader(f"sqlite:///{tmp_path}/no/such/folder/x.db", "read")


def test_an_overview_of_a_ledger(tmp_path: Path) -> None:
    one, two = create(tmp_path, "one"), create(tmp_path, "two")
    for k in range(3):
        finish(one, measured(k))
    finish(one, TrialRecord(Outcome.FAILED))
    two.ledger.set_attr(STATE_KEY, "searching")
    two.ledger.set_attr(DRIVER_KEY, {"beat": time.time()})
    one.ledger.set_attr(STATE_KEY, "finished: enough")
    optuna.create_study(storage=one.ledger.url, study_name="a stranger's")
    newest, oldest = overview(one.ledger.url)
    assert (newest.name, newest.state, newest.live, newest.has_front) == ("two", "searching", True, False)
    assert (oldest.name, oldest.state, oldest.reason, oldest.live) == ("one", "finished", "enough", False)
    assert oldest.counts == {"COMPLETE": 3, "FAIL": 1} and oldest.has_front
    assert oldest.best == pytest.approx({"accuracy": 0.52, LATENCY: 0.01})
    two.ledger.set_attr(DRIVER_KEY, {"beat": 1.0})
    assert overview(one.ledger.url)[0].state == "interrupted"


def test_a_study_draws_its_own_front(tmp_path: Path) -> None:
    study = create(tmp_path)
    for k in range(4):
        finish(study, measured(k, violations=(Violation("x <= 1", 2.0, 1.0),) if k == 3 else ()))
    figure = study.plot_front(colour="pruned")
    points = {t.name: [c[0] for c in t.customdata] for t in figure.data if t.customdata is not None}
    assert points == {"pruned": [1], "whole": [0, 2]}
    with pytest.raises(StudyError, match="measured on the profile"):
        study.plot_front(profile="elsewhere")
    with pytest.raises(ValueError, match="must have a column"):
        study.plot_front(colour="none")


def test_an_error_while_reading_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = create(tmp_path)
    reader = TrialReader(study.ledger.url, "read")
    finish(study, measured(0))
    real = reader._records

    def locked(*_: object) -> object:
        raise sqlalchemy.exc.OperationalError("SELECT", {}, Exception("database is locked"))

    monkeypatch.setattr(reader, "_records", locked)
    with pytest.raises(StorageError, match="locked"):
        reader.refresh()
    monkeypatch.setattr(reader, "_records", real)
    assert reader.refresh() is True and reader.frame["number"].tolist() == [0]


def test_a_record_of_another_make_is_a_row_without_an_outcome(tmp_path: Path) -> None:
    study = create(tmp_path)
    trial = study.optuna_study.ask()
    trial.set_user_attr(RECORD_KEY, '{"outcome": "measured", "stages": [{"stage": "build"}]}')
    study.optuna_study.tell(trial, [0.1, 0.2])
    finish(study, measured(1))
    frame = TrialReader(study.ledger.url, "read").frame
    assert frame["outcome"].isna().tolist() == [True, False] and frame["feasible"].tolist() == [False, True]
