"""The ladders of a study as tables: what each root brought, and a student's way down from its root. No Streamlit here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from autokd.config.objectives import Objective, metric_of, title
from autokd.figures import front_history
from autokd.formatting import number, summary
from autokd.storage.lineage import FINISH, NARROW, REFINE, ROOT, TRAIN, Lineage, cut_text, grouped, left_words

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
    """One row a root: ``root``, ``state``, ``rungs``, ``on the front``, ``hypervolume gained``, ``CPU time (s)``, ``gain per CPU
    second``, ``differs in``, its parameters where roots differ.

    Args:
        frame: Every finished trial; columns of :attr:`autokd.storage.reader.TrialReader.frame`.
        lineage: Of these trials.
        objectives: The study's own.
        reference: The hypervolume's reference point; without one no gain is known.
        front: Trials of the front.
    """
    gained = gains(frame, objectives, reference)
    spent = dict(zip(frame["number"].astype(int), frame["cpu_s"].astype(float), strict=True))
    shapes = root_shapes(frame, lineage)
    tops = Counter(lineage.root(n) for n in front)
    known, families = reference is not None, lineage.families()
    rows = [
        {
            "root": w.root,
            "state": state({lineage.kind(n) for n in families[w.root]}),
            "rungs": w.rungs,
            "on the front": tops[w.root],
            "hypervolume gained": w.gain if known else None,
            "CPU time (s)": w.cpu_s,
            "gain per CPU second": w.rate if known else None,
            "differs in": shapes.get(w.root, ""),
        }
        for w in lineage.worth(lambda n: gained.get(n, 0.0), lambda n: spent.get(n, 0.0))
    ]
    return pd.DataFrame(rows)


def state(kinds: Collection[str]) -> str:
    """How far a root's ladder came, by the kinds of its rungs: ``raced``, ``trained to the end``, or ``walked down``."""
    return "walked down" if NARROW in kinds else "trained to the end" if TRAIN in kinds else "raced"


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


def steps_table(
    frame: pd.DataFrame, lineage: Lineage, chosen: int, goals: Sequence[Objective], widths: Mapping[int, str]
) -> pd.DataFrame:
    """A student's way, one row a trial from the root to it: ``trial``, ``what``, each goal, ``cut for it``, ``channels``.

    Args:
        frame: Every finished trial.
        lineage: Of these trials.
        chosen: The student.
        goals: What is shown of each step; a dash where it was not measured.
        widths: Channels of every block, by trial. Without any the last column is about what share of its channels each prune
            group kept since the root.
    """
    at = {int(n): i for i, n in enumerate(frame["number"].to_numpy())}
    shown = "channels" if any(widths.get(s.number) for s in lineage.path(chosen)) else "channels left, about"
    rows = []
    for step in lineage.path(chosen):
        row = frame.iloc[at[step.number]] if step.number in at else None
        told = {
            f"{title(o.metric)}{f' ({o.profile})' if o.profile else ''}": "–"
            if row is None or row.get(o.name) is None or row[o.name] != row[o.name]
            else number(float(row[o.name]), metric_of(o.metric).unit)
            for o in goals
        }
        left = widths.get(step.number, "") if shown == "channels" else left_words(lineage.left(step.number))
        done = {"cut for it": "; ".join(map(cut_text, step.cuts)), shown: left}
        rows.append({"trial": step.number, "what": lineage.word(step.number) or "trained", **told, **done})
    table = pd.DataFrame(rows)
    return table.drop(columns=[c for c in ("cut for it", shown) if not table[c].any()])


def _whole(value: object) -> object:
    """A parameter that is whole, though its column holds gaps: ``3``, not ``3.0``."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
