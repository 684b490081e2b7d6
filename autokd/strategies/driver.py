"""The driver: asks the ledger for candidates, tells it outcomes, and knows when to stop. Runners only carry jobs."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autokd.config.plan import Plan
from autokd.config.until import WINDOW_S
from autokd.errors import AutokdError, StudyError
from autokd.files import read_json
from autokd.storage.attributes import REFERENCE_KEY, RETRY_KEY, RUNG_KEY, SECOND_KEY, WALL_KEY
from autokd.storage.ledger import Ledger, record_of, storage_errors
from autokd.strategies import Independent, make_strategy
from autokd.strategies.early_stopping import EarlyStopping
from autokd.strategies.expected_gain import ExpectedGain, not_worth_it
from autokd.strategies.guidance import Guidance
from autokd.strategies.job import Job, Tally, counts, rung_of, searched
from autokd.strategies.monitors import watch_trials
from autokd.strategies.sampling import make_sampler
from autokd.trial import CONTINUES, Candidate, Outcome, TrialRecord

RETRIED = ("lost_worker", "out_of_memory")
REJECTIONS_PER_TRIAL = 50
SAME_PROPOSALS = 10
"""After so many known candidates in a row the sampler is stuck: one is drawn at random."""


class Driver:
    """The one writer of a study's ledger. Thread-safe: every method takes the driver's lock.

    Args:
        ledger: The study's ledger.
        plan: The study's plan.
        home: The study's folder.
        on_finish: Called after each trial with its number and record.
        clock: Seconds from some moment on; a simulation has its own.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        home: Path,
        on_finish: Callable[[int, TrialRecord], None] = lambda number, record: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.ledger, self.plan, self.home, self.on_finish, self.clock = (
            ledger,
            plan,
            home,
            on_finish,
            clock or time.monotonic,
        )
        self.on_begin: Callable[[int], None] = lambda number: None
        self.lock = threading.RLock()
        self.running: dict[int, tuple[optuna.Trial, Job]] = {}
        self.known: dict[str, int] = {}
        walks = plan.config.search.strategy != "independent"
        self.size = math.inf if walks else plan.space.size()  # a ladder's rungs are no points of the space
        self.counted = self.rejected = self.measured = self.failed = self.stopped = 0
        self.resting: dict[int, TrialRecord] = {}
        self.halving = EarlyStopping(plan, home) if plan.config.search.stop_early == "halving" else None
        self.cpu_s = 0.0
        self.violations: Counter[str] = Counter()
        self.failures_in_a_row: list[str] = []
        self.first_cause = ""
        self.reason: str | None = None
        self.fatal: AutokdError | None = None
        self.began = self.clock()
        self.wall_before = float(ledger.attr(WALL_KEY, 0.0))
        self.strategy = make_strategy(plan, ledger.attr(REFERENCE_KEY))
        self.guidance = Guidance(plan, home, ledger.attr(REFERENCE_KEY))
        trials = ledger.trials()
        self.gain, self.searched_before = watch_trials(plan.objectives, ledger.attr(REFERENCE_KEY), trials)
        for trial in trials:
            if trial.state.is_finished():
                self._count(trial.number, record_of(trial))
        self._recover(trials)
        if self.halving is not None:
            self.halving.begun(ledger.trials())
        self.failures_in_a_row = []  # a resumed study gets a fresh chance
        ledger.study.sampler = make_sampler(plan, len(trials))

    # ------------------------------------------------------------------------------------------- asking

    def next(self) -> Job | None:
        """The next job; ``None`` when there is none now. See :meth:`finished`."""
        with self.lock:
            in_a_row = 0
            while not self.finished() and not self._reserved() and not self._exhausted():
                if not self._prepare_ask():
                    return None
                trial = self._ask(at_random=in_a_row >= SAME_PROPOSALS)
                candidate = Candidate(self.plan.space.suggest(trial), rung_of(trial.user_attrs))
                twin = self.known.get(candidate.key())
                continues = trial.user_attrs.get(CONTINUES) if self.halving is not None else None
                if twin is None or continues is not None or RETRY_KEY in trial.user_attrs:
                    self.known[candidate.key()] = trial.number
                    self.strategy.begun(trial.number, candidate)
                    folder = self.home / "trials" / f"{trial.number:05d}"
                    rungs = () if self.halving is None else self.halving.rungs(continues)
                    job = Job(trial.number, candidate, folder, self.strategy.origin(candidate), rungs, continues)
                    shutil.rmtree(job.folder, ignore_errors=True)  # of a ledger that is gone; it must not be adopted
                    self.running[trial.number] = (trial, job)
                    self.on_begin(trial.number)
                    return job
                in_a_row += 1
                duplicate = TrialRecord(
                    Outcome.DUPLICATE, dict(candidate.params), duplicate_of=twin, rung=candidate.rung
                )
                self._finish(trial, duplicate)
            return None

    def _prepare_ask(self) -> bool:
        """Queue what the strategy wants, if it wants something of its own; ``False`` while it waits for running trials."""
        if isinstance(self.strategy, Independent):
            self._continue_stopped()
            return True
        if self._queued():
            return True  # interrupted candidates come first
        move = self.strategy.next_move()
        if isinstance(move, Candidate):
            assert move.rung is not None
            self.ledger.enqueue(searched(move.params, self.plan), **{RUNG_KEY: asdict(move.rung)})
        return move is not None

    def _continue_stopped(self) -> None:
        """Queue a candidate that halving stopped and that deserves more by now."""
        number = self.halving.to_continue() if self.halving is not None else None
        record = None if number is None else record_of(self.ledger.trials()[number])
        if record is not None:
            self.ledger.enqueue(searched(record.params, self.plan), **{CONTINUES: number})

    def finished(self) -> str | None:
        """Why no more trials are begun, or ``None``."""
        with self.lock:
            budget = self.plan.config.budget
            if self.reason is None:
                if budget.trials is not None and self.counted >= budget.trials:
                    self._stop(f"the budget of {budget.trials} trials is spent")
                elif budget.cpu_s is not None and self.cpu_s >= budget.cpu_s:
                    self._stop(f"the budget of {budget.cpu_s:g} CPU seconds is spent")
                elif budget.wall_s is not None and self.wall_s >= budget.wall_s:
                    self._stop(f"the budget of {budget.wall_s:g} seconds is spent")
                elif self.rejected >= REJECTIONS_PER_TRIAL * (budget.trials or 30):
                    self._stop(self._rejection_story())
                elif budget.stop is not None and (story := not_worth_it(budget.stop, self.gain)):
                    self._stop(story)
            return self.reason

    def expected_gain(self, window_s: float = WINDOW_S) -> ExpectedGain:
        """What the next seconds of search are expected to add; cheap, and the same until a student is measured."""
        with self.lock:
            return self.gain.expected(window_s)

    def doing(self) -> list[str]:
        """What runs now, where a strategy has words for it: ``trial 12 narrow of 9``."""
        with self.lock:
            found = [(number, self.strategy.named(job.candidate)) for number, (_, job) in self.running.items()]
        return [f"trial {number} {name}" for number, name in found if name]

    @property
    def overdue(self) -> bool:
        """Whether running trials must be interrupted: the clock's budget is spent, or the study cannot go on."""
        wall = self.plan.config.budget.wall_s
        return self.fatal is not None or (wall is not None and self.wall_s >= wall)

    @property
    def wall_s(self) -> float:
        """Seconds of searching, over all resumes."""
        return self.wall_before + self.clock() - self.began

    def tally(self) -> Tally:
        with self.lock:
            return Tally(
                self.counted, self.measured, self.rejected, self.failed, self.stopped, len(self.running),
                self.cpu_s, self.wall_s,
            )  # fmt: skip

    def _reserved(self) -> bool:
        """Every running trial may begin training: no more are begun than the budget has room for."""
        trials = self.plan.config.budget.trials
        return trials is not None and self.counted + len(self.running) >= trials

    def _queued(self) -> bool:
        """Whether a candidate waits to be asked for again."""
        return any(t.state == TrialState.WAITING for t in self.ledger.trials())

    def _exhausted(self) -> bool:
        """Every candidate of the space was begun and none is queued again; the running ones may yet be."""
        if len(self.known) < self.size:
            return False
        if self._queued():
            return False
        if not self.running:
            self._stop(f"all {len(self.known)} candidates of the space were evaluated")
        return True

    def _ask(self, at_random: bool) -> optuna.Trial:
        study = self.ledger.study
        with storage_errors(self.ledger.url):
            if not at_random:
                if isinstance(self.strategy, Independent):
                    self.guidance.inform(study.sampler)
                return study.ask()
            proposer = study.sampler
            study.sampler = optuna.samplers.RandomSampler(seed=len(study.get_trials(deepcopy=False)))
            try:
                return study.ask()
            finally:
                study.sampler = proposer

    # ------------------------------------------------------------------------------------------ telling

    def goes_on(self, job: Job, record: TrialRecord) -> bool:
        """Whether a trial that rests at a rung of its training goes on; else its record is its outcome."""
        with self.lock:
            if record.outcome != Outcome.STOPPED or self.halving is None or job.number not in self.running:
                return False
            self.resting[job.number] = record
            return self.halving.goes_on(job.number if job.continues is None else job.continues, record)

    def complete(self, job: Job, record: TrialRecord) -> None:
        """Tell the outcome of a job."""
        with self.lock:
            if job.number not in self.running:
                return  # interrupted meanwhile
            trial, _ = self.running.pop(job.number)
            again = record.outcome == Outcome.FAILED and record.cause in RETRIED and SECOND_KEY not in trial.user_attrs
            if again:
                record = replace(record, notes={**record.notes, "retried": True})
            self._finish(trial, record)
            if again:
                self._requeue(job.number, record, trial.user_attrs)
            self._watch_failures(record)
            self.ledger.set_attr(WALL_KEY, self.wall_s)

    def interrupt_all(self) -> None:
        """Queue the candidates of all running trials again (Ctrl-C, the clock, an error)."""
        with self.lock:
            for number in list(self.running):
                trial, job = self.running.pop(number)
                params, rung = dict(job.candidate.params), job.candidate.rung
                rested = self.resting.get(number)
                stages = rested.stages if rested else ()  # paid, whatever becomes of the rest
                record = TrialRecord(Outcome.INTERRUPTED, params, stages=stages, folder=str(job.folder), rung=rung)
                self._finish(trial, record)
                self._requeue(number, record, trial.user_attrs)
            self.ledger.set_attr(WALL_KEY, self.wall_s)

    def give_up(self, error: AutokdError) -> None:
        """The study cannot go on: no more jobs; the runner raises the error."""
        with self.lock:
            self.fatal = self.fatal or error
            self._stop(str(error))

    def _finish(self, trial: optuna.Trial, record: TrialRecord) -> None:
        values = None
        if record.outcome == Outcome.MEASURED:
            found = {o.name: record.value(o.name) for o in self.plan.objectives}
            missing = [name for name, value in found.items() if value is None]
            if missing:
                detail = f"{missing[0]} was not measured"
                record = replace(record, outcome=Outcome.FAILED, failed_stage="measure", cause="error", detail=detail)
            else:
                values = [float(v) for v in found.values() if v is not None]
        self.resting.pop(trial.number, None)
        if self.halving is not None and CONTINUES in (attrs := trial.user_attrs):
            record = replace(record, notes={**record.notes, CONTINUES: attrs[CONTINUES]})
        known = {c: record.value(c.name) for c in self.plan.constraints}
        constraints = {str(c): c.violation(v) for c, v in known.items() if v is not None}
        self.ledger.finish(trial, record, values, constraints)
        self._count(trial.number, record)
        if record.outcome == Outcome.MEASURED:
            moment = self.searched_before + self.clock() - self.began
            self.gain.observe(moment, values if not record.violations else None)
        self.on_finish(trial.number, record)

    def _count(self, number: int, record: TrialRecord | None) -> None:
        if record is None:
            return
        if record.outcome not in (Outcome.INTERRUPTED, Outcome.DUPLICATE) and not record.notes.get("retried"):
            self.known.setdefault(record.candidate.key(), number)
        if self.halving is not None:
            self.halving.tell(number, record)
        if record.outcome == Outcome.MEASURED:
            self.guidance.observe(record)
        if record.retimed:  # given, not asked for: it costs nothing of the budget, and nobody rejected it
            return
        self.strategy.tell(number, record)
        self.stopped += record.outcome == Outcome.STOPPED
        self.counted += counts(record)
        # One that fails before training costs no budget either: without a bound on these a search would never end.
        stillborn = record.outcome == Outcome.FAILED and not record.began_training
        self.rejected += stillborn or record.outcome in (Outcome.INFEASIBLE, Outcome.DUPLICATE)
        if record.outcome == Outcome.MEASURED:
            self.measured += 1
        self.failed += record.outcome == Outcome.FAILED
        self.cpu_s += record.cpu_s
        if record.outcome == Outcome.DUPLICATE:
            self.violations["a candidate that was proposed before"] += 1
        if stillborn:
            self.violations[f"{record.failed_stage}: {record.cause}"] += 1
        for violation in record.violations:
            self.violations[violation.constraint] += 1

    def _watch_failures(self, record: TrialRecord) -> None:
        limit = self.plan.config.budget.failures_in_a_row
        if record.outcome == Outcome.MEASURED:
            self.failures_in_a_row = []
        if record.outcome != Outcome.FAILED:
            return
        label = f"{record.failed_stage}: {record.cause}"
        if self.failures_in_a_row and self.failures_in_a_row[-1] != label:
            self.failures_in_a_row = []
        if not self.failures_in_a_row:
            self.first_cause = f"{label} ({record.detail})" if record.detail else label
        self.failures_in_a_row.append(label)
        if len(self.failures_in_a_row) >= limit:
            law = f"a search must not fail the same way {limit} times in a row"
            mend = f"See error.txt in {record.folder}; then `autokd resume`."
            self.give_up(StudyError(law, self.first_cause, mend))

    def _stop(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _rejection_story(self) -> str:
        common, times = self.violations.most_common(1)[0]
        return f"{self.rejected} candidates were rejected; the commonest reason, {times} times: {common}"

    # ----------------------------------------------------------------------------------------- recovery

    def _recover(self, trials: list[FrozenTrial]) -> None:
        """What a dead driver left: adopt what its workers finished, and queue again what was not evaluated."""
        followed = {t.user_attrs.get(RETRY_KEY) for t in trials}
        for frozen in trials:
            record = record_of(frozen)
            if frozen.state == TrialState.RUNNING:
                # it may have died between the record and the state, or before it heard of the record
                record = record or self._left_behind(frozen)
                self._finish(optuna.Trial(self.ledger.study, frozen._trial_id), record)
            if record is None or frozen.number in followed:
                continue
            if record.outcome == Outcome.INTERRUPTED or record.notes.get("retried"):
                self._requeue(frozen.number, record, frozen.user_attrs)

    def _left_behind(self, frozen: FrozenTrial) -> TrialRecord:
        """The record in a running trial's folder if it is this candidate's; else it was interrupted."""
        # a queued candidate whose parameters were not all asked yet: what was queued counts
        params = {**self.plan.space.fixed, **frozen.system_attrs.get("fixed_params", {}), **frozen.params}
        folder = self.home / "trials" / f"{frozen.number:05d}"
        left = read_json(folder / "record.json")
        record = TrialRecord.from_json(json.dumps(left)) if left else None
        rung = rung_of(frozen.user_attrs)
        if record is not None and record.candidate.key() == Candidate(params, rung).key():
            # at a rung nobody knows what was decided: it is asked again, and what was spent stays paid
            return replace(record, outcome=Outcome.INTERRUPTED) if record.outcome == Outcome.STOPPED else record
        return TrialRecord(Outcome.INTERRUPTED, params, folder=str(folder), rung=rung)

    def _requeue(self, number: int, record: TrialRecord, attrs: Mapping[str, Any]) -> None:
        """Queue a candidate again; one that failed and is retried is not retried a second time, even if interrupted."""
        params = searched(self._asked(number, record), self.plan)
        rung = {RUNG_KEY: asdict(record.rung)} if record.rung else {}
        second = {SECOND_KEY: True} if record.outcome == Outcome.FAILED or SECOND_KEY in attrs else {}
        more = {CONTINUES: attrs[CONTINUES]} if CONTINUES in attrs else {}
        if params:
            self.ledger.enqueue(params, **{RETRY_KEY: number}, **second, **rung, **more)

    def _asked(self, number: int, record: TrialRecord) -> Mapping[str, Any]:
        """The parameters a candidate was queued with: on a ladder the root's, though the record tells its own."""
        if record.rung is None:
            return record.params
        frozen = self.ledger.trials()[number]
        return {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
