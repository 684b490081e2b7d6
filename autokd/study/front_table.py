"""The students of a front as a table of facts: the terminal prints it, the dashboard shows it, both read it here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from autokd.config.objectives import Objective, metric_of, spread_of
from autokd.formatting import common
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.by_class import ByClass
from autokd.storage.ledger import record_of
from autokd.storage.lineage import ROOT, RUNGS, Lineage, grouped
from autokd.storage.results import Member, compared_with, objectives_on
from autokd.study.by_class import by_class, classes_of
from autokd.study.opened import OpenStudy
from autokd.trial import ERROR, Measurement

if TYPE_CHECKING:
    import pandas as pd

BESIDE = ("size_bytes", "params")
"""Metrics that are shown beside the objectives where they are none of them."""
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One measurement of every student.

    Args:
        metric: E.g. ``"latency_ms"``.
        unit: The metric's; empty for a plain count.
        profile: Hardware profile, or ``None`` where no device is involved.
        direction: ``maximize`` or ``minimize`` of an objective; ``None`` beside the objectives.
    """

    metric: str
    unit: str
    profile: str | None = None
    direction: str | None = None

    @property
    def name(self) -> str:
        """As measurements are called: ``latency_ms@cpu_1_thread``."""
        return f"{self.metric}@{self.profile}" if self.profile else self.metric


@dataclass(frozen=True)
class Confirmed:
    """One number that ``autokd confirm`` found.

    Args:
        metric: Of the test split, or the latency that was timed again.
        value: In the metric's unit.
        profile: Where it was timed again; ``None`` for quality on the test split.
        error: Standard error of a quality.
    """

    metric: str
    value: float
    profile: str | None = None
    error: float | None = None


@dataclass(frozen=True)
class Row:
    """One student.

    Args:
        number: Trial number.
        cells: Its measurements, one a column; ``None`` where it has none.
        confirmed: What ``autokd confirm`` found; empty before.
        origin: Where a ladder brought it from: ``narrow of 8, root 0``; empty for an ordinary trial.
        left: About what the cuts since its root left of its channels, a share by prune group.
        params: The parameters that are told of it.
        by_class: What it had right of each class of the validation split; ``None`` of trials of earlier versions.
        on_test: Likewise of the test split; ``None`` before ``autokd confirm``.
    """

    number: int
    cells: tuple[Measurement | None, ...]
    confirmed: tuple[Confirmed, ...]
    origin: str
    left: Mapping[str, float]
    params: Params
    by_class: ByClass | None = None
    on_test: ByClass | None = None


@dataclass(frozen=True)
class TimedAgain:
    """How far the second timings of the same files are from the first, relative to them: in the median, and at most."""

    median: float
    most: float


@dataclass(frozen=True)
class Against:
    """What students are held against: the teacher, or without one the dearest root.

    Args:
        kind: ``"teacher"`` or ``"yardstick"``.
        name: For people.
        cells: Its measurements, one a column.
    """

    kind: str
    name: str
    cells: tuple[Measurement | None, ...]


@dataclass(frozen=True)
class FrontTable:
    """A front with all that is said about it.

    Args:
        study: Its name.
        columns: The objectives, then what is shown beside them.
        rows: The students, cheapest first; ``params`` are those that tell one from the others and from its root.
        shared: Parameters that all of them have in common; told once.
        roots: What tells the roots from each other that ladders began with, by trial number.
        against: What students are held against, with its measurements; ``None`` before there is one.
        hypervolume: Over ``reference``; ``None`` before the teacher, and on a profile that the objectives do not state.
        reference: The hypervolume's reference point by objective.
        again: Of the first latency among the objectives; ``None`` where nothing was timed again.
        descends: Whether one of the students descends from another trial, or another from it.
        classes: Names of the data's classes, in order.
    """

    study: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    shared: Params
    roots: Mapping[int, Params]
    against: Against | None
    hypervolume: float | None
    reference: Mapping[str, float]
    again: TimedAgain | None
    descends: bool
    classes: tuple[str, ...] = ()

    @property
    def unbalanced(self) -> bool:
        """Whether the classes of the validation split are so unequal that the worst one must be shown."""
        return any(row.by_class is not None and row.by_class.unbalanced for row in self.rows)

    @property
    def confirmed(self) -> bool:
        """Whether the test split was read for one of them."""
        return any(row.confirmed for row in self.rows)

    @property
    def latency(self) -> Column | None:
        """The first latency among the objectives."""
        return next((c for c in self.columns if c.direction and c.metric == "latency_ms"), None)


def columns_of(objectives: Sequence[Objective]) -> tuple[Column, ...]:
    """The objectives, then size and parameters where they are none of them."""
    stated = [Column(o.metric, metric_of(o.metric).unit, o.profile, o.direction) for o in objectives]
    named = {o.metric for o in objectives}
    return (*stated, *(Column(m, metric_of(m).unit) for m in BESIDE if m not in named))


def front_table(study: OpenStudy, found: Sequence[Member], profile: str | None = None) -> FrontTable:
    """The table of a study's front.

    Args:
        found: The front's members on ``profile``.

    Raises:
        StudyError: The study was not measured on that profile.
    """
    objectives = objectives_on(study.plan, profile)
    own = objectives == study.plan.objectives  # the reference point is of those
    columns, lineage = columns_of(objectives), study.lineage()
    told, roots = _told(study, found, lineage)
    shared = common([*told.values(), *roots.values()])
    rows, splits = [], by_class(study, found)
    for m in found:
        measured = {known.name: known for known in m.record.measurements}
        above = roots.get(lineage.root(m.number), {})
        params = {k: v for k, v in told[m.number].items() if k not in shared and (v != above.get(k) or k == "bits")}
        row = _row(m.number, columns, measured, m.confirmed, lineage, params)
        here, there = splits[m.number]
        rows.append(replace(row, by_class=here, on_test=there))
    latency = next((o.name for o in objectives if o.metric == "latency_ms"), None)
    return FrontTable(
        study=study.name,
        columns=columns,
        rows=tuple(rows),
        shared=shared,
        roots={n: {k: v for k, v in params.items() if k not in shared and k != "bits"} for n, params in roots.items()},
        against=_against(study, columns),
        hypervolume=study.hypervolume() if own else None,
        reference=dict(zip((o.name for o in study.plan.objectives), study.reference_point or (), strict=False)),
        again=timed_again(found, latency) if latency else None,
        descends=any(m.number in lineage for m in found),
        classes=classes_of(study),
    )


def rows_of(
    frame: pd.DataFrame,
    columns: Sequence[Column],
    confirmed: Mapping[str, Mapping[str, float]],
    lineage: Lineage,
) -> list[Row]:
    """The rows of a :attr:`autokd.storage.reader.TrialReader.frame`, with all their parameters.

    Args:
        confirmed: What ``autokd confirm`` found, by the trial's number as text.
    """
    prefix = "params_"
    params = [str(c) for c in frame.columns if str(c).startswith(prefix) and frame[c].notna().any()]
    found = []
    for row in frame.to_dict("records"):
        number = int(row["number"])
        measured = {
            c.name: _measurement(c, row[c.name], _known(row.get(c.name + ERROR)))
            for c in columns
            if _known(row.get(c.name)) is not None
        }
        own = {c.removeprefix(prefix): row[c] for c in params}
        found.append(_row(number, columns, measured, confirmed.get(str(number)), lineage, own))
    return found


def _measurement(column: Column, value: float, error: float | None) -> Measurement:
    return Measurement(column.metric, value, column.unit, column.profile, spread_of(column.metric, value, error))


def confirmed_facts(confirmed: Mapping[str, float] | None) -> Iterator[Confirmed]:
    """What ``autokd confirm`` wrote: quality of the test split with its standard error; latency again."""
    confirmed = confirmed or {}
    for name, value in confirmed.items():
        metric, at, profile = name.partition("@")
        if at:
            yield Confirmed(metric, value, profile)
        elif not name.endswith("_se"):
            yield Confirmed(name, value, error=confirmed.get(f"{name}_se"))


def timed_again(found: Sequence[Member], latency: str) -> TimedAgain | None:
    """How far the second timings are from the first; ``None`` where there are none."""
    pairs = [(m.values.get(latency), (m.confirmed or {}).get(latency)) for m in found]
    apart = [abs(second / first - 1) for first, second in pairs if first and second]
    return TimedAgain(median(apart), max(apart)) if apart else None


def _row(
    number: int,
    columns: Sequence[Column],
    measured: Mapping[str, Measurement],
    confirmed: Mapping[str, float] | None,
    lineage: Lineage,
    params: Params,
) -> Row:
    cells = tuple(measured.get(c.name) for c in columns)
    return Row(number, cells, tuple(confirmed_facts(confirmed)), lineage.origin(number), lineage.left(number), params)


def _against(study: OpenStudy, columns: Sequence[Column]) -> Against | None:
    kind, stated = compared_with(study.ledger.attr(FACTS_KEY) or {})
    if not stated:
        return None
    measured = {m.name: m for m in (Measurement(**given) for given in stated["measurements"])}
    return Against(kind, str(stated["name"]), tuple(measured.get(c.name) for c in columns))


def _told(study: OpenStudy, found: Sequence[Member], lineage: Lineage) -> tuple[dict[int, Params], dict[int, Params]]:
    """Parameters of students by trial, and of the roots of those that a ladder led to."""
    if not any(lineage.kind(m.number) in RUNGS for m in found):
        return {m.number: m.params for m in found}, {}
    firsts = sorted({lineage.root(m.number) for m in found})
    trials = study.ledger.trials()
    records = {n: record_of(trials[n]) for n in firsts if n < len(trials)}
    roots: dict[int, Params] = {
        n: grouped(r.params) for n, r in records.items() if r is not None and lineage.kind(n) == ROOT
    }
    return {m.number: grouped(m.params) for m in found}, roots


def _known(value: Any) -> float | None:
    """A number that is there; pandas says a missing one as NaN."""
    return None if value is None or value != value else value
