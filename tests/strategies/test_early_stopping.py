"""Whole studies with halving on a fake clock: the real driver and ledger, simulated trainings."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.errors import ConfigError
from autokd.pareto import hypervolume
from autokd.runners.evaluator import going_on, lost_record
from autokd.storage.attributes import CONFIG_KEY, RECORD_KEY
from autokd.storage.ledger import record_of
from autokd.storage.stage_store import StageStore
from autokd.strategies.driver import Driver
from autokd.strategies.early_stopping import resting_folders
from autokd.study.study import Study
from autokd.testing.simulation import FakeClock, SimulatedCurve, curve_to, simulate
from autokd.trial import RESTED, Outcome, ParamValue, StageRecord, TrialRecord

SPACE: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"int": [4, 64], "stage": "build"},
        "lr": {"float": [0.01, 0.4], "log": True, "stage": "distill"},
    },
    "fixed": {"stem_stride": 2, "stem_width": 8, "stages": 1, "depth_1": 1, "block_1": "plain"},
}
HALVING = {"stop_early": "halving"}


def curve_of(params: Mapping[str, ParamValue]) -> SimulatedCurve:
    """Wide nets are slow and good, a rate far from .1 is bad; the rest is luck that belongs to the candidate."""
    rng = np.random.default_rng(zlib.crc32(json.dumps(dict(params), sort_keys=True).encode()))
    decades = (float(params["width_1"]) - 4) / 30
    end = 1.2 + 0.6 * decades - 1.5 * np.log10(float(params["lr"]) / 0.1) ** 2 + 0.3 * rng.standard_normal()
    return curve_to(float(end), 0.6, decades, rng)


def new_study(folder: Path, **changes: Any) -> Study:
    url = f"sqlite:///{folder / 'autokd.db'}"
    known = {"search": HALVING, "space": SPACE, "budget__trials": 40, "sampler": "optuna:random"}
    return Study.create(make_plan(from_dict(tiny(storage={"url": url}, **(known | changes)))), url)


def run(study: Study, concurrency: int = 2, **more: Any) -> Driver:
    clock = FakeClock()
    driver = Driver(study.ledger, study.plan, study.home, clock=clock)
    simulate(driver, curve_of, clock, concurrency, **more)
    return driver


def records(study: Study) -> dict[int, TrialRecord]:
    return {t.number: r for t in study.ledger.trials() if (r := record_of(t)) is not None}


def candidates(study: Study) -> dict[str, list[TrialRecord]]:
    found: dict[str, list[TrialRecord]] = {}
    for record in records(study).values():
        if record.outcome in (Outcome.STOPPED, Outcome.MEASURED):
            found.setdefault(record.candidate.key(), []).append(record)
    return found


def check_paid_once(study: Study) -> None:
    """Each candidate's trials, an interrupted one's as well, paid together for exactly what was trained of it."""
    paid: dict[str, float] = {}
    for record in records(study).values():
        paid[record.candidate.key()] = paid.get(record.candidate.key(), 0.0) + record.cpu_s
    for key, trials in candidates(study).items():
        curve = curve_of(trials[0].params)
        reached = max(r.notes["curve"][-1][0] for r in trials)
        assert paid[key] == pytest.approx(curve.cpu_s * reached)


@pytest.mark.parametrize(
    "sampler", ["optuna:random", "optuna:tpe", "optuna:nsga2", "nni:evolution", "nni:tpe", "frontier"]
)
def test_whole_study_with_any_sampler(tmp_path: Path, sampler: str) -> None:
    study = new_study(tmp_path, sampler=sampler, budget__trials=24)
    driver = run(study)
    tally = driver.tally()
    assert tally.counted == 24 and tally.running == 0
    assert tally.measured + tally.stopped >= 24 and tally.stopped >= 2
    full = sum(curve_of(rs[0].params).cpu_s for rs in candidates(study).values())
    assert tally.cpu_s < 0.97 * full
    check_paid_once(study)
    assert study.status()["outcomes"]["stopped"] == tally.stopped
    assert all(t.state.is_finished() for t in study.ledger.trials())


def test_stopped_trials_have_their_share_on_record(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    run(study)
    stopped = [(t, r) for t in study.ledger.trials() if (r := record_of(t)) and r.outcome == Outcome.STOPPED]
    assert stopped
    for trial, record in stopped:
        assert trial.state.name == "PRUNED" and not record.violations
        assert record.rested_at == pytest.approx(1 / 3)
        assert record.notes["curve"][-1][0] == 0.375 and record.value("accuracy") is None


def test_same_candidates_without_halving_cost_more_and_have_the_same_front(tmp_path: Path) -> None:
    spent, fronts = {}, {}
    for name in ("none", "halving"):
        folder = tmp_path / name
        folder.mkdir()
        study = new_study(folder, search={"stop_early": name})
        spent[name] = run(study).tally().cpu_s
        fronts[name] = [list(m.values.values()) for m in study.front()]
    assert spent["halving"] < 0.85 * spent["none"]
    volume = {n: hypervolume(f, [0.5, 1.5], ["maximize", "minimize"], ["linear", "log"]) for n, f in fronts.items()}
    assert volume["halving"] >= 0.99 * volume["none"]


@pytest.mark.parametrize("events", [1, 5, 15, 22, 29])
def test_killed_anywhere_and_resumed(tmp_path: Path, events: int) -> None:
    """A resumed study knows the shares from the ledger, pays nothing twice and ends with its budget."""
    study = new_study(tmp_path, budget__trials=24)
    run(study, most_events=events)
    study = Study.open(study.name, study.ledger.url)
    driver = run(study)
    assert driver.tally().counted == 24
    check_paid_once(study)
    again = Driver(study.ledger, study.plan, study.home)
    assert driver.halving is not None and again.halving is not None
    assert again.halving.rule.curves == driver.halving.rule.curves
    assert again.halving.stopped == driver.halving.stopped


def stopped_study(folder: Path) -> tuple[Study, int]:
    """A study whose every candidate but four was stopped, and one of the stopped."""
    study = new_study(folder, budget__trials=20)
    clock = FakeClock()
    driver = Driver(study.ledger, study.plan, study.home, clock=clock)
    assert driver.halving is not None
    driver.halving.rule.goes_on = lambda key, share: key < 4  # type: ignore[method-assign]
    driver.halving.rule.to_continue = lambda stopped: None  # type: ignore[method-assign]
    simulate(driver, curve_of, clock, 1)
    return study, next(n for n, r in records(study).items() if r.outcome == Outcome.STOPPED)


def test_a_stopped_trial_is_continued_when_it_deserves_it(tmp_path: Path) -> None:
    """It pays the rest alone, counts towards no budget, and is the same candidate for the next comparison."""
    study, number = stopped_study(tmp_path)
    study.update(["budget.trials=+1"])
    clock = FakeClock()
    driver = Driver(study.ledger, study.plan, study.home, clock=clock)
    assert driver.halving is not None
    asked = iter([number])
    driver.halving.rule.to_continue = lambda stopped: next((n for n in asked if n in stopped), None)  # type: ignore[method-assign]
    simulate(driver, curve_of, clock, 1)
    [(continued, record)] = [(n, r) for n, r in records(study).items() if r.continues is not None]
    first = records(study)[number]
    assert record.continues == number and record.params == first.params and record.outcome == Outcome.MEASURED
    assert record.cpu_s == pytest.approx(curve_of(first.params).cpu_s * (1 - 0.375))
    assert driver.tally().counted == 21
    assert number not in driver.halving.stopped and continued not in driver.halving.rule.curves
    check_paid_once(study)


def test_a_queued_continuation_survives_a_kill(tmp_path: Path) -> None:
    study, number = stopped_study(tmp_path)
    study.update(["budget.trials=+4"])
    driver = Driver(study.ledger, study.plan, study.home)
    assert driver.halving is not None
    driver.halving.rule.to_continue = lambda stopped: number if number in stopped else None  # type: ignore[method-assign]
    job = driver.next()
    assert job is not None and job.continues == number
    assert job.shares == ()  # past its only share
    again = Driver(study.ledger, study.plan, study.home)
    assert again.halving is not None and number not in again.halving.stopped
    job = again.next()
    assert job is not None and job.continues == number
    assert again.next() is not None, "the candidate is asked for once"


@pytest.mark.parametrize("lost", ["interrupted", "lost_worker"])
def test_a_trial_that_rested_and_was_lost_is_tried_again_and_stays_paid(tmp_path: Path, lost: str) -> None:
    study = new_study(tmp_path)
    driver = Driver(study.ledger, study.plan, study.home)
    job = driver.next()
    assert job is not None and driver.halving is not None
    stage = StageRecord("distill", "key", 2.0, 2.0)
    notes = {"curve": [[0.375, 0.5]], "screened": {"latency_ms@cpu_1_thread": 0.1}, RESTED: job.shares[0]}
    rested = TrialRecord(Outcome.STOPPED, job.candidate.params, stages=(stage,), began_training=True, notes=notes)
    assert driver.goes_on(job, rested) and job.number in driver.halving.rule.curves
    if lost == "interrupted":
        driver.interrupt_all()
    else:
        driver.complete(job, lost_record(going_on(job.to_dict(), rested), lost, "killed"))
    assert driver.halving.rule.curves == {}
    assert driver.tally().cpu_s == 2.0 and driver.tally().counted == 0
    again = driver.next()
    assert again is not None and again.candidate == job.candidate and again.shares == job.shares


def test_a_ledger_of_the_first_version_says_where_trials_rested(tmp_path: Path) -> None:
    """Its records and its plan call the share a rung; its search goes on as if it had been written today."""
    study = new_study(tmp_path, budget__trials=24, search={**HALVING, "first_share": 0.4})
    now = run(study)
    with closing(sqlite3.connect(tmp_path / "autokd.db")) as connection, connection:
        table, key = "trial_user_attributes", RECORD_KEY
        rows = connection.execute(f"SELECT trial_id, value_json FROM {table} WHERE key = ?", (key,)).fetchall()
        for trial, value in rows:
            raw = json.loads(json.loads(value))
            if RESTED in raw["notes"]:
                raw["notes"]["rung"] = {"share": raw["notes"].pop(RESTED)}
            text = json.dumps(json.dumps(raw))
            connection.execute(f"UPDATE {table} SET value_json = ? WHERE trial_id = ? AND key = ?", (text, trial, key))
        (plan,) = connection.execute(
            "SELECT value_json FROM study_user_attributes WHERE key = ?", (CONFIG_KEY,)
        ).fetchone()
        raw = json.loads(json.loads(plan))
        raw["config"]["search"]["first_rung"] = raw["config"]["search"].pop("first_share")
        old = json.dumps(json.dumps(raw))
        connection.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (old, CONFIG_KEY))
    again = Study.open(study.name, study.ledger.url)
    assert again.plan == study.plan and again.plan.config.search.first_share == 0.4
    driver = Driver(again.ledger, again.plan, again.home)
    assert driver.halving is not None and now.halving is not None and now.halving.stopped
    assert driver.halving.stopped == now.halving.stopped and driver.halving.rule.curves == now.halving.rule.curves


def test_nothing_is_continued_whose_checkpoint_is_gone(tmp_path: Path) -> None:
    study, _ = stopped_study(tmp_path)
    driver = Driver(study.ledger, study.plan, study.home)
    assert driver.halving is not None
    asked: list[dict[int, float]] = []
    driver.halving.rule.to_continue = asked.append  # type: ignore[assignment, method-assign]
    folders = resting_folders(study.ledger.trials(), StageStore(study.home / "stages"))
    assert driver.halving.to_continue() is None and len(asked[0]) == len(folders) == 16
    for folder in folders:
        (folder / "checkpoint").unlink()
    driver.halving.news = True
    assert driver.halving.to_continue() is None and len(asked) == 1


def test_gc_keeps_the_checkpoints_of_stopped_trials(tmp_path: Path) -> None:
    study, _ = stopped_study(tmp_path)
    store = StageStore(study.home / "stages")
    other = store.work("distill", "of nobody")
    other.mkdir(parents=True)
    study.gc()
    assert not other.exists()
    folders = resting_folders(study.ledger.trials(), store)
    assert len(folders) == 16 and all((folder / "checkpoint").exists() for folder in folders)


def test_ladders_are_not_stopped_early(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"`search\.stop_early` is for `strategy: independent`, but got halving with ladder"
    ):
        new_study(tmp_path, search={**HALVING, "strategy": "ladder"})


def test_the_old_name_of_the_first_share_is_understood() -> None:
    old, new = (from_dict(tiny(search={**HALVING, name: 0.25})) for name in ("first_rung", "first_share"))
    assert old == new and old.search.first_share == 0.25 and old.fingerprint() == new.fingerprint()
    assert from_dict(tiny(), ["search.first_rung=0.5"]).search.first_share == 0.5


@pytest.mark.parametrize(("search", "law"), [
    ({"stop_early": "asha"}, "search.stop_early"),
    ({"first_rung": 0.3, "first_share": 0.3}, "old name of `first_share`"),
    ({"first_rung": 1.5}, "must be a share between 0 and 1, or auto"),
    ({"first_share": 1.5}, "must be a share between 0 and 1, or auto"),
    ({"first_share": "early"}, "search.first_share"),
    ({"reduction_factor": 1}, "search.reduction_factor"),
])  # fmt: skip
def test_impossible_settings_are_refused(search: dict[str, Any], law: str) -> None:
    with pytest.raises(ConfigError, match=law):
        from_dict(tiny(search=search))
