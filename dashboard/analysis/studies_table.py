"""All studies of a ledger as one table: how far each is, and the best that it found. No Streamlit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from autokd.dashboard.analysis.trials_table import measurement
from autokd.formatting import span
from autokd.storage.summaries import StudySummary

BEST = "best "
LIMITS = ("trials", "wall_s", "cpu_s")


def table(found: Sequence[StudySummary]) -> pd.DataFrame:
    """One row a study, in the order given.

    Columns: ``study``, ``state``, ``progress`` (0 to 1, NaN where it cannot be known), ``budget`` (text); ``best ..`` with
    unit and device, one each objective of any study, NaN where a study has another; ``measured``, ``rejected``, ``failed``;
    ``begun`` (date, local to the server), ``searched (min)``, ``ended because``.
    """
    rows = []
    for s in found:
        row: dict[str, Any] = {"study": s.name, "state": s.state, "progress": share(s), "budget": budget_text(s.plan)}
        for name, value in s.best.items():
            c = measurement(name)
            row[BEST + c.shown] = value * c.factor
        row |= {
            "measured": s.counts.get("COMPLETE", 0),
            "rejected": s.counts.get("PRUNED", 0),
            "failed": s.counts.get("FAIL", 0),
            "begun": datetime.fromtimestamp(s.begun) if s.begun is not None else None,
            "searched (min)": s.wall_s / 60,
            "ended because": s.reason,
        }
        rows.append(row)
    frame = pd.DataFrame(rows)
    best = [c for c in frame.columns if c.startswith(BEST)]
    first = ["study", "state", "progress", "budget", *best]
    frame = frame[[*first, *(c for c in frame.columns if c not in first)]]
    return frame.astype({"progress": float}).assign(begun=pd.to_datetime(frame["begun"]))


def limits(plan: Mapping[str, Any]) -> dict[str, float]:
    """The budget of a raw plan; empty for one of another form."""
    config = plan.get("config")
    budget = config.get("budget") if isinstance(config, Mapping) else None
    stated = budget if isinstance(budget, Mapping) else {}
    return {
        k: float(v) for k in LIMITS if isinstance(v := stated.get(k), int | float) and not isinstance(v, bool) and v > 0
    }


def budget_text(plan: Mapping[str, Any]) -> str:
    """``30 trials, 2.0 h``: what ends the search, whichever comes first."""
    stated = limits(plan)
    texts = {"trials": lambda v: f"{v:,.0f} trials", "wall_s": span, "cpu_s": lambda v: f"{span(v)} of CPU"}
    found = [texts[k](v) for k, v in stated.items()]
    config = plan.get("config")
    budget = config.get("budget") if isinstance(config, Mapping) else None
    until = budget.get("until") if isinstance(budget, Mapping) else None
    return ", ".join([*found, *([until] if isinstance(until, str) else [])])


def share(summary: StudySummary) -> float | None:
    """How much of the nearest limit is spent, 0 to 1.

    Trials that were measured or failed are taken for those that count. CPU seconds are in the trials' records, which are not
    read for a list: a study with that limit alone has no share until it ends.
    """
    if summary.state == "finished" and summary.reason.startswith("the budget "):
        return 1.0
    stated, shares = limits(summary.plan), []
    if "trials" in stated:
        shares.append((summary.counts.get("COMPLETE", 0) + summary.counts.get("FAIL", 0)) / stated["trials"])
    if "wall_s" in stated:
        shares.append(summary.wall_s / stated["wall_s"])
    return min(1.0, max(shares)) if shares else None


def readable(plan: Mapping[str, Any]) -> bool:
    """Whether this version understands a plan: one of another version cannot be opened."""
    from autokd.config.plan import Plan

    try:
        Plan.from_json(json.dumps(plan))
    except Exception:  # whatever another version wrote
        return False
    return True
