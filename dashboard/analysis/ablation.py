"""What each part of a student contributed, from its neighbours: trials that differ from it in that part alone.

Two measured trials are neighbours in a part (architecture, pruning, bits, teacher and recipe) when all parameters of the
other parts are equal. One pair is one draw of two trainings, not an average effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective, metric_of, title
from autokd.config.space import SearchSpace
from autokd.formatting import brief, number
from autokd.trial import ERROR, Stage

PARTS: Mapping[str, Stage] = {
    "architecture": Stage.BUILD,
    "pruning": Stage.PRUNE,
    "bits": Stage.QUANTIZE,
    "teacher and recipe": Stage.DISTILL,
}
MOST = 2
"""Neighbours shown of one part."""
PREFIX = "params_"


@dataclass(frozen=True)
class Pair:
    """Two trials that differ in one part alone.

    Args:
        part: Its name.
        trial: The one whose change is told.
        against: The one it is compared with: the plainer one (less pruned, more bits, no teacher).
        differs: Parameter to its value in ``trial`` and in ``against``; ``None`` where it does not exist.
        own: One of the two is the student that was asked about.
    """

    part: str
    trial: int
    against: int
    differs: Mapping[str, tuple[Any, Any]]
    own: bool


def parts_of(space: SearchSpace, columns: Sequence[str]) -> dict[str, list[str]]:
    """The parameter columns of each part; parameters that the space does not know belong to none."""
    stages = {p.name: p.stage for p in space.parameters} | dict(space.fixed_stages)
    return {
        part: [c for c in columns if c.startswith(PREFIX) and stages.get(c.removeprefix(PREFIX)) == stage]
        for part, stage in PARTS.items()
    }


def pairs(rows: pd.DataFrame, space: SearchSpace, chosen: int) -> list[Pair]:
    """Of each part, the nearest neighbours of a student; where it has none, the nearest pair elsewhere in the study.

    Args:
        rows: Measured trials, columns as in :attr:`autokd.storage.reader.TrialReader.frame`; ``chosen`` is one of them.
        space: Says which stage reads a parameter.
        chosen: Trial number.
    """
    columns = [str(c) for c in rows.columns if str(c).startswith(PREFIX)]
    parts = parts_of(space, columns)
    codes = _codes(rows, columns)
    here = int(np.flatnonzero(rows["number"].to_numpy() == chosen)[0])
    found: list[Pair] = []
    for part, names in parts.items():
        inside = np.array([c in names for c in columns] + [False], dtype=bool)
        if not inside.any():
            continue
        dressed = _dressed(rows, part, names)
        own = [(here, other) for other in _own(codes, inside, here, dressed)]
        for one, other in own or _elsewhere(codes, inside, here):
            # the plainer one is what the other is compared with; of equals, the one that was asked about is told
            swap = dressed[one] < dressed[other] or (not own and dressed[one] == dressed[other] and one < other)
            first, second = (other, one) if swap else (one, other)
            told, against = (int(rows["number"].iloc[i]) for i in (first, second))
            found.append(Pair(part, told, against, _differs(rows, first, second, names), bool(own)))
    return found


def _codes(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """``(n, columns + 1) int64``, equal exactly where the values are; the last column: trained on from another trial."""
    found = []
    for name in columns:
        column = rows[name]
        if name.startswith(f"{PREFIX}prune_"):
            column = column.fillna(0.0)  # a stage that is not there has nothing pruned
        found.append(pd.factorize(column)[0])
    parent = rows["parent"].notna() if "parent" in rows.columns else pd.Series(False, index=rows.index)
    return np.stack([*found, parent.to_numpy(dtype=np.int64)], axis=1).astype(np.int64)


def _dressed(rows: pd.DataFrame, part: str, names: Sequence[str]) -> np.ndarray:
    """How far each trial is from plain in a part: nothing pruned, most bits, no teacher. ``(n,) float``"""
    nothing = np.zeros(len(rows))
    if part == "pruning":
        ratios = [n for n in names if n.startswith(f"{PREFIX}prune_")]
        return rows[ratios].apply(pd.to_numeric, errors="coerce").fillna(0.0).sum(axis=1).to_numpy(dtype=float)
    if part == "bits" and f"{PREFIX}bits" in names:
        return -pd.to_numeric(rows[f"{PREFIX}bits"], errors="coerce").fillna(32).to_numpy(dtype=float)
    if part == "teacher and recipe" and f"{PREFIX}method" in names:
        return (rows[f"{PREFIX}method"] != "none").to_numpy(dtype=float)
    return nothing


def _own(codes: np.ndarray, inside: np.ndarray, here: int, dressed: np.ndarray) -> list[int]:
    """Rows that differ from one in a part alone: the plainest first, then by how few parameters differ."""
    same = codes == codes[here]
    fits = np.flatnonzero(same[:, ~inside].all(axis=1) & ~same[:, inside].all(axis=1))
    differing = (~same[np.ix_(fits, inside)]).sum(axis=1)
    plainer = dressed[fits] < dressed[here]
    order = np.lexsort((fits, differing, np.where(plainer, dressed[fits], np.inf)))
    return [int(i) for i in fits[order][:MOST]]


def _elsewhere(codes: np.ndarray, inside: np.ndarray, here: int) -> list[tuple[int, int]]:
    """The pair that differs in a part alone and is most like one row; none, or one."""
    outer, inner = _keys(codes[:, ~inside]), _keys(codes[:, inside])
    together = pd.DataFrame({"outer": outer, "inner": inner})
    several = (together.groupby("outer")["inner"].transform("nunique") > 1).to_numpy()
    if not several.any():
        return []
    alike = (codes == codes[here]).sum(axis=1)
    first = int(np.argmax(np.where(several, alike, -1)))
    partners = np.flatnonzero((outer == outer[first]) & (inner != inner[first]))
    second = int(partners[np.argmax((codes[partners] == codes[first]).sum(axis=1))])
    return [(first, second)]


def _keys(codes: np.ndarray) -> np.ndarray:
    """One number a row, equal exactly for equal rows."""
    keys = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        keys = pd.factorize(keys * (int(column.max(initial=0)) + 2) + column + 1)[0]
    return keys


def _differs(rows: pd.DataFrame, first: int, second: int, names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    found = {}
    for name in names:
        absent = 0.0 if name.startswith(f"{PREFIX}prune_") else None
        a, b = (absent if pd.isna(v) else v for v in (rows[name].iloc[first], rows[name].iloc[second]))
        if a != b:
            found[name.removeprefix(PREFIX)] = (a, b)
    return found


# ------------------------------------------------------------------------------------------------- in words


def lift_table(rows: pd.DataFrame, found: Sequence[Pair], goals: Sequence[Objective]) -> pd.DataFrame:
    """One row a pair: ``part``, ``trial``, ``against``, the change of each goal in words, ``differing in``."""
    at = {int(n): i for i, n in enumerate(rows["number"].to_numpy())}
    table = []
    for pair in found:
        a, b = rows.iloc[at[pair.trial]], rows.iloc[at[pair.against]]
        cells = {"part": pair.part, "trial": pair.trial, "against": pair.against}
        changes = {_named(goal): change(goal, b, a) for goal in goals}
        table.append(cells | changes | {"differing in": _said(pair.differs)})  # last: it may be long
    return pd.DataFrame(table)


def change(goal: Objective, before: pd.Series, after: pd.Series) -> str:
    """``89.1 % → 86.5 % (-2.6 ± 0.5 points)``, ``31.2 µs → 21.3 µs (-32 %)``; a dash where one was not measured."""
    old, new = before.get(goal.name), after.get(goal.name)
    if old is None or new is None or not (math.isfinite(old) and math.isfinite(new)):
        return "–"
    unit = metric_of(goal.metric).unit
    text = f"{number(old, unit)} → {number(new, unit)}"
    if unit == "ratio":
        errors = [v for row in (before, after) if (v := row.get(goal.name + ERROR)) is not None and math.isfinite(v)]
        sure = f" ± {100 * math.hypot(*errors):.1f}" if len(errors) == 2 else ""
        return f"{text} ({100 * (new - old):+.1f}{sure} points)"
    return f"{text} ({new / old - 1:+.0%})" if old > 0 else text


def without(found: Sequence[Pair], space: SearchSpace, rows: pd.DataFrame) -> list[str]:
    """A sentence for every part that no pair shows."""
    searched = parts_of(space, [str(c) for c in rows.columns])
    told = {p.part for p in found}
    sentences = []
    for part, names in searched.items():
        if part in told:
            continue
        varied = any(rows[n].nunique(dropna=False) > 1 for n in names)
        sentences.append(
            f"No neighbour in this study differs in {part} alone."
            if varied
            else f"All students of this study have the same {part}."
        )
    return sentences


def _named(goal: Objective) -> str:
    return title(goal.metric) + (f" ({goal.profile})" if goal.profile else "")


def _said(differs: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {brief(old)} → {brief(new)}" for name, (new, old) in differs.items())
