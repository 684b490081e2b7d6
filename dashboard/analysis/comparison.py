"""Students side by side, as tables: what they have in common, what differs, and who is best at what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from autokd.config.objectives import Objective, metric_of, title
from autokd.dashboard.analysis.student_tables import Reading, readings
from autokd.formatting import brief
from autokd.storage.lineage import Lineage, left_words
from autokd.storage.results import Member

BEST, EVEN = "★", "≈"
DIFFERS = "≠"


def params(members: Sequence[Member], lineage: Lineage | None = None) -> pd.DataFrame:
    """A row a parameter, a column a student, all text; those that differ first, marked ``≠`` in the first column.

    With a ``lineage`` that knows one of them also where each comes from, and about what its cuts left of its channels.
    """
    known = [{**m.params, **_descent(m.number, lineage)} for m in members]
    names = list(dict.fromkeys(name for params in known for name in params))
    rows = []
    for name in names:
        values = [params.get(name) for params in known]
        mark = DIFFERS if any(v != values[0] for v in values) else ""
        rows.append(
            {"": mark, "parameter": name} | {column(m): brief(v, "–") for m, v in zip(members, values, strict=True)}
        )
    rows.sort(key=lambda row: row[""] == "")
    return pd.DataFrame(rows)


def _descent(number: int, lineage: Lineage | None) -> dict[str, str]:
    if lineage is None or not lineage.origin(number):
        return {}
    left = left_words(lineage.left(number))
    return {"lineage": lineage.origin(number)} | ({"channels left, about": left} if left else {})


def measurements(members: Sequence[Member], objectives: Sequence[Objective]) -> pd.DataFrame:
    """A row a measurement, a column a student, all text with spread and unit; ``★`` is the best of its row.

    ``≈`` marks what cannot be told from the best: the two spreads overlap. What was confirmed on the test split comes last.
    """
    stated = {o.metric: o.direction for o in objectives}
    rows: dict[tuple[str, str, str], dict[int, Reading]] = {}
    for place, member in enumerate(members):
        for reading in readings(member):
            rows.setdefault((title(reading.metric), reading.of, reading.metric), {})[place] = reading
    table = []
    for (name, where, metric), found in sorted(
        rows.items(), key=lambda row: "test" in row[0][1] or "again" in row[0][1]
    ):
        direction = metric_of(metric).direction or stated.get(metric)
        marks = _marks(found, direction)
        cells: dict[str, Any] = {"measurement": name, "of": where}
        for place, member in enumerate(members):
            known = found.get(place)
            cells[column(member)] = f"{known.text} {marks[place]}".strip() if known else "–"
        table.append(cells)
    return pd.DataFrame(table)


def column(member: Member) -> str:
    return f"trial {member.number}"


def _marks(found: dict[int, Reading], direction: str | None) -> dict[int, str]:
    """A mark by place: of the best, and of what is not to be told from it. None where all are equal or only one is known."""
    finite = {place: r for place, r in found.items() if math.isfinite(r.value)}
    marks = dict.fromkeys(found, "")
    if direction is None or len(finite) < 2 or len({r.value for r in finite.values()}) < 2:
        return marks
    sign = 1.0 if direction == "maximize" else -1.0
    top = max(finite.values(), key=lambda r: sign * r.value)
    for place, reading in finite.items():
        away = abs(reading.value - top.value)
        if away == 0:
            marks[place] = BEST
        elif reading.error is not None and top.error is not None and away <= reading.error + top.error:
            marks[place] = EVEN
    return marks
