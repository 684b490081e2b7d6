"""Widgets that show what a study file says and write into it what is chosen; the text is the truth, the widgets follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from autokd import registry
from autokd.config.study_file import AUTO, NO_TEACHER, OWN_STUDENTS
from autokd.dashboard.commands.study_file import moved_objectives, objective_choices, profile_name
from autokd.dashboard.commands.yaml_edit import Path, get, put, values_of
from autokd.errors import UserError

TEXT = "start text"
"""The text area's key; what it holds is the study file."""
WORDS = {OWN_STUDENTS: "the best students so far", NO_TEACHER: "nobody"}
"""In place of a teacher."""
TEACHERS = {"onnx": "an ONNX file", "torch": "a PyTorch module", "family": "trained here first"}
AUGMENTATIONS = ("auto", "none", "shift", "shift_flip", "crop_flip", "noise")
Convert = Callable[[Any], Any]


def form(values: Mapping[str, Any]) -> None:
    """Every field, in four groups.

    Args:
        values: What the text holds now.
    """
    what, search, budget, training = st.tabs(["Data and teacher", "Space and goals", "Budget", "Training"])
    with what:
        _data(values)
        _teacher(values)
    with search:
        _goals(values)
    with budget:
        _budget(values)
    with training:
        _training(values)


# ---------------------------------------------------------------------------------------------------------- four groups


def _data(values: Mapping[str, Any]) -> None:
    _line(values, ("name",), "Name of the study", help="Also names its file and its folder.")
    left, right = st.columns([2, 1])
    with left:
        own = "Or type package.module:factory for your own."
        _choice(values, ("data", "source"), "Data", registry.names("data"), new=True, help=own)
    with right:
        tip = "Training samples to keep, for quick trials."
        _number(values, ("data", "limit"), "Samples at most", whole=True, low=1, help=tip)
    tip = "File or folder on this machine, for sources that read one."
    _line(values, ("data", "path"), "Path of the data", help=tip)


def _teacher(values: Mapping[str, Any]) -> None:
    stated = get(values, ("teacher",), OWN_STUDENTS)
    kinds = registry.names("teachers")
    known = [*WORDS, *(k for k in TEACHERS if k in kinds), *(k for k in kinds if k not in TEACHERS)]
    if isinstance(stated, Mapping):
        kind = next((k for k in known if k in stated), "family")
    else:
        kind = stated if stated in WORDS else OWN_STUDENTS
    key = "start teacher"
    st.session_state[key] = kind
    st.radio(
        "Teacher", known, key=key, format_func=lambda k: (WORDS | TEACHERS).get(k, k), horizontal=True, on_change=_other_teacher,
    )  # fmt: skip
    if kind in WORDS:
        return
    if kind == "family":
        left, right = st.columns([2, 1])
        with left:
            _choice(values, ("teacher", "family"), "Family of the teacher", registry.names("families"), new=True)
        with right:
            _number(values, ("teacher", "training", "epochs"), "Epochs of the teacher", low=0.0, step=1.0)
    else:
        label = "Path of the ONNX file" if kind == "onnx" else "Factory, as package.module:function"
        _line(values, ("teacher", kind), label)
    if kind == "torch":
        tip = "A .safetensors or .pt file; without one the factory's own weights count."
        _line(values, ("teacher", "weights"), "Path of the weights", help=tip)


def _goals(values: Mapping[str, Any]) -> None:
    space = get(values, ("space",))
    if isinstance(space, Mapping):
        st.caption("The search space is written out in the text\\.")
    else:
        own = "A shipped space, or type the path of a YAML file."
        _choice(values, ("space",), "Search space", [AUTO, *registry.names("spaces")], new=True, help=own)
        about = next((r.summary for r in registry.listing("spaces") if r.name == space), "")
        if about:
            st.caption(about)
    named = [str(h) for h in _list(values, "hardware")]
    key = "start hardware"
    st.session_state[key] = named
    st.multiselect(
        "Devices", list(dict.fromkeys([*registry.names("profiles"), *named])), key=key, accept_new_options=True,
        on_change=_other_hardware, help="Every student is timed on each. Or type the path of your own profile.",
    )  # fmt: skip
    _objectives(values, [profile_name(h) for h in named])
    key = "start constraints"
    st.session_state[key] = "\n".join(str(c) for c in _list(values, "constraints"))
    st.text_area(
        "Constraints, one a line", key=key, height=90, placeholder="size_bytes <= 60 kB", on_change=_changed,
        args=(key, ("constraints",), lambda text: [c.strip() for c in text.splitlines() if c.strip()] or None),
    )  # fmt: skip
    own = "How candidates are proposed. Or type package.module:factory."
    _choice(values, ("sampler",), "Sampler", registry.names("samplers"), "optuna:tpe", new=True, help=own)


def _objectives(values: Mapping[str, Any], profiles: Sequence[str]) -> None:
    stated = [str(o) for o in _list(values, "objectives")][:3]
    known = list(dict.fromkeys([*objective_choices(profiles), *stated]))
    for place, label in enumerate(("First objective", "Second objective", "Third objective")):
        key = f"start objective {place}"
        st.session_state[key] = stated[place] if place < len(stated) else None
        st.selectbox(
            label, known, key=key, index=None, placeholder="none", format_func=_in_words, on_change=_other_objectives,
        )  # fmt: skip


def _budget(values: Mapping[str, Any]) -> None:
    st.caption("The first limit that is reached ends the search\\. Candidates refused before training are free\\.")
    left, middle, right = st.columns(3)
    with left:
        _number(values, ("budget", "trials"), "Trials", whole=True, low=1)
    with middle:
        _number(values, ("budget", "wall_s"), "Minutes on the clock", low=0.0, per=60)
    with right:
        _number(values, ("budget", "cpu_s"), "CPU seconds", low=0.0)
    left, right = st.columns(2)
    with left:
        tip = "ray; local: worker processes without Ray; inline: one after the other, for a debugger. auto: local for minutes."
        _choice(values, ("runner",), "Runner", [AUTO, *registry.names("runners")], AUTO, new=True, help=tip)
    with right:
        several = ["auto", *map(str, range(1, 17))]
        _choice(values, ("concurrency",), "Trials at a time", several, "auto", lambda n: int(n) if n.isdecimal() else n)
    left, right = st.columns(2)
    with left:
        tip = "For students, teacher and its outputs; latency is timed on the profiles' own device."
        _choice(values, ("resources", "device"), "Train on", ["auto", "cpu", "cuda"], "auto", help=tip)
    with right:
        _number(values, ("seed",), "Seed", whole=True, low=0)


def _training(values: Mapping[str, Any]) -> None:
    st.caption("How every student is trained, where the search space does not search it\\.")
    left, right = st.columns(2)
    with left:
        _number(values, ("training", "epochs"), "Epochs", low=0.0, step=1.0, instead=("training", "samples"))
        _number(
            values, ("training", "batch_size"), "Batch size", whole=True, low=1, help="Samples a step; 128 if empty."
        )
        _choice(values, ("training", "augment"), "Augmentation", AUGMENTATIONS, "auto")
    with right:
        tip = "Seen in all, instead of epochs."
        where = ("training", "samples")
        _number(values, where, "or samples", whole=True, low=1, instead=("training", "epochs"), help=tip)
        _number(
            values, ("training", "lr"), "Learning rate", low=0.0, step=0.05, shown="%.4g", help="Peak; 0.2 if empty."
        )


# -------------------------------------------------------------------------------------------------------- one field each


def _line(values: Mapping[str, Any], path: Path, label: str, help: str | None = None) -> None:
    key = _key(path)
    st.session_state[key] = str(get(values, path) or "")
    st.text_input(label, key=key, help=help, on_change=_changed, args=(key, path, lambda text: text.strip() or None))


def _choice(
    values: Mapping[str, Any], path: Path, label: str, known: Sequence[str], default: str | None = None,
    convert: Convert = lambda text: text, new: bool = False, help: str | None = None,
) -> None:  # fmt: skip
    """One of several, or with ``new`` also what a person types."""
    key, now = _key(path), get(values, path, default)
    stated = [] if now is None or isinstance(now, list | dict) else [str(now)]
    st.session_state[key] = stated[0] if stated else None
    st.selectbox(
        label, list(dict.fromkeys([*known, *stated])), key=key, index=None, help=help, accept_new_options=new,
        on_change=_changed, args=(key, path, lambda text: None if text is None else convert(text)),
    )  # fmt: skip


def _number(
    values: Mapping[str, Any], path: Path, label: str, whole: bool = False, low: float = 0.0, step: float | None = None,
    per: float = 1, shown: str | None = None, instead: Path | None = None, help: str | None = None,
) -> None:  # fmt: skip
    """A number or nothing; ``per`` of the file's unit make one shown; setting it removes ``instead``."""
    key, now = _key(path), get(values, path)
    usable = isinstance(now, int | float) and not isinstance(now, bool) and abs(now) < 1e15  # no NaN, no infinity
    value = max(low, now / per if per != 1 else now) if usable else None
    kind: type[int] | type[float] = int if whole else float
    st.session_state[key] = kind(value) if value is not None else None
    st.number_input(
        label, min_value=kind(low), value=None, step=kind(step or 1), key=key, help=help,
        format=shown or ("%d" if whole else "%.8g"), on_change=_changed,
        args=(key, path, lambda n: None if n is None else (n * per if whole else _short(n * per)), instead),
    )  # fmt: skip


def _short(value: float) -> float | int:
    """Whole numbers without a point."""
    return int(value) if float(value).is_integer() else float(value)


def _key(path: Path) -> str:
    return "start " + ".".join(path)


def _list(values: Mapping[str, Any], key: str) -> list[Any]:
    found = values.get(key)
    return list(found) if isinstance(found, list) else []


def _in_words(objective: str) -> str:
    """``maximize accuracy`` as ``accuracy (higher is better)``."""
    direction, _, metric = objective.partition(" ")
    better = {"maximize": "higher", "minimize": "lower"}.get(direction)
    name, _, place = metric.partition("@")
    return f"{name}{' on ' + place if place else ''} ({better} is better)" if better else objective


# ---------------------------------------------------------------------------------------------------- into the text again


def _changed(key: str, path: Path, convert: Convert, instead: Path | None = None) -> None:
    """A widget was used: its value goes into the text."""
    value = convert(st.session_state[key])
    if instead is not None and value is not None:
        _write(instead, None)
    _write(path, value)


def _other_teacher() -> None:
    kind = st.session_state["start teacher"]
    _write(("teacher",), kind if kind in WORDS else {kind: "mobilenet" if kind == "family" else ""})


def _other_hardware() -> None:
    now = [str(h) for h in st.session_state["start hardware"]]
    try:
        values = values_of(st.session_state[TEXT])
    except UserError:
        return
    moved = moved_objectives(_list(values, "objectives"), [str(h) for h in _list(values, "hardware")], now)
    _write(("hardware",), now)
    _write(("objectives",), moved)


def _other_objectives() -> None:
    chosen = [st.session_state.get(f"start objective {place}") for place in range(3)]
    _write(("objectives",), [o for o in chosen if o])


def _write(path: Path, value: Any) -> None:
    try:
        st.session_state[TEXT] = put(st.session_state[TEXT], path, value)
    except UserError:
        return  # the text was broken at the same moment: the page says so, and shows the form again when it is mended
