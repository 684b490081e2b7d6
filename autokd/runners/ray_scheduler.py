"""Non-dominated successive halving as a scheduler of Ray Tune, for several objectives: for any experiment, and for a study's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from autokd.runners.ray_searcher import REPORTED_KEY, LedgerSearcher
from autokd.strategies.halving import FIRST, Curve, Halving
from autokd.trial import TrialRecord


class HalvingScheduler(FIFOScheduler):
    """Stops trials that others beat at equal cost; see :mod:`autokd.strategies.halving` for the rule.

    One metric is learned, and the others are known from a trial's first result on: latency, size, price. ::

        tune.Tuner(trainable, tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=60))

    What Tune asks it: four trials have come to a third of their training. The last is beaten at equal cost, but a weaker one
    that is faster is not.

    >>> from types import SimpleNamespace
    >>> scheduler = HalvingScheduler("accuracy", {"latency_ms": "min"}, max_t=27)
    >>> def told(trial_id, accuracy, latency_ms):
    ...     result = {"training_iteration": 9, "accuracy": accuracy, "latency_ms": latency_ms}
    ...     return scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial_id), result)
    >>> told("a", 0.9, 2.0), told("b", 0.8, 2.0), told("c", 0.85, 2.0), told("d", 0.7, 2.0)
    ('CONTINUE', 'CONTINUE', 'CONTINUE', 'STOP')
    >>> told("e", 0.6, 1.0)
    'CONTINUE'

    Args:
        quality: Metric that trials learn.
        costs: ``"min"`` or ``"max"`` for each metric that does not change while a trial trains.
        mode: ``"max"`` or ``"min"``, of ``quality``.
        time_attr: Result that counts a trial's training.
        max_t: Its value at the end of a training; a trial that has come there is done.
        first: The first share of the training at which trials are compared; ``None``: a third, later learned from finished trials.
        reduction_factor: Of the trials at a share one in so many goes on, at least; also the ratio of two shares.

    Raises:
        ValueError: A mode, a share or a factor that is none.
    """

    def __init__(
        self,
        quality: str,
        costs: Mapping[str, str],
        *,
        mode: str = "max",
        time_attr: str = "training_iteration",
        max_t: float = 100,
        first: float | None = FIRST,
        reduction_factor: float = 3.0,
    ) -> None:
        super().__init__()
        wrong = [m for m in (mode, *costs.values()) if m not in ("min", "max")]
        if wrong:
            raise ValueError(f"a mode must be 'min' or 'max', but got {wrong[0]!r}")
        if not max_t > 0:
            raise ValueError(f"max_t must be above 0, but got {max_t}")
        self.quality, self.sign = quality, 1.0 if mode == "max" else -1.0
        self.costs = {name: 1.0 if m == "min" else -1.0 for name, m in costs.items()}
        self.time_attr, self.max_t = time_attr, max_t
        self.rule: Halving[str] = Halving(first, reduction_factor)
        self.stopped: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial at a checkpoint share that it has just come to, or at the end of its training."""
        share = min(1.0, result[self.time_attr] / self.max_t)
        before = self.rule.curves.get(trial.trial_id)
        points = before.points if before is not None else ()
        done = points[-1][0] if points else 0.0
        curve = self._curve(result, (*points, (share, self.sign * float(result[self.quality]))), ended=share >= 1)
        self.rule.tell(trial.trial_id, curve)
        if share >= 1:
            return str(TrialScheduler.STOP)
        reached = [s for s in self.rule.shares() if done < s <= share]
        if all(self.rule.goes_on(trial.trial_id, s) for s in reached):
            return str(TrialScheduler.CONTINUE)
        self.stopped.add(trial.trial_id)
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial that ended by itself has its final quality; Tune also tells of those that were stopped."""
        if trial.trial_id in self.stopped:
            return
        before = self.rule.curves.get(trial.trial_id)
        if self.quality in result:
            self.rule.tell(trial.trial_id, self._curve(result, before.points if before else (), ended=True))

    def debug_string(self) -> str:
        shares = ", ".join(f"{share:.0%}" for share in self.rule.shares())
        return f"Non-dominated successive halving: compares at {shares} of the training, {len(self.stopped)} stopped."

    def _curve(self, result: Mapping[str, Any], points: tuple[tuple[float, float], ...], ended: bool) -> Curve:
        costs = tuple(sign * float(result[name]) for name, sign in self.costs.items())
        return Curve(points, costs, self.sign * float(result[self.quality]) if ended else None)


class LedgerScheduler(FIFOScheduler):
    """A study's halving under Tune: every result is a record, and the driver, which knows the ledger, decides.

    Args:
        searcher: The study's searcher, which knows the trials' jobs.
    """

    def __init__(self, searcher: LedgerSearcher) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on from a checkpoint share, or stop there; the searcher then tells the ledger the record of the rest."""
        job, text = self.searcher.jobs.get(trial.trial_id), result.get(REPORTED_KEY)
        if result.get("done") or job is None or not text:
            return str(TrialScheduler.CONTINUE)
        goes_on = self.searcher.driver.goes_on(job, TrialRecord.from_json(text))
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher's: nothing is pickled that the ledger knows
