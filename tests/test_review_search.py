"""Ends of a search that a reviewer found missing: stillborn candidates, a finished child, gc beside a live driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import autokd
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.errors import StudyError
from autokd.evaluation.prepare import recipes
from autokd.evaluation.stages.distill import TrainOn
from autokd.storage.heartbeat import driving
from autokd.storage.ledger import record_of
from autokd.strategies.budget import REJECTIONS_PER_TRIAL
from autokd.strategies.driver import Driver
from autokd.strategies.job import counts
from autokd.study.study import Study
from autokd.trial import Outcome, TrialRecord

FIXED = {"stem_stride": 2, "stem_width": 8, "stages": 1, "depth_1": 1, "block_1": "plain"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_candidates_that_fail_before_training_do_not_go_on_for_ever(tiny_config: Any, tmp_path: Path) -> None:
    """Two causes by turns are never the same failure many times in a row, and cost no budget."""
    plan = make_plan(from_dict(tiny_config(budget__trials=1, storage__url=f"sqlite:///{tmp_path}/autokd.db")))
    study = Study.create(plan)
    driver = Driver(study.ledger, plan, tmp_path / "home")
    told = 0
    while (job := driver.next()) is not None and told < 3 * REJECTIONS_PER_TRIAL:
        stage = ("build", "screen", "screen")[told % 3]
        record = TrialRecord(Outcome.FAILED, job.candidate.params, failed_stage=stage, cause=f"error {told % 2}")
        driver.complete(job, record)
        told += 1
    assert told == REJECTIONS_PER_TRIAL
    assert driver.fatal is None
    assert "screen: error" in str(driver.finished())


def test_a_fixed_augmentation_is_the_one_the_teacher_scores(tiny_config: Any) -> None:
    space = {
        "family": "mobilenet",
        "parameters": {"width_1": {"choice": [8, 12], "stage": "build"}},
        "fixed": {**FIXED, "augment": {"value": "shift", "stage": "distill"}},
    }
    plan = make_plan(from_dict(tiny_config(space=space, training__augment="none")))
    assert [r.augment for r in recipes(plan, 256)] == ["shift"]


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study whose students were trained without the teacher."""
    from support import tiny

    space = {
        "family": "mobilenet",
        "parameters": {"width_1": {"choice": [8, 12], "stage": "build"}},
        "fixed": {**FIXED, "method": {"value": "none", "stage": "distill"}},
    }
    url = f"sqlite:///{tmp_path_factory.mktemp('untaught')}/autokd.db"
    return autokd.search(tiny(space=space, budget__trials=2), storage=url)


def test_finish_teaches_a_student_that_was_found_without_a_teacher(
    untaught: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, real = [], TrainOn.work

    def watched(stage: TrainOn, *rest: Any) -> Any:
        methods.append(stage.training.teaching.method)
        return real(stage, *rest)

    monkeypatch.setattr(TrainOn, "work", watched)
    before = untaught.status()["counted"]
    child = untaught.finish(untaught.front()[0].number, 256)
    record = record_of(untaught.ledger.trials()[child])
    assert methods == ["kd"]
    assert record is not None and record.parent is not None and record.began_training
    assert not counts(record)  # a later resume still has its whole budget
    assert untaught.status()["counted"] == before


def test_gc_leaves_a_live_drivers_folder_alone(untaught: Study) -> None:
    files = sorted((untaught.home / "stages").rglob("*"))
    with driving(untaught.ledger, untaught.home):
        with pytest.raises(StudyError, match="one live driver"):
            Study.open(untaught.name, untaught.ledger.url).gc()
    assert sorted((untaught.home / "stages").rglob("*")) == files
