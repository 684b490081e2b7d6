"""The ladders of a study as tables: what each root brought, and a student's way down from its root. No Streamlit here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pandas as pd

from autokd.dashboard.texts import title
from autokd.figures import front_history
from autokd.lineage import FINISH, NARROW, REFINE, ROOT, TRAIN, Lineage, cut_text, grouped, left_words
from autokd.objectives import Objective, metric_of
from autokd.tables import number, summary

KINDS = {
    ROOT: ("root", "roots"),
    TRAIN: ("root trained to the end", "roots trained to the end"),
    NARROW: ("step down", "steps down"),
    REFINE: ("rung trained on", "rungs trained on"),
    FINISH: ("student finished", "students finished"),
}
"""What people call one and several trials of a kind."""
PREFIX = "params_"


def gains(frame: pd.DataFrame, objectives: Sequence[Objective], reference: Sequence[float] | None) -> dict[int, float]:
    """Hypervolume that a rung added when it came, by trial; those that added nothing are left out, all without a reference."""
    steps = front_history(frame[frame["rung"].notna()], objectives, reference).steps
    return dict(
        zip(steps["number"].astype(int), steps["volume"].diff().fillna(steps["volume"]).fillna(0.0), strict=True)
    )


def worth_table(
    frame: pd.DataFrame,
    lineage: Lineage,
    objectives: Sequence[Objective],
    reference: Sequence[float] | None,
    front: Collection[int],
) -> pd.DataFrame:
    """One row a root: ``root``, ``rungs``, ``on the front``, ``hypervolume gained``, ``CPU time (s)``, ``gain per CPU second``,
    ``shape``, that of the root where roots differ.

    Args:
        frame: Every finished trial; columns of :attr:`autokd.reader.TrialReader.frame`.
        lineage: Of these trials.
        objectives: The study's own.
        reference: The hypervolume's reference point; without one no gain is known.
        front: Trials of the front.
    """
    gained = gains(frame, objectives, reference)
    spent = dict(zip(frame["number"].astype(int), frame["cpu_s"].astype(float), strict=True))
    shapes = root_shapes(frame, lineage)
    tops = Counter(lineage.root(n) for n in front)
    known = reference is not None
    rows = [
        {
            "root": w.root,
            "rungs": w.rungs,
            "on the front": tops[w.root],
            "hypervolume gained": w.gain if known else None,
            "CPU time (s)": w.cpu_s,
            "gain per CPU second": w.rate if known else None,
            "shape": shapes.get(w.root, ""),
        }
        for w in lineage.worth(lambda n: gained.get(n, 0.0), lambda n: spent.get(n, 0.0))
    ]
    return pd.DataFrame(rows)


def root_shapes(frame: pd.DataFrame, lineage: Lineage) -> dict[int, str]:
    """The parameters in which a study's roots differ, on one line, by root."""
    rows = frame[frame["number"].isin(lineage.roots())]
    columns = [str(c) for c in rows.columns if str(c).startswith(PREFIX) and str(c) != f"{PREFIX}bits"]
    told = {
        int(row["number"]): grouped({c.removeprefix(PREFIX): _whole(row[c]) for c in columns if row[c] == row[c]})
        for row in rows[["number", *columns]].to_dict("records")
    }
    names = {name for params in told.values() for name in params}
    same = {n for n in names if len({str(params.get(n)) for params in told.values()}) == 1}
    return {n: summary({k: v for k, v in params.items() if k not in same}) for n, params in told.items()}


def story(lineage: Lineage) -> str:
    """``3 roots, 1 root trained to the end, 9 steps down and 4 rungs trained on``."""
    counts = Counter(lineage.word(n) for n in lineage.steps)
    parts = [
        f"{counts[kind]} {one if counts[kind] == 1 else many}" for kind, (one, many) in KINDS.items() if counts[kind]
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def steps_table(frame: pd.DataFrame, lineage: Lineage, chosen: int, goals: Sequence[Objective]) -> pd.DataFrame:
    """A student's way, one row a trial from the root to it: ``trial``, ``what``, each goal, ``cut for it`` and about what share of
    its channels each group kept since the root.

    Args:
        frame: Every finished trial.
        lineage: Of these trials.
        chosen: The student.
        goals: What is shown of each step; a dash where it was not measured.
    """
    at = {int(n): i for i, n in enumerate(frame["number"].to_numpy())}
    rows = []
    for step in lineage.path(chosen):
        row = frame.iloc[at[step.number]] if step.number in at else None
        told = {
            f"{title(o.metric)}{f' ({o.profile})' if o.profile else ''}": "–"
            if row is None or row.get(o.name) is None or row[o.name] != row[o.name]
            else number(float(row[o.name]), metric_of(o.metric).unit)
            for o in goals
        }
        rows.append(
            {
                "trial": step.number,
                "what": lineage.word(step.number) or "trained",
                **told,
                "cut for it": "; ".join(map(cut_text, step.cuts)),
                "channels left, about": left_words(lineage.left(step.number)),
            }
        )
    table = pd.DataFrame(rows)
    return table.drop(columns=[c for c in ("cut for it", "channels left, about") if not table[c].any()])


def _whole(value: object) -> object:
    """A parameter that is whole, though its column holds gaps: ``3``, not ``3.0``."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
