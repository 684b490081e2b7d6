"""A front for the terminal: its table, then in words what all of it shares and what it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from autokd.cli.app import give
from autokd.cli.recalls import recalls, worst_class
from autokd.cli.tables import measurement, out
from autokd.formatting import number, summary
from autokd.storage.lineage import cut_words
from autokd.storage.results import Member
from autokd.study import status
from autokd.study.front_table import Column, FrontTable, Row, TimedAgain, front_table
from autokd.study.opened import OpenStudy
from autokd.trial import Measurement


def give_front(
    study: OpenStudy,
    found: Sequence[Member],
    as_json: bool = False,
    profile: str | None = None,
    by_class: bool = False,
) -> None:
    """A study's front on a profile, as its table or as JSON; ``by_class``: also the recall of every class."""
    if as_json:
        give(status.front(study, found, profile))
        return
    table = front_table(study, found, profile)
    front(table)
    if by_class:
        recalls(table)


def front(found: FrontTable) -> None:
    """The front, cheapest first, with the teacher for comparison."""
    console = out()
    console.print(_table(found))
    for line in _lines(found):
        console.print(line, markup=False, highlight=False)


def _table(found: FrontTable) -> Table:
    table = Table(title=Text(f"Pareto front of {found.study}"), title_justify="left")
    table.add_column("trial", justify="right")
    for column in found.columns:
        table.add_column(_heading(column), justify="right")
    if found.confirmed:
        table.add_column("accuracy\non test", justify="right")
        if found.latency:
            table.add_column("latency\nagain", justify="right")
    if found.unbalanced:
        table.add_column("worst class\n(recall)")
        if found.confirmed:
            table.add_column("worst class\non test")
    if found.descends:
        table.add_column("lineage")
    table.add_column("student", overflow="fold")
    for row in found.rows:
        told = "; ".join(filter(None, (summary(row.params), cut_words(row.left))))
        confirmed = _confirmed(row, found.latency) if found.confirmed else []
        worst = _worst(row, found) if found.unbalanced else []
        origin = [row.origin] if found.descends else []
        table.add_row(str(row.number), *_cells(row.cells), *confirmed, *worst, *origin, Text(told))
    if found.against:
        cells = found.against.cells
        blank = [""] * (len(table.columns) - len(cells) - 2)
        table.add_section()
        table.add_row(found.against.kind, *_cells(cells), *blank, Text(found.against.name), style="dim")
    return table


def _heading(column: Column) -> Text:
    if column.direction is None:
        return Text(column.name)
    return Text(f"{column.name}\n({'higher' if column.direction == 'maximize' else 'lower'} is better)")


def _cells(found: Sequence[Measurement | None]) -> list[str]:
    return [measurement(m) for m in found]


def _confirmed(row: Row, latency: Column | None) -> list[str]:
    """Accuracy on the test split, and the latency timed again where the objectives have one."""
    known = {(c.metric, c.profile): c for c in row.confirmed}
    test = known.get(("accuracy", None))
    cells = [number(test.value, "ratio", test.error) if test else "-"]
    if latency:
        again = known.get((latency.metric, latency.profile))
        cells.append(number(again.value, latency.unit) if again else "-")
    return cells


def _worst(row: Row, found: FrontTable) -> list[Text]:
    """Name and recall of the class that it finds least of, by split."""
    splits = (row.by_class, row.on_test) if found.confirmed else (row.by_class,)
    return [Text(worst_class(counts, found.classes)) for counts in splits]


def _lines(found: FrontTable) -> Iterator[str]:
    """What stands below the table."""
    if found.shared:
        yield f"All of them: {summary(found.shared)}."
    for first, params in found.roots.items():
        yield f"Root {first}: {summary(params) or 'as all of them'}."
    if not found.rows:
        yield "No student was measured yet that meets every constraint."
    if found.hypervolume is not None:
        point = ", ".join(f"{name} {value:.4g}" for name, value in found.reference.items())
        volume = f"Hypervolume {found.hypervolume:.4f} over ({point}), costs in natural logarithm."
        yield f"Quality on the validation split. {volume}"
    if found.again:
        yield again_words(found.again)
    if found.unbalanced:
        yield "The classes are not equally frequent: --by-class shows the recall of each."
    if found.rows and not found.confirmed:
        yield f"`autokd confirm {found.study}` reads the test split."


def again_words(found: TimedAgain) -> str:
    """How far the second timings of the same files are from the first."""
    return f"The same files timed again: {found.median:.1%} apart in the median, {found.most:.1%} at most."
