"""One student: what it is made of, how it learned, where it errs, what each part gave, and its file."""

from __future__ import annotations

import streamlit as st

from autokd.config.objectives import Objective, title
from autokd.dashboard.analysis import ablation, evidence, importance, student_tables, students, texts
from autokd.dashboard.analysis.selection import compromise
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.about_students import confirm_command, trained
from autokd.dashboard.components.choices import QUIET
from autokd.dashboard.components.download import download_buttons
from autokd.dashboard.components.mistakes import errors
from autokd.dashboard.components.recalls import recalls
from autokd.dashboard.components.student_lineage import lineage
from autokd.dashboard.source import View
from autokd.figures import blocks_figure, curves_figure, stages_figure
from autokd.formatting import number
from autokd.storage.lineage import INHERITS
from autokd.storage.results import Member
from autokd.study.against import against


def page(view: View) -> None:
    """Draw it."""
    chosen = choose(view)
    if chosen is None:
        st.info(
            "No measured student yet that meets every constraint\\. The pages Watch and Why say how the search goes\\."
        )
        return
    member = view.member(chosen)
    headline(view, member)
    architecture(view, member)
    lineage(view, chosen)
    facts(view, member)
    training(view, member)
    recalls(view, member)
    errors(view, member)
    contributions(view, member)
    st.subheader("Take it home")
    verified(member)
    download_buttons(view, chosen)


def choose(view: View) -> int | None:
    """The student of the page: the one that was chosen anywhere, else the front's best compromise."""
    measured, front = view.measured(), view.front()
    if not len(measured):
        return None
    there = view.chosen is not None and bool((measured["number"] == view.chosen).any())
    first = compromise(front, view.objectives)
    now = view.chosen if there else first
    if now is None:
        return None
    if view.chosen is None:
        view.choose(now)  # a running search must not put another student under the reader's eyes
    elif not there:
        why = (
            f"Trial {view.chosen} is no student that was measured and meets every constraint\\. Shown is trial {now}\\."
        )
        st.info(why + " The page Trials tells what became of it\\.")
    numbers = students.offered(measured, front, [now])
    shown = students.lines(measured, front, numbers, view.objectives)
    key = f"pick {view.name} {view.profile or ''}"
    st.session_state[key] = now
    st.selectbox(
        "Student", numbers, key=key, format_func=lambda n: shown.get(n, f"trial {n}"),
        on_change=lambda: view.choose(st.session_state[key]),
        help="First the front, cheapest first, then the others, the latest first. Type to search.",
    )  # fmt: skip
    if len(numbers) < len(measured):
        st.caption(f"The list holds the front and the latest {students.MOST:,} others; the page Trials has all\\.")
    return now


# ------------------------------------------------------------------------------------------------- what it is


def headline(view: View, member: Member) -> None:
    """Objectives, size and parameters at a glance, against the teacher."""
    measured = {m.name: m for m in member.record.measurements}
    names = [o.name for o in view.objectives]
    wanted = list(dict.fromkeys([*names, "accuracy", "size_bytes", "params"]))[:5]
    shown = [name for name in wanted if name in measured]
    for place, name in zip(st.columns(max(1, len(shown))), shown, strict=False):
        m = measured[name]
        where = f"on {m.profile}" if m.profile else texts.where(m)
        place.metric(plain(f"{title(m.metric)}, {where}"), plain(number(m.value, m.unit)))
    told = [
        text for name in shown if (text := against(measured[name].value, view.teacher.get(name), measured[name].metric))
    ]
    if told:
        st.caption(plain(f"Against {view.against}: {', '.join(told)}."))
    if words := origin(member):
        st.caption(plain(words))


def origin(member: Member) -> str:
    """Where a student comes from that was taken over; empty for one that this study trained."""
    was = member.record.retimed
    if was is None:
        return ""
    words = (
        f"Taken over from the study {was['study']}, trial {was['trial']}, and timed here; nothing was trained for it."
    )
    if member.record.artifact_sha256 != was["sha256"]:
        words += " The clock of this study's device chose other operators for int8, so the file is another one."
    return words


def architecture(view: View, member: Member) -> None:
    st.subheader("Architecture")
    blocks = evidence.blocks(view.folder(member.number))
    if not blocks:
        st.info(
            "The trial's folder does not say what this student is made of: its family describes no blocks, or it is gone\\."
        )
        return
    st.plotly_chart(
        blocks_figure(blocks), key=f"blocks {view.name}", config=QUIET,
        alt="The student's blocks in a row: " + ", ".join(f"{b.kind} {b.outputs}" for b in blocks),
    )  # fmt: skip
    st.caption(
        "One box a block, as it was shipped: wide as the square root of its channels, high as its output's side\\. "
        "Below: name, output channels, output size; ÷2 is a stride\\. Point at a box for kernel and hidden channels\\."
    )


def facts(view: View, member: Member) -> None:
    """Measurements and parameters."""
    left, right = st.columns(2)
    with left:
        st.subheader("Measurements")
        st.dataframe(
            student_tables.facts_table(member), hide_index=True, height="content", alt="Measurements of the student"
        )
        for m in member.record.measurements:
            if m.metric == "latency_ms" and {"count", "p90_ms", "batch", "threads"} <= m.extra.keys():
                size, threads = int(m.extra["batch"]), int(m.extra["threads"])
                st.caption(
                    plain(
                        f"{m.profile}: median of {int(m.extra['count']):,} calls of {size} sample{'s' * (size != 1)}, "
                        f"{threads} thread{'s' * (threads != 1)}; nine in ten took at most {number(m.extra['p90_ms'], 'ms')}"
                        f"{texts.clock_words(m.extra)}."
                    )
                )
        if member.confirmed is None:
            st.caption("The test split was not read for it\\. In a terminal, for the whole front:")
            st.code(confirm_command(view), language="bash")
        cost(view, member)
    with right:
        st.subheader("Parameters")
        st.dataframe(
            student_tables.params_table(member.params),
            hide_index=True,
            height="content",
            alt="Parameters of the student",
        )
        if view.lineage.left(member.number):
            st.caption("Widths are those of its root, before cuts; the picture above has the channels that are left\\.")


# ------------------------------------------------------------------------------------------------- how it learned


def training(view: View, member: Member) -> None:
    st.subheader("How it learned")
    found = trained(view, member)
    if not found.distill and not found.tuning:
        st.info("The trial's folder holds no learning curve\\.")
        return
    st.plotly_chart(
        curves_figure([found], view.teacher.get("accuracy")), key=f"curve {view.name}", config=QUIET,
        alt="Validation accuracy and loss over the training samples seen",
    )  # fmt: skip
    st.caption(
        "Lines: the model in training, on a part of the validation split\\. "
        "Star: the exported file, on the whole split, with its standard error\\."
    )


def cost(view: View, member: Member) -> None:
    """What its evaluation took."""
    st.subheader("What it took")
    if not member.record.stages:
        st.info("The ledger does not say how long its stages took\\.")
        return
    st.plotly_chart(
        stages_figure(member.record.stages), key=f"stages {view.name}", config=QUIET,
        alt="Seconds of every stage of the evaluation",
    )  # fmt: skip
    text = f"{member.record.cpu_s:.3g} CPU seconds in all"
    if any(s.cached for s in member.record.stages):
        text += "; what an earlier trial had done was found in the store"
    st.caption(plain(text + "."))


# ------------------------------------------------------------------------------------------------- what gave what


@st.cache_data(max_entries=32, show_spinner=False)
def neighbours(_view: View, number: int, identity: object) -> tuple[list[ablation.Pair], list[str]]:
    """Pairs and sentences of the lift sheet; ``identity`` differs when the study has more students."""
    rows = importance.free_choices(_view.measured())
    space = _view.plan.space
    found = ablation.pairs(rows, space, number)
    return found, ablation.without(found, space, rows)


def contributions(view: View, member: Member) -> None:
    """What architecture, pruning, bits and teacher gave, as far as the study's own trials tell."""
    st.subheader("What each part gave")
    if view.lineage.kind(member.number) in INHERITS:
        st.markdown(
            "Its shape and its weights follow from its parent's, so no other trial differs from it in one part alone\\. "
            "What each step gave is told under Lineage\\."
        )
        return
    rows = importance.free_choices(view.measured())
    identity = (view.study.ledger.url, view.name, view.profile, len(rows), float(rows["ended"].max()))
    found, sentences = neighbours(view, member.number, identity)
    goals = list(view.objectives)
    more = [Objective("maximize", "accuracy"), Objective("minimize", "size_bytes")]
    if not any(o.metric == "latency_ms" for o in goals) and view.plan.profiles:
        more.append(Objective("minimize", "latency_ms", view.profile or view.plan.profiles[0].name))
    goals += [o for o in more if o.name in rows.columns and o.name not in {g.name for g in goals}]
    own, others = [p for p in found if p.own], [p for p in found if not p.own]
    if own:
        st.markdown("Its neighbours: trials that differ from it in one part alone, and what that changed\\.")
        st.dataframe(
            ablation.lift_table(rows, own, goals), hide_index=True, height="content",
            alt="Pairs of trials that differ from this student in one part alone",
        )  # fmt: skip
    if others:
        parts = plain(", ".join(dict.fromkeys(p.part for p in others)))
        st.markdown(f"It has no neighbour in {parts}\\. Elsewhere in this study, the pair most like it:")
        st.dataframe(
            ablation.lift_table(rows, others, goals), hide_index=True, height="content",
            alt="Pairs of other trials that differ in one part alone",
        )  # fmt: skip
    if sentences:
        st.markdown("\n".join(f"- {plain(s)}" for s in sentences))
    if found:
        st.caption(
            "Each row is one pair, from against to trial\\. It holds the chance of two trainings beside the part's effect; "
            "± is the standard error of the samples alone\\."
        )


def verified(member: Member) -> None:
    """Whether the file does what the model did."""
    verdict = member.record.notes.get("verify") or {}
    if {"prediction_mismatches", "n"} <= verdict.keys():
        wrong, of = int(verdict["prediction_mismatches"]), int(verdict["n"])
        st.caption(plain(f"{wrong:,} of {of:,} predictions of the file differ from the trained model's."))
