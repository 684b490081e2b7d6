"""Trials that gave no student: what failed, what was outside a constraint and how far; columns in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autokd.config.objectives import Constraint, metric_of
from autokd.errors import UserError
from autokd.trial import Outcome, TrialRecord


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Failed trials by stage and cause, most first: ``stage``, ``cause``, ``trials``, ``first``, ``last``.

    A trial that ended without a record (its process was killed) has the cause ``no record``.
    """
    outcome = frame["outcome"].astype(object)
    lost = (frame["state"] == "FAIL") | outcome.isin([Outcome.FAILED, Outcome.INTERRUPTED])
    rows = frame[lost.to_numpy(dtype=bool)]
    without = rows["outcome"].isna()
    cause = rows["cause"].astype(object).where(rows["cause"].notna(), rows["outcome"].astype(object))
    shown = pd.DataFrame(
        {
            "stage": rows["failed_stage"].astype(object).where(rows["failed_stage"].notna(), "–"),
            "cause": cause.where(~without, "no record"),
            "number": rows["number"],
        }
    )
    return _grouped(shown, ["stage", "cause"])


def rejections(frame: pd.DataFrame) -> pd.DataFrame:
    """Trials outside a constraint by the first one violated, most first.

    Columns ``constraint``, ``before_training`` (refused before it was trained), ``trials``, ``first``, ``last``.
    """
    if "violation" not in frame.columns:
        return pd.DataFrame(columns=["constraint", "before_training", "trials", "first", "last"])
    rows = frame[frame["violation"].notna()]
    before = ~rows["began_training"].map(bool, na_action="ignore").fillna(False).astype(bool)
    if "retimed" in rows.columns:  # another study trained it
        before &= ~rows["retimed"].eq(True)
    before |= rows["cpu_s"].astype(float).eq(0) & rows["saved_cpu_s"].astype(float).eq(
        0
    )  # a step that no cut makes fast enough
    shown = pd.DataFrame(
        {"constraint": rows["violation"].astype(str), "before_training": before, "number": rows["number"]}
    )
    return _grouped(shown, ["constraint", "before_training"])


def _grouped(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    found = rows.groupby(by)["number"].agg(trials="count", first="min", last="max").reset_index()
    return found.sort_values("trials", ascending=False, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Outside:
    """How far a sample of trials is outside one constraint.

    Args:
        of: Trials in the sample.
        unit: The metric's; empty for a plain count or an unknown metric.
        value: Median of what they had.
        amount, most: Median and greatest distance to the limit, in that unit.
        share: The median distance over the limit; ``None`` for a limit of 0.
    """

    of: int
    unit: str
    value: float
    amount: float
    most: float
    share: float | None


def outside(constraint: str, records: Iterable[TrialRecord | None]) -> Outside | None:
    """How far these trials are outside ``constraint``; ``None`` when none of their records says so."""
    hits = [v for r in records if r is not None for v in r.violations if v.constraint == constraint]
    if not hits:
        return None
    try:
        parsed = Constraint.parse(constraint)
    except UserError:  # of a ladder: "latency_ms@cpu_1_thread <= 0.8 times the parent's"
        unit, limit = _unit_of(constraint), 0.0
    else:
        unit, limit = metric_of(parsed.metric).unit, parsed.limit
    amounts = np.array([v.amount for v in hits], dtype=float)
    middle = float(np.median(amounts))
    value = float(np.median([v.value for v in hits]))
    return Outside(len(hits), unit, value, middle, float(amounts.max()), middle / abs(limit) if limit else None)


def _unit_of(constraint: str) -> str:
    """The unit of what a constraint begins with; empty where that is no metric."""
    with suppress(UserError, IndexError):
        return metric_of(constraint.split()[0].partition("@")[0]).unit
    return ""
