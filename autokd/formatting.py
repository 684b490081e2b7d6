"""Values as people read them: sensible digits, a unit, a spread; spans of time; parameters in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
"""Units of time that a person may write."""


def number(value: float | None, unit: str, spread: float | None = None, *, relative: bool = False) -> str:
    """A value in sensible digits with its unit and spread: ``21.4 µs ± 0.4%``, ``93.2% ± 0.5%``.

    Args:
        value: The value, in ``unit``; ``None`` is a dash.
        unit: Of the value.
        spread: How sure it is, in the same unit.
        relative: The spread is a share of the value instead, see :func:`autokd.config.objectives.relative_spread`.
    """
    if value is None:
        return "-"
    text = _amount(value, unit)
    if spread is None:
        return text
    if relative:
        return f"{text} ± {spread:.1%}" if spread >= 5e-4 else f"{text} ± {100 * spread:.1g}%"
    if unit in ("ratio", "bytes", "ms"):
        return f"{text} ± {_amount(spread, unit)}"
    tail = f" {unit}" if unit else ""
    return f"{text.removesuffix(tail)} ± {spread:.2g}{tail}"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"
    if unit == "ratio":
        return f"{value:.1%}"
    if unit == "ms":
        return f"{digits(value * 1e3)} µs" if value < 1 else f"{digits(value)} ms"
    if unit == "":
        return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.4g}"
    return f"{value:.4g} {unit}"


def digits(value: float) -> str:
    """Three significant digits, zeros too, so that columns compare: ``8.00``, ``17.4``, ``173``."""
    return f"{value:#.3g}".removesuffix(".") if abs(value) < 1000 else f"{value:.0f}"


def common(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the parameters of several students all have in common."""
    if len(found) < 2:
        return {}
    return {k: v for k, v in found[0].items() if all(params.get(k) == v for params in found)}


def summary(params: Mapping[str, Any]) -> str:
    """Parameters on one line, numbers short."""
    return " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def brief(value: object, missing: str = "none") -> str:
    """A parameter's value: four significant digits of a number with a point, everything else as it is."""
    return missing if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def prefixed(value: float, gap: str = "", plain_below: float = 1e3) -> str:
    """A tick of an axis: ``20k``, ``1.5M``, ``0.02``."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(factor, plain_below):
            return f"{value / factor:.3g}{gap}{prefix}"
    return f"{value:.4g}"


# --------------------------------------------------------------------------------------------------- spans of time


def span(seconds: float) -> str:
    """A time that was taken, or is expected: ``4.5 s``, ``45 s``, ``12 min``, ``3.4 h``, ``2.5 days``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def span_words(seconds: float) -> str:
    """A time that was stated, exactly: ``45 seconds``, ``20 minutes``, ``1.5 hours``."""
    number, unit = in_largest_unit(seconds)
    word = {"s": "second", "min": "minute", "h": "hour"}[unit]
    return f"{number} {word}" + "s" * (number != "1")


def in_largest_unit(seconds: float) -> tuple[str, str]:
    """A number and its unit, one of :data:`SECONDS`: the largest that says it in few digits."""
    for unit in ("h", "min"):
        number = f"{seconds / SECONDS[unit]:g}"
        if seconds >= SECONDS[unit] and len(number) <= 3:
            return number, unit
    return f"{seconds:g}", "s"


def clock(seconds: float) -> str:
    """Minutes and seconds: ``3:07``."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
