"""Recall by class for the terminal: of one student, and of a front side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from autokd.cli.tables import out
from autokd.formatting import number
from autokd.storage.by_class import ByClass
from autokd.study.front_table import FrontTable, Row

SIDE_BY_SIDE = 10
"""Students of a front that stand beside each other; of more these many from its cheap to its dear end."""


def worst_class(found: ByClass | None, classes: Sequence[str]) -> str:
    """``stop 71.4% ± 8.1%``; a dash where nothing is on record."""
    return "-" if found is None else f"{classes[found.worst]} {_recall(found, found.worst)}"


def recalls(found: FrontTable) -> None:
    """Every class a row, the worst on average first; a column a student; a table for each split on record."""
    splits = (
        ("the validation split", [(r, r.by_class) for r in found.rows if r.by_class]),
        ("the test split", [(r, r.on_test) for r in found.rows if r.on_test]),
    )
    console = out()
    for split, known in splits:
        if known:
            console.print(f"Recall of each class on {split} (%):", markup=False, highlight=False)
            console.print(_side_by_side(spread(known), found.classes))
    if not any(known for _, known in splits):
        console.print("Recall by class is on record of no student: it was measured by an earlier version.")


def spread(known: Sequence[tuple[Row, ByClass]], most: int = SIDE_BY_SIDE) -> list[tuple[Row, ByClass]]:
    """At most so many, evenly, both ends among them."""
    if len(known) <= most:
        return list(known)
    return [known[round(i * (len(known) - 1) / (most - 1))] for i in range(most)]


def _side_by_side(known: Sequence[tuple[Row, ByClass]], classes: Sequence[str]) -> Table:
    table = Table()
    table.add_column("class", overflow="fold")
    table.add_column("samples", justify="right")
    for row, _ in known:
        table.add_column(f"trial {row.number}", justify="right")
    seen = [c for c, n in enumerate(known[0][1].of) if n]
    for c in sorted(seen, key=lambda c: sum(counts.recall(c) or 0.0 for _, counts in known)):
        cells = [f"{100 * (counts.recall(c) or 0.0):.1f}" for _, counts in known]
        table.add_row(Text(classes[c]), str(known[0][1].of[c]), *cells)
    return table


def trial_recalls(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of one trial out of plain values: every class, the worst on the validation split first."""
    told, classes = facts.get("by_class") or {}, facts.get("classes") or ()
    here, there = ByClass.read(told.get("validation")), ByClass.read(told.get("test"))
    first = here or there
    if first is None:
        return []
    found = []
    for c in first.order:
        text = f"{_recall(first, c)} of {first.of[c]}"
        if here is not None and there is not None and there.of[c]:
            text += f"; on the test split {_recall(there, c)} of {there.of[c]}"
        found.append((str(classes[c]), text))
    return found


def _recall(found: ByClass, index: int) -> str:
    return number(found.recall(index), "ratio", found.error(index))
