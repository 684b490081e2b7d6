"""The students that a person can choose from, as numbers and lines; columns in, texts out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from autokd.config.objectives import Objective, metric_of
from autokd.dashboard.analysis.selection import compromise
from autokd.formatting import number

MOST = 1000
"""Students off the front that a list offers, the latest first: a browser does not like a list of 100,000."""


def offered(measured: pd.DataFrame, front: pd.DataFrame, also: Iterable[int] = ()) -> list[int]:
    """Trial numbers: the front, cheapest first, then the latest others; ``also`` are kept however old they are."""
    best = [int(n) for n in front["number"]]
    others = measured.loc[~measured["number"].isin(best), "number"]
    latest = [int(n) for n in others.iloc[::-1].iloc[:MOST]]
    known = {*best, *latest}
    kept = [n for n in dict.fromkeys(also) if n not in known and bool((others == n).any())]
    return [*best, *latest, *kept]


def lines(
    measured: pd.DataFrame, front: pd.DataFrame, numbers: Sequence[int], objectives: Sequence[Objective]
) -> dict[int, str]:
    """``trial 3: 86.5%, 21.3 µs (not on the front)`` by trial number."""
    best = {int(n) for n in front["number"]}
    rows = measured[measured["number"].isin(numbers)]
    columns = [(rows[o.name].to_numpy(dtype=float), metric_of(o.metric).unit) for o in objectives]
    found = {}
    for place, trial in enumerate(rows["number"].to_numpy()):
        values = ", ".join(number(float(column[place]), unit) for column, unit in columns)
        found[int(trial)] = f"trial {trial}: {values}" + ("" if trial in best else " (not on the front)")
    return found


def suggested(front: pd.DataFrame, measured: pd.DataFrame, objectives: Sequence[Objective]) -> list[int]:
    """Two or three students to compare: the cheapest of the front, its knee, its best; of a front of one, the latest other."""
    if not len(front):
        return []
    quality = next((o for o in objectives if o.scale == "linear"), objectives[0])
    ordered = front.sort_values(quality.name, ascending=quality.direction == "minimize", kind="stable")
    wanted = [int(front["number"].iloc[0]), compromise(front, objectives), int(ordered["number"].iloc[0])]
    found = list(dict.fromkeys(n for n in wanted if n is not None))
    if len(found) < 2:
        found += [int(n) for n in measured["number"].iloc[::-1] if n not in found][:1]
    return found
