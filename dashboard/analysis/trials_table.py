"""The trials as a table: named for people, filtered, and as CSV for programs. Frames in, frames out; no Streamlit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective
from autokd.dashboard.analysis.progress import column
from autokd.dashboard.analysis.texts import UNITS, heading, unit_of
from autokd.trial import ERROR, Outcome

PARAM = "params_"
FACTS = {
    "number": "trial", "outcome": "outcome", "violation": "not met", "failed_stage": "failed in", "cause": "cause",
    "cpu_s": "CPU time (s)", "saved_cpu_s": "CPU time saved (s)", "begun": "begun", "ended": "ended",
    "parent": "weights from", "rung": "rung", "cuts": "cut for it", "continues": "goes on with", "pruned": "pruned",
}  # fmt: skip
"""Columns of the frame that are no measurement and no parameter, as people read them; others are for programs."""
HIDDEN = ("state", "feasible", "began_training", "retried", "retimed")
CHOICES = ("pruned", "params_family", "params_bits", "params_method")
"""Columns with few values that people filter by."""
MOST_CHOICES = 30
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a text cell that begins so."""
_COMPARISON = re.compile(r"(?P<name>[^<>=!]+)(?P<op><=|>=|!=|=|<|>)(?P<value>[^<>=!]*)")


@dataclass(frozen=True)
class Column:
    """A column for people.

    Args:
        source: Its name in the frame.
        shown: Its heading, with unit and device.
        factor: What its values are multiplied by.
        kind: ``fact``, ``value``, ``spread``, ``time`` or ``parameter``.
    """

    source: str
    shown: str
    factor: float = 1.0
    kind: str = "fact"


@dataclass(frozen=True)
class Filters:
    """What a trial must meet to be shown.

    Args:
        choices: Allowed values by column, ``None`` among them for a missing one; a column with none allowed is not looked at.
        ranges: Lowest and highest value by column, both included, in the frame's unit; a bound of ``None`` is not looked at.
        words: Each must be met by a parameter, see :func:`match_parameters`.
    """

    choices: Mapping[str, Sequence[object]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    words: str = ""


def columns(frame: pd.DataFrame, objectives: Sequence[Objective]) -> list[Column]:
    """The frame's columns for people: trial and outcome, on a ladder where it comes from; objectives, other measurements,
    parameters, costs, causes.
    """
    goals = [o.name for o in objectives]
    found = [Column(name, FACTS[name]) for name in ("number", "outcome")]
    found += [Column(name, FACTS[name]) for name in ("rung", "parent", "cuts", "continues") if name in frame.columns]
    values = [c for c in map(str, frame.columns) if _measured(c)]
    values.sort(key=lambda name: goals.index(name) if name in goals else len(goals))
    for name in values:
        found.append(measurement(name))
        if name + ERROR in frame.columns:
            found.append(measurement(name, spread=True))
    found += [Column(name, FACTS[name]) for name in ("violation", "failed_stage", "cause") if name in frame.columns]
    found += [Column(str(c), str(c).removeprefix(PARAM), kind="parameter") for c in frame.columns if _is_param(c)]
    found += [Column(n, FACTS[n]) for n in ("pruned", "cpu_s", "saved_cpu_s", "begun", "ended") if n in frame.columns]
    for name in map(str, frame.columns):
        if name.startswith("stage_") and name.endswith("_s"):
            found.append(Column(name, f"{name.removeprefix('stage_').removesuffix('_s')} (s)", kind="time"))
    return _unique(found)


def _unique(found: Iterable[Column]) -> list[Column]:
    """A parameter may be called what a fact is called."""
    taken: dict[str, int] = {}
    named = []
    for c in found:
        shown = f"{c.shown} (parameter)" if c.shown in taken and c.kind == "parameter" else c.shown
        while shown in taken:
            shown += " "
        taken[shown] = 1
        named.append(Column(c.source, shown, c.factor, c.kind))
    return named


def _is_param(name: object) -> bool:
    return str(name).startswith(PARAM)


def _measured(name: str) -> bool:
    known = name in FACTS or name in HIDDEN or _is_param(name) or name.endswith(ERROR)
    return not known and not (name.startswith("stage_") and name.endswith("_s"))


def measurement(name: str, spread: bool = False) -> Column:
    """The column of a measurement: ``accuracy (%)``, ``latency (ms, cpu_1_thread)``, ``latency ± (ms, cpu_1_thread)``."""
    metric, _, profile = name.partition("@")
    factor = UNITS.get(unit_of(metric), (1.0, ""))[0]
    shown = heading(metric, profile, spread)
    return Column(name + (ERROR if spread else ""), shown, factor, "spread" if spread else "value")


def for_people(frame: pd.DataFrame, chosen: Sequence[Column]) -> pd.DataFrame:
    """The columns with their headings and units; dates local to the server; whole numbers without a point."""
    shown = {}
    for c in chosen:
        values = frame[c.source]
        if c.source in ("begun", "ended"):
            moments = pd.to_datetime(values.astype(float), unit="s", utc=True)
            values = moments.dt.tz_convert(_here()).dt.tz_localize(None)
        elif c.source == "cuts":
            values = values.map(lambda cuts: ", ".join(cut.name for cut in cuts), na_action="ignore")
        elif c.factor != 1.0:
            values = values.astype(float) * c.factor
        elif c.kind == "parameter" or c.source in ("number", "parent", "continues"):
            values = whole(values)
        shown[c.shown] = values
    return pd.DataFrame(shown, index=frame.index)


def _here() -> object:
    from datetime import datetime

    return datetime.now().astimezone().tzinfo


def whole(values: pd.Series) -> pd.Series:
    """Integers as such, though pandas made them floats for want of a missing integer; a mixture as text."""
    if pd.api.types.is_bool_dtype(values):
        return values
    if pd.api.types.is_float_dtype(values):
        known = values.to_numpy()[values.notna().to_numpy()]
        fits = (
            len(known) and np.isfinite(known).all() and (np.abs(known) < 2**53).all() and (known == known.round()).all()
        )
        return values.astype("Int64") if fits else values
    if pd.api.types.is_object_dtype(values):
        kinds = {type(v) for v in values.dropna()}
        return values if len(kinds) <= 1 else values.map(str, na_action="ignore")
    return values


def formats(chosen: Sequence[Column]) -> dict[str, str]:
    """The printf format of the columns that have one: five significant digits of a value, two of a spread."""
    digits = {"value": "%.5g", "spread": "%.2g", "time": "%.3g"}
    found = {c.shown: digits[c.kind] for c in chosen if c.kind in digits}
    return found | {c.shown: "%.3g" for c in chosen if c.source in ("cpu_s", "saved_cpu_s")}


# ---------------------------------------------------------------------------------------------------------- filters


def choices(frame: pd.DataFrame) -> dict[str, list[object]]:
    """What may be chosen in each column that people filter by: at least two and not too many values, ``None`` for missing."""
    found: dict[str, list[object]] = {}
    for name in CHOICES:
        values = column(frame, name)
        kinds = sorted(values.dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
        options: list[object] = [*kinds, *([None] if values.isna().any() else [])]
        if 2 <= len(options) <= MOST_CHOICES and kinds:
            found[name] = options
    return found


def outcome_choices(frame: pd.DataFrame) -> list[object]:
    """The outcomes that occur, in the order of the ledger's list; ``None`` for a damaged record."""
    found = set(frame["outcome"].dropna())
    missing: list[object] = [None] if frame["outcome"].isna().any() else []
    return [*(o.value for o in Outcome if o.value in found), *missing]


def bounds(values: pd.Series) -> tuple[float, float] | None:
    """The finite span of a column, rounded outwards to three digits; ``None`` where all are equal or there are none."""
    known = values.astype(float)
    known = known[np.isfinite(known)]
    if not len(known) or known.min() == known.max():
        return None
    low, high = float(known.min()), float(known.max())
    step = 10.0 ** (np.floor(np.log10(high - low)) - 2)
    # dividing by a power of ten keeps 0.07 at exactly 0.07
    digits = int(max(0, -np.floor(np.log10(step))))
    return round(float(np.floor(low / step) * step), digits), round(float(np.ceil(high / step) * step), digits)


def steps(values: pd.Series, most: int = 100) -> list[float]:
    """Limits for a cost, in equal ratios from below its least to above its greatest value, three digits each; or none."""
    known = values.astype(float)
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known) or known.min() == known.max():
        return []
    low, high = float(known.min()), float(known.max())
    unit = [10.0 ** (np.floor(np.log10(v)) - 2) for v in (low, high)]
    ends = float(np.floor(low / unit[0]) * unit[0]), float(np.ceil(high / unit[1]) * unit[1])
    return sorted({float(f"{v:.3g}") for v in np.geomspace(*ends, most + 1)})


def keep(frame: pd.DataFrame, filters: Filters) -> tuple[pd.DataFrame, list[str]]:
    """The rows that meet every filter, and the words that name no parameter."""
    mask = np.ones(len(frame), dtype=bool)
    for name, allowed in filters.choices.items():
        if allowed:
            values = column(frame, name)
            fits = values.isin([a for a in allowed if a is not None])
            mask &= (fits | values.isna() if None in allowed else fits).to_numpy()
    for name, (low, high) in filters.ranges.items():
        values = column(frame, name).astype(float).to_numpy()
        # NaN compares false: what was not measured lies in no range
        mask &= (values >= low) if low is not None else True
        mask &= (values <= high) if high is not None else True
    unknown = []
    for word in filters.words.split():
        found = match_parameters(frame, word)
        if found is None:
            unknown.append(word)
        else:
            mask &= found
    return frame[mask], unknown


def match_parameters(frame: pd.DataFrame, word: str) -> np.ndarray | None:
    """Rows ``(n,) bool`` with a parameter that meets ``word``: ``bits=8``, ``lr>0.1``, ``method!=kd``, or a part of ``name=value``.

    ``None`` when it compares a parameter that does not exist, or its number with what is none.
    """
    names = {str(c).removeprefix(PARAM): str(c) for c in frame.columns if _is_param(c)}
    asked = _COMPARISON.fullmatch(word)
    if asked is not None:
        known = next((c for n, c in names.items() if n.casefold() == asked["name"].casefold()), None)
        return None if known is None else _compare(whole(frame[known]), asked["op"], asked["value"])
    mask = np.zeros(len(frame), dtype=bool)
    for name, source in names.items():
        codes, kinds = pd.factorize(whole(frame[source]))
        hits = np.array([word.casefold() in f"{name}={kind}".casefold() for kind in kinds] + [False])
        mask |= hits[codes]  # a missing value has the code -1
    return mask


def _compare(values: pd.Series, op: str, text: str) -> np.ndarray | None:
    try:
        limit: float | None = float(text)
    except ValueError:
        limit = None
    if op in ("=", "!="):
        codes, kinds = pd.factorize(values)
        same = [str(k).casefold() == text.casefold() or (limit is not None and _number(k) == limit) for k in kinds]
        hits = np.array([s if op == "=" else not s for s in same] + [False])
        return np.asarray(hits[codes])
    if limit is None:
        return None
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        compared = {"<": numbers < limit, "<=": numbers <= limit, ">": numbers > limit, ">=": numbers >= limit}
    return np.asarray(compared[op])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else None


def orders(objectives: Sequence[Objective]) -> dict[str, tuple[str, bool]]:
    """How rows may be put in order: what it is called, the column, and whether small values come first."""
    found = {"newest first": ("number", False), "oldest first": ("number", True)}
    for o in objectives:
        found[f"best {measurement(o.name).shown}"] = (o.name, o.direction == "minimize")
    return found | {"most CPU time": ("cpu_s", False)}


def in_order(frame: pd.DataFrame, source: str, small_first: bool) -> pd.DataFrame:
    """The rows in order, those without a value last."""
    return frame if source not in frame.columns else frame.sort_values(source, ascending=small_first, kind="stable")


# -------------------------------------------------------------------------------------------------------------- CSV


def csv(frame: pd.DataFrame) -> bytes:
    """The rows with the frame's own column names, in full precision, in UTF-8.

    Text that a spreadsheet would run as a formula begins with an apostrophe; numbers are left as they are.
    """
    safe = {str(_defused(str(name))): defused(whole(frame[name])) for name in frame.columns}
    return pd.DataFrame(safe, index=frame.index).to_csv(index=False).encode("utf-8")


def defused(values: pd.Series) -> pd.Series:
    """Texts that begin like a formula with an apostrophe before them; what reads as a number stays."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values
    codes, kinds = pd.factorize(values)
    texts = [_defused(k) for k in kinds]
    if all(a == b for a, b in zip(texts, kinds, strict=True)):
        return values
    return pd.Series(np.array([*texts, None], dtype=object)[codes], index=values.index, name=values.name)


def _defused(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value
