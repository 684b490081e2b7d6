"""Names, units and escapes that all pages share; knows nothing of Streamlit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from autokd.config.objectives import metric_of, title
from autokd.errors import UserError
from autokd.trial import Measurement

UNITS = {"ratio": (100.0, "%"), "bytes": (1e-3, "kB"), "ms": (1.0, "ms")}
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&^=@/])")


def plain(value: object) -> str:
    """Text for a place that reads Markdown: shown as it is, on one line."""
    return MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def small_times(table: pd.DataFrame) -> pd.DataFrame:
    """Times in microseconds where all of them are below a millisecond; the unit is in a column's name."""
    times = [c for c in table.columns if re.search(r" \(ms\b", str(c))]
    if not times or not (table[times].max(numeric_only=True) < 1).all():
        return table
    found = table.assign(**{c: 1e3 * table[c] for c in times})
    return found.rename(columns={c: str(c).replace(" (ms", " (µs") for c in times})


def heading(metric: str, profile: str | None = None, spread: bool = False, shown: str | None = None) -> str:
    """A column's name with unit and device: ``accuracy (%)``, ``latency ± (ms, cpu_1_thread)``.

    Args:
        metric: Of any version.
        profile: Of the device, or where else it was taken.
        spread: Of its spreads.
        shown: The unit that is shown, where it is not that of :data:`UNITS`.
    """
    unit = unit_of(metric)
    notes = ", ".join(n for n in (shown or UNITS.get(unit, (1.0, unit))[1], profile) if n)
    return title(metric) + (" ±" if spread else "") + (f" ({notes})" if notes else "")


def unit_of(metric: str) -> str:
    """A metric's unit; none of one that only another version knows."""
    try:
        return metric_of(metric).unit
    except UserError:
        return ""


def where(measurement: Measurement) -> str:
    """What a measurement was taken of: a device, the data, or the file itself."""
    return measurement.profile or ("validation split" if metric_of(measurement.metric).needs_training else "the file")


def clock_words(extra: Mapping[str, Any]) -> str:
    """What was done to a latency for the clock's drift: it stands for the host's usual clock."""
    factor = extra.get("clock_factor")
    if factor is None:
        return "; as it was timed, not brought to the host's usual clock"
    return f"; times {float(factor):.3f}, for the host's usual clock"


def formats(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Column configuration of a table: four significant digits of a value, two of a spread."""
    columns = [str(c) for c in frame.select_dtypes("float").columns]
    return {c: {"type_config": {"type": "number", "format": "%.2g" if "±" in c else "%.4g"}} for c in columns}
