"""Halving for a study: what its records say about learning curves, who was stopped, and whose training goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from optuna.trial import FrozenTrial

from autokd.config.objectives import metric_of
from autokd.config.plan import Plan
from autokd.storage.ledger import record_of
from autokd.storage.stage_store import StageStore
from autokd.strategies.halving import Curve, Halving
from autokd.trial import CONTINUES, Outcome, Stage, TrialRecord

QUALITY = "accuracy"
"""What learning curves show, whatever the objectives are; every trained student's file is measured by it too."""


class EarlyStopping:
    """Keeps nothing that the ledger's records would not tell it again after a resume.

    A candidate is known by the number of its first trial; a trial that goes on with a stopped one belongs to the same.

    Args:
        plan: The study's plan.
        home: The study's folder, where checkpoints rest.
    """

    def __init__(self, plan: Plan, home: Path) -> None:
        search = plan.config.search
        self.rule: Halving[int] = Halving(
            None if search.first_share == "auto" else float(search.first_share), search.reduction_factor
        )
        self.costs = [o for o in plan.objectives if not metric_of(o.metric).needs_training]
        self.store = StageStore(home / "stages")
        self.stopped: dict[int, tuple[float, str]] = {}
        """First trial of a stopped candidate: the share it was stopped at, and the key of its training."""
        self.news = True

    def shares(self, continued: int | None) -> tuple[float, ...]:
        """Checkpoint shares at which a trial that begins now reports; of a continued candidate those ahead of it."""
        curve = self.rule.curves.get(continued) if continued is not None else None
        done = curve.points[-1][0] if curve is not None and curve.points else 0.0
        return tuple(share for share in self.rule.shares() if share > done)

    def goes_on(self, candidate: int, record: TrialRecord) -> bool:
        """Whether a candidate that rests at a checkpoint share is to be trained on."""
        known, share = self._learn(candidate, record), record.rested_at
        return not known or share is None or self.rule.goes_on(candidate, share)

    def tell(self, number: int, record: TrialRecord) -> None:
        """A trial ended."""
        candidate = _candidate(number, record)
        known = self._learn(candidate, record)
        if known and record.outcome == Outcome.STOPPED and record.rested_at is not None:
            key = next(s.key for s in record.stages if s.stage == Stage.DISTILL)
            self.stopped[candidate] = record.rested_at, key
        elif record.outcome != Outcome.DUPLICATE:
            self.stopped.pop(candidate, None)
            if not known and candidate == number:  # it rested and then was lost: whoever tries again is the candidate
                self.rule.curves.pop(candidate, None)

    def begun(self, trials: Iterable[FrozenTrial]) -> None:
        """Trials of the ledger that wait or run: what they continue is no longer stopped."""
        for trial in trials:
            if not trial.state.is_finished():
                self.stopped.pop(trial.user_attrs.get(CONTINUES, -1), None)

    def to_continue(self) -> int | None:
        """The stopped candidate that deserves to be trained on by now, while its checkpoint is there; asked for once."""
        if not self.news:
            return None
        shares = {n: share for n, (share, key) in self.stopped.items() if self.store.resting(Stage.DISTILL, key)}
        found = self.rule.to_continue(shares) if shares else None
        self.news = found is not None
        if found is not None:
            del self.stopped[found]
        return found

    def _learn(self, candidate: int, record: TrialRecord) -> bool:
        """Take over the curve of a record; ``False`` where it has none, or does not say what the candidate costs."""
        retimed = record.retimed is not None
        known = {m.name: m.value for m in record.measurements} if retimed else record.notes.get("screened", {})
        if record.outcome not in (Outcome.STOPPED, Outcome.MEASURED) or any(o.name not in known for o in self.costs):
            return False
        sign = [1.0 if o.direction == "minimize" else -1.0 for o in self.costs]
        costs = tuple(s * float(known[o.name]) for s, o in zip(sign, self.costs, strict=True))
        points = () if retimed else tuple((float(share), float(q)) for share, q in record.notes.get("curve", ()))
        final = record.value(QUALITY) if record.outcome == Outcome.MEASURED else None
        self.rule.tell(candidate, Curve(points, costs, final))
        self.news = True
        return True


def resting_folders(trials: Iterable[FrozenTrial], store: StageStore) -> list[Path]:
    """The folders of trainings that were stopped and not continued since: their checkpoints may be asked for."""
    found: dict[int, str] = {}
    for trial in trials:
        record = record_of(trial)
        if record is None or record.outcome == Outcome.DUPLICATE:
            continue
        candidate = _candidate(trial.number, record)
        keys = [s.key for s in record.stages if s.stage == Stage.DISTILL]
        if record.outcome == Outcome.STOPPED and keys:
            found[candidate] = keys[-1]
        else:
            found.pop(candidate, None)
    return [store.work(Stage.DISTILL, key) for key in found.values()]


def _candidate(number: int, record: TrialRecord) -> int:
    return number if record.continues is None else record.continues
