"""Where a search stands, from the columns of its trials: budget, time left, outcomes, savings. Knows nothing of Streamlit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from autokd.config.study_file import BudgetConfig
from autokd.figures import search_seconds
from autokd.files import read_json
from autokd.formatting import span
from autokd.storage.lineage import Lineage
from autokd.storage.reader import Running
from autokd.trial import Outcome

RECENT = 20
"""Trials whose pace the time left is computed from."""
FEWEST = 3
"""Fewer trials than these have no pace."""


@dataclass(frozen=True)
class Spent:
    """One limit of the budget: ``done`` of ``of``, in ``unit``."""

    unit: str
    done: float
    of: float

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(1.0, max(0.0, self.done / self.of)) if self.of > 0 else 1.0

    def __str__(self) -> str:
        if self.unit == "trials":
            return f"{self.done:.0f} of {self.of:.0f} trials"
        return f"{span(self.done)} of {span(self.of)}" + (" CPU time" if self.unit == "CPU" else "")


@dataclass(frozen=True)
class Saved:
    """What was not spent.

    Args:
        rejected: Trials refused before training.
        train_cpu_s: CPU seconds of a typical trained trial, the median; ``None`` before the first.
        reused: Trials that found stages in the store.
        reused_cpu_s: What these stages had cost.
        stopped: Trials that ended early by halving and were not continued since.
        stopped_cpu_s: What they would have cost more, by the typical trial; ``None`` before the first.
    """

    rejected: int
    train_cpu_s: float | None
    reused: int
    reused_cpu_s: float
    stopped: int
    stopped_cpu_s: float | None

    @property
    def rejected_cpu_s(self) -> float | None:
        """What training them would have cost, about."""
        return None if self.train_cpu_s is None else self.rejected * self.train_cpu_s


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column, or one of missing values: a study has only the columns that some trial filled."""
    return frame[name] if name in frame.columns else pd.Series([None] * len(frame), index=frame.index, dtype=object)


def counted(frame: pd.DataFrame) -> pd.Series:
    """Which trials count towards ``budget.trials``: a bool a row, as :func:`autokd.strategies.job.counts` decides."""
    ended = column(frame, "outcome").isin([Outcome.MEASURED, Outcome.STOPPED, Outcome.FAILED])
    # the child of `autokd finish` was asked for by no search; a ladder's rungs have parents and were
    own = column(frame, "parent").isna() | column(frame, "rung").notna()
    own &= column(frame, "continues").isna()  # its candidate was counted when it was stopped
    return ended & own & column(frame, "began_training").eq(True) & ~column(frame, "retried").eq(True)


def outcomes(frame: pd.DataFrame) -> dict[str, int]:
    """Finished trials by outcome, those that occur only; ``unknown`` where the record is damaged."""
    found = column(frame, "outcome").fillna("unknown").value_counts()
    names = [*(o.value for o in Outcome), "unknown"]
    return {name: int(found[name]) for name in names if name in found.index}


def wall_seconds(stated: float, frame: pd.DataFrame, running: Sequence[Running], live: bool, now: float) -> float:
    """Seconds of searching until now: what the driver wrote down when a trial last ended, and the time since then."""
    begun = [r.begun for r in running if r.begun is not None]
    if not live or not begun:
        return stated
    ended = column(frame, "ended").astype(float).max() if len(frame) else -math.inf
    since = min(begun) if math.isnan(ended) else max(min(begun), float(ended))
    return stated + max(0.0, now - since)


def budget(limits: BudgetConfig, frame: pd.DataFrame, wall_s: float, cpu_s: float = 0.0) -> list[Spent]:
    """What is spent of every limit that the study has; ``cpu_s``: of everything, where the ledger says it."""
    found = []
    if limits.trials is not None:
        found.append(Spent("trials", float(counted(frame).sum()), float(limits.trials)))
    if limits.wall_s is not None:
        found.append(Spent("clock", wall_s, limits.wall_s))
    if limits.cpu_s is not None:
        trials = float(column(frame, "cpu_s").astype(float).sum())
        found.append(Spent("CPU", max(trials, cpu_s), limits.cpu_s))
    return found


def more_budget(spent: Sequence[Spent]) -> str:
    """``--set`` options that raise every limit which is spent by half, for ``autokd resume``; empty when none is."""
    keys = {"trials": "trials", "clock": "wall_s", "CPU": "cpu_s"}
    return " ".join(f"--set budget.{keys[s.unit]}=+{max(1, round(s.of / 2))}" for s in spent if s.share >= 1)


def seconds_left(spent: Sequence[Spent], frame: pd.DataFrame) -> float | None:
    """Until the first limit is reached, at the pace of the last trials that counted; ``None`` while there is no pace."""
    left: list[float] = [s.of - s.done for s in spent if s.unit == "clock"]
    rows = frame[counted(frame)].sort_values("ended", kind="stable") if len(frame) else frame
    if len(rows) >= FEWEST:
        clock = pd.Series(search_seconds(frame), index=frame.index)[rows.index]
        recent = rows.iloc[-RECENT - 1 :]
        took = float(clock.iloc[-1] - clock[recent.index[0]])
        pace = {"trials": len(recent) - 1.0, "CPU": float(recent["cpu_s"].astype(float).iloc[1:].sum())}
        left += [(s.of - s.done) * took / pace[s.unit] for s in spent if pace.get(s.unit)]
    return max(0.0, min(left)) if left else None


def saved(frame: pd.DataFrame) -> Saved:
    """What early rejection, the store of stages and early stopping spared."""
    outcome, began = column(frame, "outcome"), column(frame, "began_training").eq(True)
    continues = column(frame, "continues")
    trained = outcome.eq(Outcome.MEASURED) & began & column(frame, "stage_distill_s").notna() & continues.isna()
    typical = float(frame.loc[trained, "cpu_s"].astype(float).median()) if trained.any() else None
    candidate = continues.where(
        continues.notna(), column(frame, "number")
    )  # one that was continued since spared nothing
    stopped = frame[outcome.eq(Outcome.STOPPED) & ~candidate.duplicated(keep="last")] if len(frame) else frame
    reused = column(frame, "saved_cpu_s").astype(float).fillna(0.0)
    return Saved(
        rejected=int((outcome.eq(Outcome.INFEASIBLE) & ~began & ~column(frame, "retimed").eq(True)).sum()),
        train_cpu_s=typical,
        reused=int((reused > 0).sum()),
        reused_cpu_s=float(reused.sum()),
        stopped=len(stopped),
        stopped_cpu_s=None
        if typical is None
        else float((typical - stopped["cpu_s"].astype(float)).clip(lower=0).sum()),
    )


def running_table(
    running: Sequence[Running], folder: Callable[[int], Path], now: float, lineage: Lineage | None = None
) -> pd.DataFrame:
    """What runs: ``trial``, ``stage``, ``done`` (share of the stage's samples, 0 to 1) and ``running for`` (text).

    On a ladder also ``rung``, what a trial does: ``root``, or ``narrow of 8``.
    """
    rows = []
    rungs = {r.number: lineage.named(r.rung) for r in running if r.rung is not None and lineage is not None}
    for one in running:
        told = _progress(folder(one.number))
        rows.append(
            {
                "trial": one.number,
                "stage": str(told.get("stage") or "starting"),
                "done": _share(told.get("samples"), told.get("of")),
                "running for": span(max(0.0, now - one.begun)) if one.begun is not None else "",
            }
        )
    table = pd.DataFrame(rows, columns=["trial", "stage", "done", "running for"]).astype({"done": float})
    if rungs:
        table.insert(1, "rung", [rungs.get(n, "") for n in table["trial"]])
    return table


def _share(done: object, of: object) -> float | None:
    """Between 0 and 1; ``None`` where a trial said no numbers."""
    if not isinstance(done, int | float) or not isinstance(of, int | float) or of <= 0:
        return None
    return min(1.0, max(0.0, done / of))


def _progress(folder: Path) -> Mapping[str, Any]:
    """A trial's last word; empty before its first, and for what cannot be read."""
    told = read_json(folder / "progress.json", {})
    return told if isinstance(told, Mapping) else {}


def newest_failures(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """The rows of the trials that failed last, the latest first."""
    failed = frame[column(frame, "outcome").eq(Outcome.FAILED)] if len(frame) else frame
    return failed.sort_values("ended", kind="stable").iloc[-most:].iloc[::-1] if len(failed) else failed
