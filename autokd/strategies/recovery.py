"""What a dead driver left behind, and how a candidate that was not evaluated is queued again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autokd.config.plan import Plan
from autokd.files import read_json
from autokd.storage.attributes import RETRY_KEY, RUNG_KEY, SECOND_KEY
from autokd.storage.ledger import Ledger, record_of
from autokd.storage.optuna_private import asked_params, live_trial
from autokd.strategies.job import rung_of, searched
from autokd.trial import CONTINUES, Candidate, Outcome, TrialRecord

RETRIED = ("lost_worker", "out_of_memory")
"""Causes of a failure that may not be the candidate's own: it is tried once more."""


class Recovery:
    """Queues candidates again: those of a driver that died, of interrupted trials, and of workers that were lost.

    Args:
        ledger: The study's ledger.
        plan: The study's plan.
        home: The study's folder.
    """

    def __init__(self, ledger: Ledger, plan: Plan, home: Path) -> None:
        self.ledger, self.plan, self.home = ledger, plan, home

    def recover(self, trials: Sequence[FrozenTrial], finish: Callable[[optuna.Trial, TrialRecord], None]) -> None:
        """Adopt what a dead driver's workers finished, and queue again what was not evaluated.

        Args:
            trials: The ledger's, as the driver found them.
            finish: Tells the ledger the outcome of a trial that still counts as running.
        """
        followed = {t.user_attrs.get(RETRY_KEY) for t in trials}
        for frozen in trials:
            record = record_of(frozen)
            if frozen.state == TrialState.RUNNING:
                # it may have died between the record and the state, or before it heard of the record
                record = record or self._left_behind(frozen)
                finish(live_trial(self.ledger.study, frozen), record)
            if record is None or frozen.number in followed:
                continue
            if record.outcome == Outcome.INTERRUPTED or record.notes.get("retried"):
                self.requeue(frozen.number, record, frozen.user_attrs)

    def retries(self, record: TrialRecord, attrs: Mapping[str, Any]) -> bool:
        """Whether a failure is tried once more: it may not be the candidate's, and was not tried again before."""
        return record.outcome == Outcome.FAILED and record.cause in RETRIED and SECOND_KEY not in attrs

    def requeue(self, number: int, record: TrialRecord, attrs: Mapping[str, Any]) -> None:
        """Queue a candidate again; one that failed and is retried is not retried a second time, even if interrupted.

        Args:
            number: The trial that did not evaluate it.
            record: Its record.
            attrs: Its user attributes.
        """
        params = searched(self._asked(number, record), self.plan)
        rung = {RUNG_KEY: asdict(record.rung)} if record.rung else {}
        second = {SECOND_KEY: True} if record.outcome == Outcome.FAILED or SECOND_KEY in attrs else {}
        more = {CONTINUES: attrs[CONTINUES]} if CONTINUES in attrs else {}
        if params:
            self.ledger.enqueue(params, **{RETRY_KEY: number}, **second, **rung, **more)

    def _left_behind(self, frozen: FrozenTrial) -> TrialRecord:
        """The record in a running trial's folder if it is this candidate's; else it was interrupted."""
        # a queued candidate whose parameters were not all asked yet: what was queued counts
        params = {**self.plan.space.fixed, **asked_params(frozen)}
        folder = self.home / "trials" / f"{frozen.number:05d}"
        left = read_json(folder / "record.json")
        record = TrialRecord.from_json(json.dumps(left)) if left else None
        rung = rung_of(frozen.user_attrs)
        if record is not None and record.candidate.key() == Candidate(params, rung).key():
            # at a share nobody knows what was decided: it is asked again, and what was spent stays paid
            return replace(record, outcome=Outcome.INTERRUPTED) if record.outcome == Outcome.STOPPED else record
        return TrialRecord(Outcome.INTERRUPTED, params, folder=str(folder), rung=rung)

    def _asked(self, number: int, record: TrialRecord) -> Mapping[str, Any]:
        """The parameters a candidate was queued with: on a ladder the root's, though the record tells its own."""
        return record.params if record.rung is None else asked_params(self.ledger.trials()[number])
