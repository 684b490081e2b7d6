"""The same students on every device that the study timed them on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations

import pandas as pd
import streamlit as st

from autokd.config.objectives import Objective, metric_of
from autokd.dashboard.analysis.texts import UNITS, formats, heading, plain
from autokd.dashboard.commands.launch import for_a_shell
from autokd.dashboard.components.choices import QUIET, figure_with_choice, kept
from autokd.dashboard.source import View, url
from autokd.figures import Order, Winners, devices_figure, label, order_between, rank_figure, winners
from autokd.storage.results import objectives_on

SHOWN = 40
"""Students in the figure of ranks."""
SHARED_UNITS = UNITS | {"bytes": (1e-6, "MB")}
"""A runtime's memory is megabytes."""
KINDS = {"latency": "latency_ms", "peak memory": "peak_memory_bytes"}


def page(view: View) -> None:
    """Draw it."""
    devices = [p.name for p in view.plan.profiles if f"latency_ms@{p.name}" in view.frame.columns]
    if len(view.plan.profiles) < 2:
        one_device(view)
        return
    fronts = {d: view.front(goals_on(view, d)) for d in devices}
    if not any(len(front) for front in fronts.values()):
        st.info(
            "No measured student yet that meets every constraint\\. Here they are compared on "
            + plain(", ".join(p.name for p in view.plan.profiles) + " once there are some.")
        )
        return
    if len(devices) < 2:
        st.info(plain(f"Only {devices[0]} has timings so far: there is nothing to compare it with yet."))
        return
    quality = quality_of(view)
    rows = view.once(("all devices", quality, view.plan.objectives), lambda: on_all(view, devices, quality))
    st.subheader("Who wins where")
    who_wins(view, rows, devices, quality)
    st.subheader("How the order changes")
    latencies = [Objective("minimize", "latency_ms", d) for d in devices]
    orders(view, rows, latencies, fronts)
    st.subheader("One device against another")
    against(view, rows, devices, fronts)
    st.subheader("On the front of any device")
    table(view, fronts, quality)


def one_device(view: View) -> None:
    """What to do to compare."""
    names = ", ".join(p.name for p in view.plan.profiles) or "no device"
    st.info(
        plain(
            f"This study timed its students on {names} only. To compare devices, list several in the next study's file; "
            "every student is then timed on each (this host must be able to stand for them: autokd doctor says which)."
        )
    )
    listed = [*(p.name for p in view.plan.profiles), "cpu_2_threads" if names != "cpu_2_threads" else "cpu_1_thread"]
    st.code(f"hardware: [{', '.join(listed)}]", language="yaml")
    st.markdown("The students that exist already get another device's front without training, in a study of its own:")
    other = "cpu_2_threads" if names != "cpu_2_threads" else "cpu_1_thread"
    st.code(for_a_shell("retime", view.name, url()) + f" --profile {other}", language="bash")
    st.markdown("One file is timed with a profile on whatever machine it was copied to:")
    st.code(f"{for_a_shell('export', view.name, url())}\nautokd measure FILE.onnx --profile PROFILE", language="bash")
    st.caption(plain("autokd list profiles names the profiles; a profile is a YAML file of its own, too."))


def goals_on(view: View, device: str) -> tuple[Objective, ...]:
    """The study's goals on a device; one whose goals name no device gets its latency beside its quality."""
    if any(o.profile for o in view.plan.objectives):
        return objectives_on(view.plan, device)
    quality = next((o for o in view.plan.objectives if o.scale == "linear"), view.plan.objectives[0])
    return (quality, Objective("minimize", "latency_ms", device))


def quality_of(view: View) -> Objective | None:
    """The study's quality, else the accuracy if there is one."""
    stated = next((o for o in view.plan.objectives if o.scale == "linear"), None)
    if stated is None and "accuracy" in view.frame.columns:
        return Objective("maximize", "accuracy")
    return stated


def on_all(view: View, devices: Sequence[str], quality: Objective | None) -> pd.DataFrame:
    """Feasible students that were timed on every device."""
    names = [f"latency_ms@{d}" for d in devices] + ([quality.name] if quality is not None else [])
    frame = view.frame
    rows = frame[frame["feasible"].astype(bool) & frame[names].notna().all(axis=1)]
    return rows[(rows[names[: len(devices)]] > 0).all(axis=1)]


# ------------------------------------------------------------------------------------------------------- winners


def who_wins(view: View, rows: pd.DataFrame, devices: Sequence[str], quality: Objective | None) -> None:
    """The fastest student on each device that is good enough, and one for all of them."""
    inside = rows
    if quality is not None and len(rows):
        inside = good_enough(view, rows, quality)
    columns = [f"latency_ms@{d}" for d in devices]
    found = winners(inside, columns)
    if found is None:
        st.info("No student that was timed on every device is this good\\. Lower the limit\\.")
        return
    st.markdown(winner_words(found, devices))
    shown = winners_table(inside, found, devices, quality)
    st.dataframe(
        shown, hide_index=True, column_config=formats(shown), key=f"winners {view.name}", alt="The fastest students"
    )
    st.caption(f"{len(inside)} of {len(rows)} students that were timed on all {len(devices)} devices are this good\\.")


def good_enough(view: View, rows: pd.DataFrame, quality: Objective) -> pd.DataFrame:
    """The students on the right side of a slider."""
    factor = SHARED_UNITS.get(metric_of(quality.metric).unit, (1.0, ""))[0]
    values = factor * rows[quality.name].to_numpy(dtype=float)
    up = quality.direction == "maximize"
    places = 1 if factor == 100 else max(0, 2 - math.floor(math.log10(max(float(values.max() - values.min()), 1e-12))))
    step = 10.0**-places
    low, high = (
        round(math.floor(values.min() / step) * step, places),
        round(math.ceil(values.max() / step) * step, places),
    )
    if not high > low:
        return rows
    key = f"good enough {view.name} {quality.name}"
    median = float(pd.Series(values).median())
    state = st.session_state
    if not low <= state.get(key, low - 1) <= high:
        state[key] = round(min(max(median, low), high), places)
    state[key] = state[key]
    words = f"{'At least' if up else 'At most'}: {plain(label(quality))}"
    limit = st.slider(words, low, high, key=key, step=step, format=f"%.{places}f")
    return rows[values >= limit - 1e-9] if up else rows[values <= limit + 1e-9]


def winner_words(found: Winners, devices: Sequence[str]) -> str:
    """One student for all, or what it costs to take one."""
    if len(set(found.fastest.values())) == 1:
        return f"**Trial {found.everywhere} is the fastest on every device\\.**"
    each = ", ".join(f"trial {n} on {d}" for d, n in zip(devices, found.fastest.values(), strict=True))
    if found.loss < 1.005:
        return (
            plain(f"The fastest: {each}.")
            + f" **Trial {found.everywhere} is as fast as these everywhere, within 0\\.5 %\\.**"
        )
    loss = plain(f"{found.loss - 1:.0%}" if found.loss < 2 else f"{found.loss:.1f} times")
    worst = f"at most {loss} slower" if found.loss < 2 else f"at most {loss} as slow"
    text = plain(f"The fastest: {each}. To ship one student everywhere:")
    return f"{text} **trial {found.everywhere}**, {worst} than each device's own fastest\\."


def winners_table(
    rows: pd.DataFrame, found: Winners, devices: Sequence[str], quality: Objective | None
) -> pd.DataFrame:
    """The winners, a line each: quality, latency on each device, and that over the device's best."""
    lines = []
    known = rows.set_index("number")
    for trial in found.losses.index:
        on = [d for d, n in zip(devices, found.fastest.values(), strict=True) if n == trial]
        role = f"fastest on {', '.join(on)}" if on else "least loss everywhere"
        line: dict[str, object] = {"trial": int(trial), "role": role}
        if quality is not None:
            line |= cell(quality, float(known.loc[trial, quality.name]))
        for d in devices:
            column = f"latency_ms@{d}"
            line |= cell(Objective("minimize", "latency_ms", d), float(known.loc[trial, column]))
            line[f"slower by (%, {d})"] = round(100 * (float(found.losses.loc[trial, column]) - 1), 1)
        lines.append(line)
    return pd.DataFrame(lines)


def cell(objective: Objective, value: float) -> dict[str, float]:
    """A value in the unit of tables under a name with unit and device."""
    factor, shown = SHARED_UNITS.get(metric_of(objective.metric).unit, (1.0, None))
    return {heading(objective.metric, objective.profile, shown=shown): factor * value}


# -------------------------------------------------------------------------------------------------------- order


def orders(view: View, rows: pd.DataFrame, latencies: Sequence[Objective], fronts: Mapping[str, pd.DataFrame]) -> None:
    """Ranks on each device, and how far the devices agree."""
    if len(rows) < 2:
        st.info("Fewer than two students were timed on every device\\.")
        return
    for a, b in list(combinations(latencies, 2))[:6]:
        found = view.once(("order", a, b, len(latencies)), partial(order_between, rows, a.name, b.name))
        st.markdown(order_words(found, a, b))
    union = sorted({int(n) for front in fronts.values() for n in front["number"]})
    shown = rows[rows["number"].isin(union)].sort_values(latencies[0].name, kind="stable")
    if len(shown) < 2:
        st.caption("Fewer than two students of the fronts were timed on every device: no ranks to draw\\.")
        return
    if len(shown) > SHOWN:
        shown = shown.iloc[[round(k * (len(shown) - 1) / (SHOWN - 1)) for k in range(SHOWN)]]
    st.plotly_chart(
        rank_figure(shown, latencies), key=f"ranks {view.name}", height=140 + 22 * len(shown), config=QUIET,
        alt="Ranks by latency on each device, a line a student",
    )  # fmt: skip
    st.caption(plain(f"Ranks by latency among {len(shown)} of the {len(union)} students on the front of any device."))


def order_words(found: Order, a: Objective, b: Objective) -> str:
    """Correlation and swaps in one sentence."""
    names = f"{a.profile} and {b.profile}"
    if math.isnan(found.spearman):
        return plain(f"{names}: {found.students} students are too few, or too alike, for a correlation of ranks.")
    text = plain(f"{names}: Spearman's correlation of the latencies is") + f" **{plain(f'{found.spearman:.2f}')}** "
    share = found.swapped / max(1, found.pairs)
    return text + plain(
        f"({found.students} students). {found.swapped:,} of {found.pairs:,} pairs ({share:.0%}) change their order; in "
        f"{found.sure:,} of them both differences exceed the timings' spread."
    )


# ------------------------------------------------------------------------------------------------------ against


def against(view: View, rows: pd.DataFrame, devices: Sequence[str], fronts: Mapping[str, pd.DataFrame]) -> None:
    """The scatter of one device against another."""
    one, two, three = st.columns(3)
    kinds = [k for k, m in KINDS.items() if sum(f"{m}@{d}" in rows.columns for d in devices) > 1]
    kind = one.selectbox("Of", kinds, key=kept(f"devices kind {view.name}", kinds))
    there = [d for d in devices if f"{KINDS[kind]}@{d}" in rows.columns]
    a = two.selectbox("Across", there, key=kept(f"devices across {view.name}", there))
    others = [d for d in there if d != a]
    b = three.selectbox("Up", others, key=kept(f"devices up {view.name}", others))
    x, y = (Objective("minimize", KINDS[kind], d) for d in (a, b))
    on_a, on_b = (fronts[d]["number"].astype(int).tolist() for d in (a, b))
    figure = view.once(("devices", x, y), lambda: devices_figure(rows, x, y, on_a, on_b))
    figure_with_choice(view, figure, f"against {view.name} {x.name} {y.name}", 500, f"{kind} on {a} against {b}")
    st.caption(
        plain(
            f"Both axes in logarithm. A student far from the dotted line has an unusual {kind} on one of the devices. Bars are the "
            "spread. Click a point to choose its student."
        )
    )


# -------------------------------------------------------------------------------------------------------- table


def table(view: View, fronts: Mapping[str, pd.DataFrame], quality: Objective | None) -> None:
    """Every student on some device's front; choosing a row chooses it."""
    rows = pd.concat(list(fronts.values())).drop_duplicates("number")
    shown = front_table(rows, fronts, quality)
    numbers = shown["trial"].tolist()
    key = f"devices table {view.name} {len(view.frame)}"  # after another trial a row may be another student

    def chosen() -> None:
        at = st.session_state[key].selection.rows
        if at:
            view.choose(numbers[at[0]])

    st.dataframe(
        shown, key=key, hide_index=True, on_select=chosen, selection_mode="single-row", column_config=formats(shown),
        alt="Students on the front of any device",
    )  # fmt: skip
    counts = ", ".join(f"{len(front)} on {d}" for d, front in fronts.items())
    everywhere = sum(all((f["number"] == n).any() for f in fronts.values()) for n in numbers)
    st.caption(plain(f"Front: {counts}; {everywhere} of these {len(numbers)} on all. Quality on the validation split."))


def front_table(rows: pd.DataFrame, fronts: Mapping[str, pd.DataFrame], quality: Objective | None) -> pd.DataFrame:
    """Trial, quality, on which fronts it is, latency and memory on each device; best first."""
    found: dict[str, object] = {"trial": rows["number"].astype(int)}
    goals = [quality] if quality is not None else []
    goals += [Objective("minimize", m, d) for m in KINDS.values() for d in fronts if f"{m}@{d}" in rows.columns]
    for at, goal in enumerate(goals):
        unit = metric_of(goal.metric).unit
        name = next(iter(cell(goal, 0.0)))
        found[name] = rows[goal.name] * SHARED_UNITS.get(unit, (1.0, ""))[0]
        if at == 0:
            found |= {f"front of {d}": rows["number"].isin(front["number"]) for d, front in fronts.items()}
    shown = pd.DataFrame(found)
    if quality is None:
        return shown.reset_index(drop=True)
    order = rows[quality.name].sort_values(ascending=quality.direction == "minimize", kind="stable").index
    return shown.loc[order].reset_index(drop=True)
