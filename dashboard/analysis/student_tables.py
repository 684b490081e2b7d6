"""Students as tables: those of a front, a row each; all that was measured of one; its parameters. Frames out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from autokd.config.objectives import Objective, error_of, metric_of, relative_spread, title
from autokd.dashboard.analysis.texts import UNITS, heading, small_times, where
from autokd.formatting import brief, number
from autokd.storage.lineage import Lineage, left_words
from autokd.storage.results import Member
from autokd.study.front_table import Confirmed, Row, columns_of, confirmed_facts, rows_of

LEFT = "channels left, about"


@dataclass(frozen=True)
class Reading:
    """One number of one student.

    Args:
        metric: What was measured.
        of: A device, a split, or the file.
        value: In ``unit``.
        error: Its half-width, in its own unit.
        text: With unit and spread, for people.
    """

    metric: str
    of: str
    value: float
    unit: str
    error: float | None
    text: str


def readings(member: Member) -> Iterator[Reading]:
    """Every measurement of a student, then what ``autokd confirm`` found."""
    for m in member.record.measurements:
        text = number(m.value, m.unit, m.spread, relative=relative_spread(m.metric))
        yield Reading(m.metric, where(m), m.value, m.unit, error_of(m.metric, m.value, m.spread), text)
    for c in confirmed_facts(member.confirmed):
        unit = metric_of(c.metric).unit
        yield Reading(c.metric, _confirmed_on(c), c.value, unit, c.error, number(c.value, unit, c.error))


def facts_table(member: Member) -> pd.DataFrame:
    """Every measurement of a student with unit, spread, and where it was taken."""
    return pd.DataFrame([{"measurement": title(r.metric), "value": r.text, "of": r.of} for r in readings(member)])


def params_table(params: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"parameter": list(params), "value": [brief(v, "None") for v in params.values()]})


def front_table(
    rows: pd.DataFrame,
    objectives: Sequence[Objective],
    confirmed: Mapping[str, Mapping[str, float]],
    lineage: Lineage | None = None,
) -> pd.DataFrame:
    """Students, one row each: trial, objectives with spread, size, test quality, parameters; units in the names.

    Args:
        rows: Of a reader's frame.
        objectives: Whose columns come first.
        confirmed: What ``autokd confirm`` found, by the trial's number as text.
        lineage: Who descends from whom: says where a student comes from, and what a ladder's cuts left of its channels.
    """
    found = rows_of(rows, columns_of(objectives), confirmed, lineage or Lineage(()))
    table = pd.DataFrame([_cells(row) for row in found])
    silent = [c for c in ("lineage", LEFT) if c in table.columns and not table[c].any()]
    return small_times(table.drop(columns=silent))


def _cells(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {"trial": row.number, "lineage": row.origin}
    for m in row.cells:
        if m is not None:
            shown |= _cell(m.metric, m.profile, m.value, error_of(m.metric, m.value, m.spread))
    for c in row.confirmed:
        shown |= _cell(c.metric, _confirmed_on(c), c.value, c.error)
    return shown | {LEFT: left_words(row.left)} | dict(row.params)


def _cell(metric: str, of: str | None, value: float, error: float | None) -> dict[str, float]:
    factor = UNITS.get(metric_of(metric).unit, (1.0, ""))[0]
    cells = {heading(metric, of): factor * value}
    return cells if error is None else cells | {heading(metric, of, spread=True): factor * error}


def _confirmed_on(found: Confirmed) -> str:
    return f"{found.profile}, again" if found.profile else "test split"
