"""Part of the page Why: does the teacher help, at about the same cost?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective, metric_of
from autokd.dashboard.analysis import importance
from autokd.dashboard.analysis.importance import TeacherEffect
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.choices import chosen_freely, figure_with_choice, students
from autokd.dashboard.source import View
from autokd.figures import axes, label, teacher_figure
from autokd.formatting import number


def teacher_or_none(view: View) -> None:
    """Students with a teacher against students without, at about the same cost."""
    if not students(view):
        return
    rows = chosen_freely(view.measured())
    method = view.plan.config.distillation.method
    used = rows["params_method"].dropna().astype(str).unique().tolist() if "params_method" in rows.columns else [method]
    if importance.NO_TEACHER not in used or len(used) < 2:
        st.info(plain(all_alike(used)))
        st.code("method: {choice: [kd, none], stage: distill}", language="yaml")
        return
    quality, cost = compared_on(view, rows)
    if quality is None:
        st.info("No measured quality to compare: the study has only costs\\.")
        return
    found: TeacherEffect = view.once(
        ("teacher effect", quality, cost, view.objectives), lambda: importance.teacher_effect(rows, quality, cost)
    )
    st.markdown(teacher_words(found, quality, cost))
    bands = band_names(found, cost)
    figure = teacher_figure(found.rows, quality, bands, f"bands of {label(cost)}" if cost is not None else "")
    figure_with_choice(view, figure, f"teacher {view.name} {quality.name}", 440, "Students with and without a teacher")
    shown = teacher_table(found, quality, bands).rename(
        columns={"cost": label(cost) if cost is not None else "students"}
    )
    st.dataframe(shown, hide_index=True, key=f"bands {view.name}", alt="Counts and medians by band of the cost")
    taught = ", ".join(m for m in used if m != importance.NO_TEACHER)
    st.caption(
        plain(
            f"With a teacher: method {taught}. Without: method none. Column params_method, quality on the validation split. "
            "Interval: bootstrap, 95 %, drawn anew within each band and side. Students of a band are alike in cost only: the "
            "search chose their other parameters, so this is what it saw, not an experiment."
        )
    )


def all_alike(used: Sequence[str]) -> str:
    """Every trial used the same: there is nothing to compare."""
    if list(used) == [importance.NO_TEACHER]:
        says = "No student of this study had a teacher: the method was none in all of them."
    else:
        says = (
            f"Every student of this study had a teacher (method {', '.join(used)}): there is none without to compare."
        )
    return says + " To find out, let the search space choose the method; under 'parameters':"


def compared_on(view: View, rows: pd.DataFrame) -> tuple[Objective | None, Objective | None]:
    """The quality that is compared, and the cost that must be about equal."""
    quality = next((o for o in view.objectives if o.scale == "linear"), None)
    if quality is None and "accuracy" in rows.columns:
        quality = Objective("maximize", "accuracy")
    costs = [o for o in view.objectives if o.scale == "log"]
    cost = axes(view.objectives)[0] if costs and len(view.objectives) > 1 else None
    if cost is None and view.plan.profiles:
        cost = Objective("minimize", "latency_ms", view.profile or view.plan.profiles[0].name)
    return quality, cost if cost is not None and cost.name in rows.columns and rows[cost.name].notna().all() else None


def shown_difference(value: float, quality: Objective) -> str:
    """With its sign and unit: a share in percentage points."""
    unit = metric_of(quality.metric).unit
    return f"{100 * value:+.1f} points" if unit == "ratio" else f"{value:+.3g} {unit}".strip()


def teacher_words(found: TeacherEffect, quality: Objective, cost: Objective | None) -> str:
    """The difference with its interval and counts, or that it cannot be told."""
    one, other = found.counts
    counts = f"{one} students with a teacher and {other} without"
    if found.low != found.low or min(found.counts) < importance.FEWEST_A_SIDE:
        why = f"too few of about the same cost ({counts}; {importance.FEWEST_A_SIDE} on each side are needed)"
        return "**Cannot be told from this study**: " + plain(f"{why}.")
    interval = f"{shown_difference(found.low, quality)} to {shown_difference(found.high, quality)}"
    of = f"difference of median {label(quality)}" + (f" at about the same {label(cost)}" if cost is not None else "")
    facts = plain(f"{of}: {shown_difference(found.difference, quality)} (95 % interval {interval}; {counts}).")
    if not found.told:
        return f"**Cannot be told from this study**: the interval holds zero\\. {facts[0].upper()}{facts[1:]}"
    helps = (found.difference > 0) == (quality.direction == "maximize")
    verdict = "**Students with a teacher are better**" if helps else "**Students with a teacher are worse**"
    return f"{verdict}\\. {facts[0].upper()}{facts[1:]}"


def band_names(found: TeacherEffect, cost: Objective | None) -> list[str]:
    if cost is None:
        return ["all students"]
    unit = metric_of(cost.metric).unit
    return [f"{number(b.low, unit)} to {number(b.high, unit)}" for b in found.bands.itertuples()]


def teacher_table(found: TeacherEffect, quality: Objective, bands: Sequence[str]) -> pd.DataFrame:
    unit = metric_of(quality.metric).unit
    bad = found.bands["difference"].isna()
    return pd.DataFrame(
        {
            "cost": bands, "with a teacher": found.bands["with"], "without": found.bands["without"],
            "median with": [number(v if v == v else None, unit) for v in found.bands["median_with"]],
            "median without": [number(v if v == v else None, unit) for v in found.bands["median_without"]],
            "difference": [
                "too few" if lacking else shown_difference(v, quality)
                for v, lacking in zip(found.bands["difference"], bad, strict=True)
            ],
        }
    )  # fmt: skip
