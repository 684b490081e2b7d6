"""The driver: asks the ledger for candidates, and tells it outcomes. Runners only carry jobs."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autokd.config.objectives import Objective
from autokd.config.plan import Plan
from autokd.config.until import WINDOW_S
from autokd.errors import AutokdError
from autokd.storage.attributes import EDITED_KEY, FACTS_KEY, REFERENCE_KEY, RETRY_KEY, RUNG_KEY, SPENT_KEY, WALL_KEY
from autokd.storage.ledger import Ledger, record_of, storage_errors
from autokd.strategies.budget import Budget
from autokd.strategies.early_stopping import EarlyStopping
from autokd.strategies.expected_gain import ExpectedGain
from autokd.strategies.guidance import Guidance
from autokd.strategies.job import Job, Tally, rung_of, searched
from autokd.strategies.monitors import watch_trials
from autokd.strategies.recovery import Recovery
from autokd.strategies.sampling import make_sampler, random_proposals
from autokd.strategies.strategy import DONE, make_strategy
from autokd.strategies.tutors import Tutors
from autokd.trial import CONTINUES, Candidate, Outcome, TrialRecord

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
        spent: CPU seconds of everything done for the study so far, now and before.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        home: Path,
        on_finish: Callable[[int, TrialRecord], None] = lambda number, record: None,
        clock: Callable[[], float] | None = None,
        spent: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.ledger, self.plan, self.home, self.on_finish = ledger, plan, home, on_finish
        self.on_begin: Callable[[int], None] = lambda number: None
        self.lock = threading.RLock()
        self.running: dict[int, tuple[optuna.Trial, Job]] = {}
        self.begun_at: dict[int, float] = {}
        self.resting: dict[int, TrialRecord] = {}
        self.known: dict[str, int] = {}
        self.known_from = int(ledger.attr(EDITED_KEY, 0))
        self.fatal: AutokdError | None = None
        reference, trials = ledger.attr(REFERENCE_KEY), ledger.trials()
        self.strategy = make_strategy(plan, reference)
        if hasattr(self.strategy, "knows"):
            self.strategy.knows(ledger.attr(FACTS_KEY) or {})
        self.size = plan.space.size() if self.strategy.sampled else math.inf  # a rung is no point of the space
        self.halving = EarlyStopping(plan, home) if plan.config.search.stop_early == "halving" else None
        self.guidance = Guidance(plan, home, reference)
        self.gain, self.searched_before = watch_trials(plan.objectives, reference, trials)
        wall_before = float(ledger.attr(WALL_KEY, 0.0))
        self.budget = Budget(plan.config.budget, self.gain, wall_before, clock or time.monotonic, spent)
        self.tutors = Tutors(plan)
        self.recovery = Recovery(ledger, plan, home)
        self._take_up(trials)
        ledger.study.sampler = make_sampler(plan, len(trials))

    def _take_up(self, trials: Sequence[FrozenTrial]) -> None:
        """Go on where the ledger's trials ended: count them, and mend what a dead driver left."""
        for trial in trials:
            if trial.state.is_finished():
                self._count(trial.number, record_of(trial))
        self.recovery.recover(trials, self._finish)
        if self.halving is not None:
            self.halving.begun(self.ledger.trials())

    # ------------------------------------------------------------------------------------------- asking

    def next(self) -> Job | None:
        """The next job; ``None`` when there is none now. See :meth:`finished`."""
        with self.lock:
            in_a_row = 0
            while not self.finished() and not self.budget.reserved(len(self.running)) and not self._exhausted():
                if not self._prepare_ask():
                    return None
                trial = self._ask(at_random=in_a_row >= SAME_PROPOSALS)
                candidate = Candidate(self.plan.space.suggest(trial), rung_of(trial.user_attrs))
                twin = self.known.get(candidate.key())
                continues = trial.user_attrs.get(CONTINUES) if self.halving is not None else None
                if twin is None or continues is not None or RETRY_KEY in trial.user_attrs:
                    return self._begin(trial, candidate, continues)
                in_a_row += 1
                duplicate = TrialRecord(
                    Outcome.DUPLICATE, dict(candidate.params), duplicate_of=twin, rung=candidate.rung
                )
                self._finish(trial, duplicate)
            return None

    def _begin(self, trial: optuna.Trial, candidate: Candidate, continues: int | None) -> Job:
        self.known[candidate.key()] = trial.number
        self.strategy.begun(trial.number, candidate)
        folder = self.home / "trials" / f"{trial.number:05d}"
        shares = () if self.halving is None else self.halving.shares(continues)
        tutors, budget = self.tutors, self.budget
        tutor = tutors.of(candidate, budget.share, budget.left_s) if continues is None else tutors.of_trial(continues)
        job = Job(trial.number, candidate, folder, self.strategy.origin(candidate), shares, continues, tutor)
        shutil.rmtree(job.folder, ignore_errors=True)  # of a ledger that is gone; it must not be adopted
        self.running[trial.number] = (trial, job)
        self.begun_at[trial.number] = self.budget.clock()
        self.on_begin(trial.number)
        return job

    def _prepare_ask(self) -> bool:
        """Queue what the strategy wants, if it wants something of its own; ``False`` while it waits for running trials."""
        if self.strategy.sampled:
            self._continue_stopped()
            return True
        if self._queued():
            return True  # interrupted candidates come first
        if hasattr(self.strategy, "beside_s"):
            now = self.budget.clock()
            self.strategy.beside_s = self.budget.beside_s(sum(now - self.begun_at[n] for n in self.running))
        move = self.strategy.next_move()
        if move == DONE:
            self.budget.stop("nothing that is worth it fits into what is left of the budget")
            return False
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

    def _queued(self) -> bool:
        """Whether a candidate waits to be asked for again."""
        return any(t.state == TrialState.WAITING for t in self.ledger.trials())

    def _exhausted(self) -> bool:
        """Every candidate of the space was begun and none is queued again; the running ones may yet be."""
        if len(self.known) < self.size or self._queued():
            return False
        if not self.running:
            self.budget.stop(f"all {len(self.known)} candidates of the space were evaluated")
        return True

    def _ask(self, at_random: bool) -> optuna.Trial:
        study = self.ledger.study
        with storage_errors(self.ledger.url):
            if at_random:
                with random_proposals(study):
                    return study.ask()
            if self.strategy.sampled:
                self.guidance.inform(study.sampler)
            return study.ask()

    # ------------------------------------------------------------------------------- what others want to know

    def finished(self) -> str | None:
        """Why no more trials are begun, or ``None``."""
        with self.lock:
            return self.budget.finished()

    @property
    def overdue(self) -> bool:
        """Whether running trials must be interrupted: the clock's budget is spent, or the study cannot go on."""
        return self.fatal is not None or self.budget.overdue

    def tally(self) -> Tally:
        """Where the search stands."""
        with self.lock:
            return self.budget.tally(len(self.running))

    def expected_gain(self, window_s: float = WINDOW_S) -> ExpectedGain:
        """What the next seconds of search are expected to add; cheap, and the same until a student is measured."""
        with self.lock:
            return self.gain.expected(window_s)

    def doing(self) -> list[str]:
        """What runs now, where a strategy has words for it: ``trial 12 narrow of 9``."""
        with self.lock:
            found = [(number, self.strategy.named(job.candidate)) for number, (_, job) in self.running.items()]
        return [f"trial {number} {name}" for number, name in found if name]

    # ------------------------------------------------------------------------------------------ telling

    def goes_on(self, job: Job, record: TrialRecord) -> bool:
        """Whether a trial that rests at a checkpoint share goes on; else its record is its outcome."""
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
            again = self.recovery.retries(record, trial.user_attrs)
            if again:
                record = replace(record, notes={**record.notes, "retried": True})
            self._finish(trial, record)
            if again:
                self.recovery.requeue(job.number, record, trial.user_attrs)
            if error := self.budget.failed_again(record):
                self.give_up(error)
            self._note_spent()

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
                self.recovery.requeue(number, record, trial.user_attrs)
            self._note_spent()

    def _note_spent(self) -> None:
        self.ledger.set_attr(WALL_KEY, self.budget.wall_s)
        self.ledger.set_attr(SPENT_KEY, self.budget.cpu_s)

    def give_up(self, error: AutokdError) -> None:
        """The study cannot go on: no more jobs; the runner raises the error."""
        with self.lock:
            self.fatal = self.fatal or error
            self.budget.stop(str(error))

    def _finish(self, trial: optuna.Trial, record: TrialRecord) -> None:
        record, values = objective_values(record, self.plan.objectives)
        self.resting.pop(trial.number, None)
        if self.halving is not None and CONTINUES in (attrs := trial.user_attrs):
            record = replace(record, notes={**record.notes, CONTINUES: attrs[CONTINUES]})
        known = {c: record.value(c.name) for c in self.plan.constraints}
        constraints = {str(c): c.violation(v) for c, v in known.items() if v is not None}
        self.ledger.finish(trial, record, values, constraints)
        self._count(trial.number, record)
        if record.outcome == Outcome.MEASURED:
            self.gain.observe(self.searched_before + self.budget.search_s, values if not record.violations else None)
        self.on_finish(trial.number, record)

    def _count(self, number: int, record: TrialRecord | None) -> None:
        if record is None:
            return
        judged = record.outcome not in (Outcome.INTERRUPTED, Outcome.DUPLICATE) and not record.notes.get("retried")
        if judged and number >= self.known_from:
            self.known.setdefault(record.candidate.key(), number)
        if self.halving is not None:
            self.halving.tell(number, record)
        if record.outcome == Outcome.MEASURED:
            self.guidance.observe(record)
        if record.retimed:  # given, not asked for: it costs nothing of the budget, and nobody rejected it
            return
        self.strategy.tell(number, record)
        self.tutors.tell(number, record)
        self.budget.count(record)


def objective_values(record: TrialRecord, objectives: Sequence[Objective]) -> tuple[TrialRecord, list[float] | None]:
    """What the ledger is told: the record, and its objectives' values in order; one that lacks a value has failed."""
    if record.outcome != Outcome.MEASURED:
        return record, None
    found = {o.name: record.value(o.name) for o in objectives}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        detail = f"{missing[0]} was not measured"
        return replace(record, outcome=Outcome.FAILED, failed_stage="measure", cause="error", detail=detail), None
    return record, [float(v) for v in found.values() if v is not None]
