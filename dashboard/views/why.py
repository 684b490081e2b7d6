"""Why the study came out so: what matters, what one parameter does, all of them at once, the teacher, what was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import importance
from autokd.dashboard.analysis.importance import Importance
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.choices import QUIET, chosen_freely, figure_with_choice, kept, students
from autokd.dashboard.components.why_lost import what_was_lost
from autokd.dashboard.components.why_teacher import teacher_or_none
from autokd.dashboard.source import View
from autokd.figures import importance_figure, label, parallel_figure, slice_figure

AXES = 7
"""Parameters in the parallel coordinates before anybody chose some."""


def page(view: View) -> None:
    """Draw it: only the part that is shown is computed."""
    parts: dict[str, Callable[[View], None]] = {
        "What matters": what_matters,
        "One parameter": one_parameter,
        "All at once": all_at_once,
        "Teacher or none": teacher_or_none,
        "What was lost": what_was_lost,
    }
    key = kept(f"why {view.name}", list(parts))
    part = st.segmented_control("Question", list(parts), key=key, required=True, label_visibility="collapsed")
    if not len(view.frame):
        st.info("No trial has finished yet\\. This page says why things are as they are once there are some\\.")
        return
    parts[part or "What matters"](view)


def objective_of(view: View, place: Any, what: str) -> Objective:
    """The objective chosen."""
    known = {label(o): o for o in view.objectives}
    key = kept(f"why {what} {view.name} {view.profile}", list(known))
    return known[place.selectbox("Objective", list(known), key=key)]


# --------------------------------------------------------------------------------------------------- importance


def what_matters(view: View) -> None:
    """The parameters that an objective hangs on."""
    goal = objective_of(view, st.columns([2, 3])[0], "importance")
    free = chosen_freely(importance.measured_on(view.frame, goal))
    with st.spinner("Fitting a forest to the trials"):
        found: Importance = view.once(("importance", goal), lambda: importance.importance(free, goal))
    if found.refusal:
        st.info(plain(f"What matters for {label(goal)} cannot be told from this study: {found.refusal}."))
        return
    st.markdown(importance_words(found))
    shown = found.table.head(20)
    figure = importance_figure(shown, f"share of the variation of {label(goal)} that hangs on it")
    key = f"importance {view.name} {goal.name}"
    alt = "Parameters by how much of the objective's variation hangs on them; the text above names the first ones"
    st.plotly_chart(figure, key=key, height=90 + 27 * len(shown), config=QUIET, alt=alt)
    notes = [
        "Permutation importance in a random forest (Breiman 2001, doi 10.1023/A:1010933404324) on held-out folds, halved "
        "to be a share; bars: standard deviation over 5 folds.",
        "Parameters that go together, such as one and another that exists only with it, share what they have in common.",
        "The search chose the trials: this tells where it looked, not what would happen elsewhere.",
    ]
    if found.constant:
        notes.append(f"The same in every trial: {', '.join(found.constant)}.")
    st.caption(plain(" ".join(notes)))


def importance_words(found: Importance) -> str:
    """What the forest can say, and about what."""
    goal, table = found.objective, found.table
    of = f"{found.trials} measured trials" if found.used == found.trials else f"{found.used} of {found.trials} trials"
    scale = " (in logarithm)" if goal.scale == "log" else ""
    text = plain(
        f"A forest that knows only the parameters explains {found.r2 or 0:.0%} of the variation of {label(goal)}{scale} "
        f"in trials that it has not seen ({of}, cross-validated R²)."
    )
    clear = table[table["importance"] > 2 * table["error"]].head(3)
    if not len(clear):
        return text + " No single parameter stands out\\."
    names = [f"**{plain(row.parameter)}** \\({row.importance:.0%}\\)" for row in clear.itertuples()]
    return f"{text} Most of it hangs on {', '.join(names)}\\."


# -------------------------------------------------------------------------------------------------------- slice


def one_parameter(view: View) -> None:
    """One parameter against one objective."""
    if not students(view):
        return
    rows = chosen_freely(view.measured())
    names, _ = importance.parameters_of(rows)
    if not names:
        st.info("No parameter differs between the measured students\\.")
        return
    one, two, _ = st.columns([2, 2, 1])
    name = one.selectbox("Parameter", names, key=kept(f"why parameter {view.name}", names))
    goal = objective_of(view, two, "slice")
    log = any(p.name == name and p.log for p in view.plan.space.parameters)
    best = view.front()["number"].astype(int).tolist()
    figure = view.once(("slice", name, goal, view.objectives), lambda: slice_figure(rows, best, name, goal, log))
    alt = f"Students by {name} and {label(goal)}; members of the front are marked"
    figure_with_choice(view, figure, f"slice {view.name} {name} {goal.name}", 460, alt)
    notes = f"{len(rows)} students. Boxes: quartiles; whiskers: within 1.5 boxes. Other parameters differ as well."
    absent = int(rows[f"params_{name}"].isna().sum())
    if absent:
        notes += f" {absent} students do not have {name}: it exists only together with other choices."
    st.caption(plain(notes))


# ----------------------------------------------------------------------------------------------------- parallel


def all_at_once(view: View) -> None:
    """Parameters and objectives side by side, a line a student."""
    if not students(view):
        return
    rows, goals = chosen_freely(view.measured()), view.objectives
    names, _ = importance.parameters_of(rows)
    quality = next((o for o in goals if o.scale == "linear"), goals[0])
    ranked = view.once(("association", goals), lambda: importance.association(rows, names, quality).index.tolist())
    key = f"why axes {view.name}"
    chosen = [n for n in st.session_state.get(key, ranked[:AXES]) if n in names]
    st.session_state[key] = chosen
    chosen = st.multiselect("Parameters", names, key=key, placeholder="Choose parameters to draw")
    best = view.front()["number"].astype(int).tolist()
    figure = parallel_figure(rows, best, chosen, goals)
    st.plotly_chart(
        figure, key=f"parallel {view.name}", height=520, config=QUIET, alt="Students as lines over parameters and objectives"
    )  # fmt: skip
    drawn = (
        f"{min(len(best), 60)} of {len(best)} members of the front in colour"
        if len(best) > 60
        else "The front in colour"
    )
    last = label(goals[-1])
    notes = (
        f"{drawn}, from orange (best) to blue by {last}; at most 300 others in grey. Better is up on the objectives. "
        "Lines are shifted a little where many share a value. 'absent': the parameter exists only with other choices."
    )
    if len(names) > AXES:
        notes += f" The parameters drawn first are those that go along most with {label(quality)}, one at a time."
    st.caption(plain(notes))
