"""Studies that cost nothing: learning curves known beforehand, whose noise is that of real ones, and a clock that only says so.

::

    clock = FakeClock()
    simulate(Driver(ledger, plan, home, clock=clock), curve_of, clock, concurrency=4)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokd.files import digest, read_json, write_atomic, write_json
from autokd.runners.evaluator import going_on
from autokd.storage.stage_store import CHECKPOINT, StageStore
from autokd.strategies.driver import Driver
from autokd.strategies.job import Job
from autokd.trial import RESTED, Measurement, Outcome, ParamValue, Stage, StageRecord, TrialRecord, merged

POINTS = tuple(i / 8 for i in range(1, 9))
"""Shares of the training at which a simulated curve has a point, as a short training's has."""
NOISE = {0.0: 5.0, 0.11: 3.0, 1 / 3: 0.72, 0.6: 0.4, 1.0: 0.0}
"""Standard deviation of what a curve at some share of the training hides of its end, over that of the ends: distillations on
Fashion-MNIST have rank correlations of .31, .80 and .92 at 11, 33 and 60 %."""
BEHIND = 1.6
"""Logits by which a curve lies below its end when training begins."""


@dataclass(frozen=True)
class SimulatedCurve:
    """A candidate whose training is known before it begins.

    Args:
        latency_ms: What it costs, exact.
        shares: Shares of the training of the points, ascending; the last is 1.
        accuracies: One a share.
        cpu_s: CPU seconds of its whole training.
    """

    latency_ms: float
    shares: tuple[float, ...]
    accuracies: tuple[float, ...]
    cpu_s: float

    @property
    def final(self) -> float:
        return self.accuracies[-1]

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Share and accuracy."""
        return tuple(zip(self.shares, self.accuracies, strict=True))

    def rest_at(self, until: float | None, done: float) -> float:
        """The share of the point at which a training that is asked to rest comes to rest; one that is further rests at once."""
        if until is None:
            return 1.0
        return max(done, next(share for share in self.shares if share >= until - 1e-6))


def curve_to(
    end: float, spread: float, decades: float, rng: np.random.Generator, shares: Sequence[float] = POINTS
) -> SimulatedCurve:
    """A curve that ends at ``end`` logits, of a candidate ``decades`` slower than 0.01 ms.

    Its distance from its own end is noise that shrinks as ``NOISE`` says, in units of ``spread`` logits; half of its variance is
    the same all along the curve: some candidates are slow starters.
    """
    own, accuracies = rng.standard_normal(), []
    for share in shares:
        sd = spread * float(np.interp(share, [*NOISE], [*NOISE.values()]))
        noise = sd * (own + rng.standard_normal()) / math.sqrt(2)
        accuracies.append(1 / (1 + math.exp(-(end - BEHIND * (1 - share) + noise))))
    return SimulatedCurve(0.01 * 10**decades, tuple(shares), tuple(accuracies), 2 + 6 * decades)


def simulated_curves(seed: int, count: int, shares: Sequence[float] = POINTS) -> list[SimulatedCurve]:
    """Candidates of a space where latency buys accuracy, with luck: a net three times as slow may still be worse."""
    rng = np.random.default_rng([seed, count])
    decades = rng.uniform(0, 2, count)
    ends = 1.2 + 0.6 * decades + 0.45 * rng.standard_normal(count)
    spread = float(ends.std())
    return [curve_to(float(e), spread, float(d), rng, shares) for e, d in zip(ends, decades, strict=True)]


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def simulate(
    driver: Driver,
    curve_of: Callable[[Mapping[str, ParamValue]], SimulatedCurve],
    clock: FakeClock,
    concurrency: int = 1,
    most_events: float = math.inf,
) -> None:
    """Run a driver's jobs as a runner does, with rests at checkpoint shares, on a fake clock; the records are those of real trials.

    The study must have two objectives, accuracy and one latency.

    Args:
        driver: Made with ``clock``.
        curve_of: The training of a candidate's parameters.
        clock: Is set forward to the end of each piece of training.
        concurrency: Trials at a time.
        most_events: After so many ends of pieces nothing more is done, as if the process had been killed.
    """
    store = StageStore(driver.home / "stages")
    running: list[tuple[float, int, Job, dict[str, Any], TrialRecord]] = []

    def begin(job: Job, asked: dict[str, Any]) -> None:
        record = _piece(job, asked, curve_of(job.candidate.params), driver, store)
        took = record.cpu_s - sum(stage["cpu_s"] for stage in asked.get("before", ()))
        heapq.heappush(running, (clock.now + took, job.number, job, asked, record))

    while True:
        while len(running) < concurrency and (job := driver.next()) is not None:
            begin(job, job.to_dict())
        if not running or most_events <= 0:
            return
        clock.now, _, job, asked, record = heapq.heappop(running)
        most_events -= 1
        write_atomic(job.folder / "record.json", record.to_json())
        if record.outcome == Outcome.STOPPED:
            _rest(store, record)
        if driver.goes_on(job, record):
            begin(job, going_on(asked, record))
        else:
            driver.complete(job, record)


def _piece(job: Job, asked: Mapping[str, Any], curve: SimulatedCurve, driver: Driver, store: StageStore) -> TrialRecord:
    """The record at the end of a piece of training."""
    latency = next(o for o in driver.plan.objectives if o.metric == "latency_ms")
    key = digest([dict(job.candidate.params)])
    done = float(read_json(store.work(Stage.DISTILL, key) / CHECKPOINT, {}).get("share", 0.0))
    until: float | None = asked["until"]
    to = curve.rest_at(until, done)
    before = [StageRecord(**stage) for stage in asked.get("before", ())]
    spent = curve.cpu_s * (to - done)
    measured = [Measurement("latency_ms", curve.latency_ms, "ms", latency.profile)]
    notes: dict[str, Any] = {
        "screened": {latency.name: curve.latency_ms},
        "curve": [[share, accuracy] for share, accuracy in curve.points if share <= to],
    }
    if until is None:
        measured.append(Measurement("accuracy", curve.final, "ratio"))
    else:
        notes[RESTED] = until
    return TrialRecord(
        Outcome.MEASURED if until is None else Outcome.STOPPED,
        dict(job.candidate.params),
        tuple(measured),
        stages=merged(before, [StageRecord(Stage.DISTILL, key, spent, spent)]),
        began_training=True,
        folder=str(job.folder),
        notes=notes,
    )


def _rest(store: StageStore, record: TrialRecord) -> None:
    work = store.work(Stage.DISTILL, record.stages[-1].key)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / CHECKPOINT, {"share": record.notes["curve"][-1][0]})
