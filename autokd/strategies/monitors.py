"""What a study's trials say about going on, and about what ranks candidates: from the ledger or from a reader's table.

Loads neither torch nor ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from autokd.config.objectives import Objective, metric_of
from autokd.storage.ledger import record_of
from autokd.strategies.expected_gain import GainWatch
from autokd.strategies.proxy import ProxyGate, log_macs_params
from autokd.strategies.search_clock import search_clock
from autokd.trial import Outcome, TrialRecord

if TYPE_CHECKING:
    import pandas as pd


def watch_trials(
    objectives: Sequence[Objective], reference: Sequence[float] | None, trials: Sequence[FrozenTrial]
) -> tuple[GainWatch, float]:
    """The watch over a ledger's finished trials, and the seconds that they were searched; pauses are left out."""
    done = [t for t in trials if t.state.is_finished()]
    begun = [t.datetime_start.timestamp() if t.datetime_start else np.nan for t in done]
    ended = [t.datetime_complete.timestamp() if t.datetime_complete else np.nan for t in done]
    told = [t.state != TrialState.FAIL or (r := record_of(t)) is None or r.outcome != Outcome.INTERRUPTED for t in done]
    measured = [t.state == TrialState.COMPLETE for t in done]
    nothing = [np.nan] * len(objectives)
    values = [
        t.values if m and not any(a > 0 for a in t.constraints.values()) else nothing
        for t, m in zip(done, measured, strict=True)
    ]
    columns = (np.array(begun, float), np.array(ended, float), np.array(told, bool), np.array(measured, bool))
    return _watch(objectives, reference, *columns, np.array(values, float).reshape(-1, len(objectives)))


def watch_frame(objectives: Sequence[Objective], reference: Sequence[float] | None, frame: pd.DataFrame) -> GainWatch:
    """The watch over the finished trials of a :attr:`autokd.storage.reader.TrialReader.frame`."""
    values = np.full((len(frame), len(objectives)), np.nan)
    for place, o in enumerate(objectives):
        if o.name in frame.columns:
            values[:, place] = frame[o.name].to_numpy(dtype=float)
    values[~frame["feasible"].eq(True).to_numpy()] = np.nan
    outcome = frame["outcome"]
    told, measured = (outcome != Outcome.INTERRUPTED).to_numpy(), outcome.eq(Outcome.MEASURED).to_numpy()
    begun, ended = frame["begun"].to_numpy(dtype=float), frame["ended"].to_numpy(dtype=float)
    return _watch(objectives, reference, begun, ended, told, measured, values)[0]


def _watch(
    objectives: Sequence[Objective],
    reference: Sequence[float] | None,
    begun: np.ndarray,
    ended: np.ndarray,
    told: np.ndarray,
    measured: np.ndarray,
    values: np.ndarray,
) -> tuple[GainWatch, float]:
    watch = GainWatch(objectives, reference)
    if not len(ended):
        return watch, 0.0
    clock = search_clock(begun, ended, told)
    rows = np.flatnonzero(measured)
    rows = rows[np.argsort(clock[rows], kind="stable")]
    watch.extend(clock[rows], values[rows])
    return watch, float(clock.max())


def gate_trials(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> ProxyGate:
    """How well log(MACs x parameters) ranked a ledger's measured students; see :class:`autokd.strategies.proxy.ProxyGate`."""
    gate = empty_gate(objectives)
    for trial in trials:
        record = record_of(trial) if trial.state == TrialState.COMPLETE else None
        if record is not None:
            show(gate, objectives, record)
    return gate


def empty_gate(objectives: Sequence[Objective]) -> ProxyGate:
    """A gate that has seen no student yet."""
    return _gate(goals_of(objectives)[1])


def show(gate: ProxyGate, objectives: Sequence[Objective], record: TrialRecord) -> None:
    """Show a gate one measured student."""
    quality, cost = goals_of(objectives)
    if quality is not None:
        proxy = log_macs_params(record.value("macs"), record.value("params"))
        gate.observe(_better(quality, record.value(quality.name)), proxy, record.value(cost.name) if cost else None)


def gate_frame(objectives: Sequence[Objective], frame: pd.DataFrame) -> ProxyGate:
    """The same of a :attr:`autokd.storage.reader.TrialReader.frame`."""
    quality, cost = goals_of(objectives)
    gate = _gate(cost)
    if quality is None or not {quality.name, "macs", "params"} <= set(frame.columns):
        return gate
    rows = frame[frame["outcome"].eq(Outcome.MEASURED)]
    costs = rows[cost.name] if cost is not None and cost.name in rows.columns else [None] * len(rows)
    for value, macs, params, spent in zip(rows[quality.name], rows["macs"], rows["params"], costs, strict=True):
        gate.observe(_better(quality, value), log_macs_params(macs, params), spent)
    return gate


def goals_of(objectives: Sequence[Objective]) -> tuple[Objective | None, Objective | None]:
    """The quality that a proxy is to rank, and the cost that is known without it: the first of each, if there is one."""
    trained = [o for o in objectives if metric_of(o.metric).needs_training]
    free = [o for o in objectives if not metric_of(o.metric).needs_training and o.metric not in ("macs", "params")]
    return (trained[0] if trained else None), (free[0] if free else None)


def _gate(cost: Objective | None) -> ProxyGate:
    if cost is None:
        return ProxyGate()
    unit = metric_of(cost.metric).unit
    return ProxyGate(cost=cost.metric.removesuffix(f"_{unit}") if unit else cost.metric)


def _better(quality: Objective, value: float | None) -> float | None:
    """Larger is better."""
    return None if value is None else float(value) if quality.direction == "maximize" else -float(value)
